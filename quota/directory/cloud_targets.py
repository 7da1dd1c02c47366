"""上云率目标: what share of the systems in use is to be on the cloud by the end of a year, for the city and for single departments.

Drafted and signed by two of the authority; of a year's the one enacted last counts. Shares are thousandths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ColumnElement, select, true
from sqlalchemy.orm import Mapped, mapped_column

from quota import signed
from quota.actors import Actor, Role
from quota.base import Base
from quota.calendar import ZONE
from quota.db import among
from quota.directory.departments import Department, subtree
from quota.errors import N_, Invalid, NotFound
from quota.signed import TwiceSigned

if TYPE_CHECKING:
    from quota.db import Tx

CITY = "city"
"""In ``shares``: of the whole city."""
YEARS = 10
WHOLE = 1000

_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d))?%?", re.ASCII)


class CloudTarget(TwiceSigned, Base):
    """A year's targets. ``shares``: CITY or a department's id as text → thousandths."""

    __tablename__ = "cloud_targets"
    __table_args__ = (CheckConstraint("year BETWEEN 2000 AND 2999", name="year"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int] = mapped_column(index=True)
    shares: Mapped[dict[str, int]]

    @property
    def subject(self) -> str:
        return f"cloud_target:{self.id}"

    def share(self, department_id: int | None = None) -> int | None:
        """Of the city, or of a department; None where none is laid down."""
        return self.shares.get(CITY if department_id is None else str(department_id))


def cloud_target(tx: Tx, target_id: int) -> CloudTarget:
    """A year's targets or a draft of them, or NotFound: who is neither steward nor of the authority knows of no draft."""
    found = tx.scalar(select(CloudTarget).where(CloudTarget.id == target_id, visible(tx.actor)))
    if found is None:
        raise NotFound("cloud_target.none", N_("没有编号为 %(id)s 的上云率目标"), id=target_id)
    return found


def visible(actor: Actor) -> ColumnElement[bool]:
    """Targets that ``actor`` may know of."""
    return CloudTarget.enacted_at.is_not(None) if actor.role is Role.TENANT else true()


def of_year(tx: Tx, year: int, before: datetime | None = None) -> CloudTarget | None:
    """What counts of a year: enacted last, ``before`` an instant where one is given."""
    query = select(CloudTarget).where(CloudTarget.year == year, CloudTarget.enacted_at.is_not(None))
    if before is not None:
        query = query.where(CloudTarget.enacted_at < before)
    return tx.scalar(query.order_by(CloudTarget.enacted_at.desc(), CloudTarget.id.desc()).limit(1))


def shares_of(tx: Tx, text: str) -> dict[str, int]:
    """Targets as people write them or paste them from a sheet: a line each, 单位编码 | 百分比, 全市 for the city. Raises Invalid naming
    the line."""
    known: dict[str, int] = dict(tx.execute(select(Department.code, Department.id).where(Department.active)).all())
    found: dict[str, int] = {}
    for line, written in enumerate(text.splitlines(), 1):
        if not written.strip():
            continue
        cells = [cell.strip() for cell in written.replace("｜", "|").replace("\t", "|").split("|")]
        said = _PERCENT.fullmatch(cells[1]) if len(cells) == 2 else None
        if said is None:
            raise Invalid(
                "cloud_target.line",
                N_("第 %(line)s 行应为“单位编码 | 百分比”，如“全市 | 95”"),
                line=line,
                field="shares",
            )
        share = int(said[1]) * 10 + int(said[2] or 0)
        if not 0 < share <= WHOLE:
            raise Invalid(
                "cloud_target.share", N_("第 %(line)s 行的百分比须大于 0，不超过 100"), line=line, field="shares"
            )
        key = CITY if cells[0] in ("全市", CITY) else _department(known, cells[0], line)
        if key in found:
            raise Invalid("cloud_target.twice", N_("第 %(line)s 行与前面重复"), line=line, field="shares")
        found[key] = share
    return found


def _department(known: Mapping[str, int], code: str, line: int) -> str:
    if code not in known:
        raise Invalid(
            "cloud_target.department",
            N_("第 %(line)s 行：没有编码为“%(code)s”的单位"),
            line=line,
            code=code[:40],
            field="shares",
        )
    return str(known[code])


# --------------------------------------------------------------------------------------------------------------- verbs


def draft(tx: Tx, year: int, shares: Mapping[str, int], reason: str) -> CloudTarget:
    """Propose a year's targets. The authority's; who drafts has signed. Raises Invalid for a year that is over and where there is
    none."""
    said = signed.drafted(tx, reason)
    _not_over(tx, year)
    if not shares or not all(0 < one <= WHOLE for one in shares.values()):
        raise Invalid("cloud_target.empty", N_("请至少填写一项目标"), field="shares")
    row = CloudTarget(year=year, shares=dict(shares), **said)
    tx.add(row)
    tx.flush()
    tx.audit("cloud_target.draft", row.subject, after={"year": year, "shares": row.shares}, reason=row.reason)
    return row


def sign(tx: Tx, target_id: int) -> CloudTarget:
    """Sign a draft; the second signature enacts it. Raises as ``signed.sign`` does, Invalid where its year is over."""
    row = cloud_target(tx, target_id)
    tx.alone("cloud targets")
    if signed.sign(tx, row, "cloud_target"):
        _not_over(tx, row.year)
        tx.audit("cloud_target.enact", row.subject, after={"year": row.year, "shares": row.shares})
    return row


def withdraw(tx: Tx, target_id: int) -> CloudTarget:
    """Give a draft up."""
    row = cloud_target(tx, target_id)
    signed.withdraw(tx, row, "cloud_target")
    return row


def _not_over(tx: Tx, year: int) -> None:
    today = tx.now.astimezone(ZONE).date()
    if not today.year <= year <= today.year + YEARS:
        raise Invalid("cloud_target.year", N_("只能规定本年度及以后十年内的目标"), field="year")


def told(tx: Tx, row: CloudTarget) -> list[tuple[Department | None, int]]:
    """Whose share each is: the city's first, then departments by their code; a department is told of those below it alone."""
    ids = {int(key) for key in row.shares if key != CITY}
    if tx.actor.role is Role.TENANT:
        ids &= subtree(tx, tx.actor.department_id or 0)
    found: list[tuple[Department | None, Any]] = [(None, row.shares[CITY])] if CITY in row.shares else []
    rows = tx.scalars(select(Department).where(among(Department.id, ids)).order_by(Department.code))
    return [*found, *((one, row.shares[str(one.id)]) for one in rows)]
