"""信创 compatibility: which combination of chip, system, database and middleware a company's cloud has been shown to
carry. Each row is what was last said of one combination; its history is in the audit trail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quota.actors import Role
from quota.base import Base
from quota.calendar import ZONE
from quota.directory import CloudProvider, provider
from quota.errors import N_, Invalid, NotFound
from quota.requests import Request, RuleFact, facts
from quota.units import Arch

if TYPE_CHECKING:
    from quota.db import Tx


class Fitness(StrEnum):
    UNTESTED = "untested"
    ADAPTING = "adapting"
    ADAPTED = "adapted"
    CERTIFIED = "certified"
    UNSUPPORTED = "unsupported"


FITNESS_LABELS: Mapping[Fitness, str] = {
    Fitness.UNTESTED: N_("未测"),
    Fitness.ADAPTING: N_("适配中"),
    Fitness.ADAPTED: N_("已适配"),
    Fitness.CERTIFIED: N_("已认证"),
    Fitness.UNSUPPORTED: N_("不支持"),
}

CHIP_ARCHS: Mapping[str, Arch] = {
    "鲲鹏": Arch.AARCH64, "飞腾": Arch.AARCH64, "海光": Arch.X86_64, "兆芯": Arch.X86_64, "龙芯": Arch.LOONGARCH64,
    "申威": Arch.SW_64, "昇腾": Arch.ANY,
}  # fmt: skip
"""Domestic chips and their instruction sets; ANY: a card beside whatever host."""
CHIPS = tuple(CHIP_ARCHS)

RANKING = (Fitness.CERTIFIED, Fitness.ADAPTED, Fitness.ADAPTING, Fitness.UNTESTED, Fitness.UNSUPPORTED)
"""The best first."""


class Combination(Base):
    """One combination on one company's cloud. Empty ``database`` or ``middleware``: without one. ``required``: the city
    asks for it, so that it counts in the score."""

    __tablename__ = "compatibility"
    __table_args__ = (UniqueConstraint("provider_id", "chip", "system", "database", "middleware"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"))
    chip: Mapped[str] = mapped_column(String(32))
    system: Mapped[str] = mapped_column(String(64))
    database: Mapped[str] = mapped_column(String(64), default="")
    middleware: Mapped[str] = mapped_column(String(64), default="")
    fitness: Mapped[str] = mapped_column(String(12))
    required: Mapped[bool] = mapped_column(default=False)
    certificate: Mapped[str] = mapped_column(String(128), default="")
    valid_until: Mapped[date | None]
    note: Mapped[str] = mapped_column(Text, default="")
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(64))

    provider: Mapped[CloudProvider] = relationship()

    def good(self, on: date) -> bool:
        """Certified, and the certificate in date on ``on``."""
        return self.fitness == Fitness.CERTIFIED and self.valid_until is not None and self.valid_until >= on


def state(
    tx: Tx,
    provider_id: int,
    chip: str,
    system: str,
    fitness: Fitness,
    *,
    database: str = "",
    middleware: str = "",
    required: bool = False,
    certificate: str = "",
    valid_until: date | None = None,
    note: str = "",
) -> Combination:
    """Say how a combination stands; what was said of it before is in the trail. A certificate names itself and its end."""
    tx.actor.must_be(Role.SUPERVISOR)
    company = provider(tx, provider_id)
    system = system.strip()
    if chip not in CHIPS:
        raise Invalid("compatibility.chip", N_("请选择芯片"), field="chip")
    if not system:
        raise Invalid("compatibility.system", N_("请填写操作系统"), field="system")
    if fitness is Fitness.CERTIFIED and not certificate.strip():
        raise Invalid("compatibility.certificate", N_("已认证的组合须填写证书编号"), field="certificate")
    if fitness is Fitness.CERTIFIED and valid_until is None:
        raise Invalid("compatibility.until", N_("已认证的组合须填写证书有效期"), field="valid_until")
    key = {"chip": chip, "system": system, "database": database.strip(), "middleware": middleware.strip()}
    told = {
        "fitness": fitness.value, "required": required, "note": note.strip(),
        "certificate": certificate.strip() if fitness is Fitness.CERTIFIED else "",
        "valid_until": valid_until if fitness is Fitness.CERTIFIED else None,
    }  # fmt: skip
    found = tx.scalar(select(Combination).filter_by(provider_id=company.id, **key).with_for_update())
    before = {name: getattr(found, name) for name in told} if found is not None else {}
    if found is None:
        found = Combination(provider_id=company.id, **key, **told, changed_at=tx.now, changed_by=tx.actor.login)
        tx.add(found)
    elif before == told:
        return found
    else:
        for name, value in told.items():
            setattr(found, name, value)
        found.changed_at, found.changed_by = tx.now, tx.actor.login
    tx.flush()
    tx.audit("compatibility.state", f"combination:{found.id}", before=before, after={**key, **told})
    return found


def combination(tx: Tx, combination_id: int) -> Combination:
    """The combination, or NotFound."""
    found = tx.get(Combination, combination_id)
    if found is None:
        raise NotFound("compatibility.none", N_("没有编号为 %(id)s 的组合"), id=combination_id)
    return found


# ------------------------------------------------------------------------------------------------- what a request asks for


def asked(tx: Tx, request: Request) -> str | None:
    """How the combinations that ``request`` names (system, database, middleware), a line each, stand on its pool's domestic chips: a Fitness. No pool
    says which chip of its instruction set it has, so it is the worst that is said of any of them. Untested where nobody said anything of it; a certificate that is over counts as adapted. None where the pool
    is not of domestic chips or no system is named."""
    combinations = {_named(one.said) for one in request.lines} or {_named(lambda name: request.fields.get(name, ""))}
    if not request.pool.xinchuang or not any(system for system, *_more in combinations):
        return None
    today = tx.now.astimezone(ZONE).date()
    chips = [chip for chip, arch in CHIP_ARCHS.items() if arch == request.pool.arch]
    known = tx.scalars(
        select(Combination).where(Combination.provider_id == request.pool.provider_id, Combination.chip.in_(chips))
    )
    said: dict[tuple[str, ...], list[Fitness]] = {}
    for one in known:
        over = one.fitness == Fitness.CERTIFIED and not one.good(today)
        key = _plain(one.system), _plain(one.database), _plain(one.middleware)
        said.setdefault(key, []).append(Fitness.ADAPTED if over else Fitness(one.fitness))
    stands = [one for named in combinations if named[0] for one in said.get(named, [Fitness.UNTESTED])]
    return max(stands, key=RANKING.index).value


def _named(said: Callable[[str], object]) -> tuple[str, ...]:
    return tuple(_plain(said(name)) for name in ("os", "database", "middleware"))


def _plain(text: object) -> str:
    """As it is compared: letters of one case, no blanks."""
    return "".join(str(text).split()).casefold()


facts.register("xinchuang_fit", RuleFact(str, N_("信创适配状态"), Fitness.CERTIFIED.value), asked)
