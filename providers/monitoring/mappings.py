"""What alerts are about, as the city lays it down: versions drafted by one person and signed by another, each from a day on.

An alert is read by what held on the day on which it began, whenever it arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column

from providers.monitoring import matching
from providers.monitoring.matching import MappingLine
from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import Pool, System
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState, stated

if TYPE_CHECKING:
    from quota.db import Tx


class AlertMapping(Base):
    """告警对照. ``version`` None until it is signed; ``lines`` as ``MappingLine.to_json``, never changed; ``based_on``: the
    draft that was the newest signed one when it was written."""

    __tablename__ = "alert_mappings"
    __table_args__ = (UniqueConstraint("version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int | None]
    based_on: Mapped[int | None] = mapped_column(ForeignKey("alert_mappings.id"))
    lines: Mapped[list[Any]] = mapped_column(default=list)
    effective_from: Mapped[date]
    reason: Mapped[str] = mapped_column(Text)
    drafted_by: Mapped[str] = mapped_column(String(64))
    drafted_at: Mapped[datetime]
    signed_by: Mapped[str | None] = mapped_column(String(64))
    signed_at: Mapped[datetime | None]
    opinion: Mapped[str] = mapped_column(Text, default="")
    withdrawn_at: Mapped[datetime | None]

    @property
    def state(self) -> str:
        """drafted, enacted or withdrawn."""
        return "enacted" if self.version is not None else "withdrawn" if self.withdrawn_at else "drafted"

    @property
    def subject(self) -> str:
        return f"alert_mapping:{self.id}"

    def read(self) -> list[MappingLine]:
        return matching.from_json(self.lines)


def mapping(tx: Tx, mapping_id: int) -> AlertMapping:
    """The version or draft, or NotFound."""
    found = tx.get(AlertMapping, mapping_id)
    if found is None:
        raise NotFound("alert_mapping.none", N_("没有编号为 %(id)s 的告警对照"), id=mapping_id)
    return found


def every(tx: Tx) -> Sequence[AlertMapping]:
    """Versions and drafts, newest first."""
    return tx.scalars(select(AlertMapping).order_by(AlertMapping.id.desc())).all()


def newest(tx: Tx) -> AlertMapping | None:
    """The version that was signed last."""
    signed = select(AlertMapping).where(AlertMapping.version.is_not(None))
    return tx.scalar(signed.order_by(AlertMapping.version.desc()).limit(1))


def in_force(tx: Tx, on: date) -> AlertMapping | None:
    """What holds on a day: of the versions that hold from then or before the latest signed."""
    signed = select(AlertMapping).where(AlertMapping.version.is_not(None), AlertMapping.effective_from <= on)
    return tx.scalar(signed.order_by(AlertMapping.version.desc()).limit(1))


def draft(tx: Tx, text: str, *, effective_from: date, reason: str) -> AlertMapping:
    """Propose lines, to hold from a day on. By the steward or the authority. Raises Invalid naming the line, for a code that
    nobody has and a day that is past."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    lines = matching.read(text)
    _codes(tx, lines)
    stated(reason)
    before = newest(tx)
    if effective_from < tx.now.astimezone(ZONE).date():
        raise Invalid("alert_mapping.past", N_("生效日不能早于今天"), field="effective_from")
    found = AlertMapping(
        based_on=before.id if before is not None else None, lines=[one.to_json() for one in lines],
        effective_from=effective_from, reason=reason.strip()[:2000], drafted_by=tx.actor.login, drafted_at=tx.now, opinion="",
    )  # fmt: skip
    tx.add(found)
    tx.flush()
    tx.audit(
        "alert_mapping.draft", found.subject, after={"lines": found.lines, "effective_from": effective_from},
        reason=found.reason,
    )  # fmt: skip
    return found


def _codes(tx: Tx, lines: Sequence[MappingLine]) -> None:
    for model, name, message in (
        (Pool, "pool", N_("没有代码为 %(code)s 的资源池")),
        (System, "system", N_("没有代码为 %(code)s 的信息系统")),
    ):
        wanted = {getattr(one, name) for one in lines} - {""}
        wanted = {one for one in wanted if not one.startswith("$")}
        known = set(tx.scalars(select(model.code).where(model.code.in_(wanted)))) if wanted else set()
        if unknown := sorted(wanted - known):
            raise Invalid(f"alert_mapping.{name}", message, code=unknown[0], field="lines")


def sign(tx: Tx, mapping_id: int, *, reason: str) -> AlertMapping:
    """The second signature: by somebody of the authority who did not draft it. Raises NotAllowed for one's own, WrongState for
    one that is closed, Conflict where another version was signed meanwhile."""
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    tx.alone("alert_mappings")
    found = tx.lock(mapping(tx, mapping_id))
    _open(found)
    if found.drafted_by == tx.actor.login:
        raise NotAllowed("alert_mapping.own", N_("本人起草的告警对照须由另一人签署"))
    before = newest(tx)
    if (before.id if before is not None else None) != found.based_on:
        raise Conflict("alert_mapping.stale", N_("起草之后已签署另一版本,请据其重新起草"))
    found.opinion = stated(reason)[:2000]
    found.version = (before.version or 0) + 1 if before is not None else 1
    found.signed_by, found.signed_at = tx.actor.login, tx.now
    tx.flush()
    tx.audit("alert_mapping.sign", found.subject, after={"version": found.version}, reason=found.opinion)
    return found


def withdraw(tx: Tx, mapping_id: int) -> AlertMapping:
    """Give a draft up. Raises WrongState for one that was signed or given up."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    found = tx.lock(mapping(tx, mapping_id))
    _open(found)
    found.withdrawn_at = tx.now
    tx.flush()
    tx.audit("alert_mapping.withdraw", found.subject, before={"drafted_by": found.drafted_by})
    return found


def _open(found: AlertMapping) -> None:
    if found.state != "drafted":
        raise WrongState("alert_mapping.closed", N_("该草案已签署或已撤回"))
