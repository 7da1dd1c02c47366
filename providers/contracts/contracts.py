"""Contracts: what was agreed with a company on money, and for what of it. Amended with a reason; what was settled under it stays as
it was settled. A lot is a contract that names what it covers."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Numeric, String, Text, false, select, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.contracts.coverage import LABOUR, ContractCoverage, Lot, Lots
from quota.actors import Actor, Role
from quota.base import Base, Count
from quota.directory import CatalogItem, CloudProvider, Department, Pool, departments, provider
from quota.errors import N_, Conflict, Invalid, NotFound, stated
from quota.units import CLASSES

if TYPE_CHECKING:
    from quota.db import Tx

MOST_FEN = 10**15
HUNDRED = Decimal(100)
MOST_INSTALMENTS = 60


class ContractBasis(StrEnum):
    """What is claimed in a period."""

    USAGE = "usage"  # what the closed months of the statement prove
    INSTALMENTS = "instalments"  # a share of the contract's sum, on the months agreed


BASIS_LABELS = {ContractBasis.USAGE: N_("按月结用量"), ContractBasis.INSTALMENTS: N_("按合同额分期")}


@dataclass(frozen=True, slots=True)
class Instalment:
    """``share`` per cent of the contract's sum, due in ``month`` (2026-12)."""

    month: str
    share: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTerms:
    """What a contract says. Fen; shares in per cent; days both included. ``warn_share``: from what share of the ceiling on somebody is
    warned; ``retention_months`` after its last day what is retained falls due. ``coverage``: of what; by instalments, what names
    nothing covers nothing of what is used."""

    number: str
    name: str
    payer: str
    first_day: date
    last_day: date
    ceiling_fen: int
    basis: ContractBasis = ContractBasis.USAGE
    instalments: tuple[Instalment, ...] = ()
    retention_share: Decimal = Decimal(0)
    retention_months: int = 2
    warn_share: int = 80
    note: str = ""
    coverage: ContractCoverage = field(default_factory=ContractCoverage)

    def checked(self) -> ContractTerms:
        """Itself. Raises Invalid naming the field that makes no sense."""
        if not self.number.strip() or len(self.number) > 64:
            raise _bad("number", N_("请填写合同编号"))
        if self.last_day < self.first_day:
            raise _bad("last_day", N_("合同终止日不能早于开始日"))
        if not 0 < self.ceiling_fen <= MOST_FEN:
            raise _bad("ceiling", N_("合同上限须大于 0"))
        if not 0 <= self.retention_share < HUNDRED:
            raise _bad("retention_share", N_("质保金比例须在 0 与 100 之间"))
        if not 0 <= self.retention_months <= 36 or not 1 <= self.warn_share <= 100:
            raise _bad("warn_share", N_("预警比例须在 1 与 100 之间，质保期不超过 36 个月"))
        shares = sum((one.share for one in self.instalments), Decimal(0))
        if self.basis is ContractBasis.INSTALMENTS and shares != HUNDRED:
            raise _bad("instalments", N_("各期比例之和应为 100"))
        months = [one.month for one in self.instalments]
        if months != sorted(set(months)) or any(one.share <= 0 for one in self.instalments):
            raise _bad("instalments", N_("各期月份须从早到晚、不重复，比例大于 0"))
        return self

    def columns(self) -> dict[str, Any]:
        """As the table keeps them."""
        return {
            "number": self.number.strip(), "name": self.name.strip()[:128], "payer": self.payer.strip()[:128],
            "first_day": self.first_day, "last_day": self.last_day, "ceiling_fen": self.ceiling_fen,
            "basis": self.basis.value, "retention_share": self.retention_share, "warn_share": self.warn_share,
            "retention_months": self.retention_months, "note": self.note.strip()[:4000],
            "instalments": [{"month": one.month, "share": str(one.share)} for one in self.instalments],
            "coverage": self.coverage.to_json(),
        }  # fmt: skip


def _bad(field: str, message: str) -> Invalid:
    return Invalid(f"contract.{field}", message, field=field)


class Contract(Base):
    """One contract, or lot, with one company; its columns are ``ContractTerms``."""

    __tablename__ = "contracts"
    __table_args__ = (CheckConstraint("ceiling_fen > 0 AND last_day >= first_day", name="sane"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(128))
    provider_id: Mapped[int] = mapped_column(ForeignKey("cloud_providers.id"), index=True)
    payer: Mapped[str] = mapped_column(String(128), default="")
    first_day: Mapped[date]
    last_day: Mapped[date]
    ceiling_fen: Mapped[int] = mapped_column(Count)
    basis: Mapped[str] = mapped_column(String(12))
    instalments: Mapped[list[Any]] = mapped_column(default=list)
    retention_share: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    retention_months: Mapped[int]
    warn_share: Mapped[int]
    note: Mapped[str] = mapped_column(Text, default="")
    coverage: Mapped[dict[str, Any]] = mapped_column(
        default=dict, server_default=text("'{}'")
    )  # ContractCoverage.to_json
    entered_at: Mapped[datetime]
    entered_by: Mapped[str] = mapped_column(String(64))
    generation: Mapped[int] = mapped_column(default=1)

    provider: Mapped[CloudProvider] = relationship()

    @property
    def schedule(self) -> tuple[Instalment, ...]:
        return tuple(Instalment(one["month"], Decimal(one["share"])) for one in self.instalments)

    def terms(self) -> ContractTerms:
        return ContractTerms(
            number=self.number, name=self.name, payer=self.payer, first_day=self.first_day, last_day=self.last_day,
            ceiling_fen=self.ceiling_fen, basis=ContractBasis(self.basis), instalments=self.schedule,
            retention_share=self.retention_share, retention_months=self.retention_months, warn_share=self.warn_share,
            note=self.note, coverage=ContractCoverage.from_json(self.coverage),
        )  # fmt: skip

    def months(self) -> list[str]:
        """Every month that it covers, in whole or in part."""
        first = self.first_day.year * 12 + self.first_day.month - 1
        last = self.last_day.year * 12 + self.last_day.month - 1
        return [f"{month // 12}-{month % 12 + 1:02d}" for month in range(first, last + 1)]


def enter(tx: Tx, provider_id: int, terms: ContractTerms) -> Contract:
    """Enter a contract. By the supervisor or the authority. Raises Invalid, Conflict for a number that is taken."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    terms.checked()
    company = provider(tx, provider_id)
    _unique(tx, terms.number, 0)
    _apart(tx, company.id, terms, 0)
    row = Contract(
        provider_id=company.id, entered_at=tx.now, entered_by=tx.actor.login, generation=1, **terms.columns()
    )
    tx.add(row)
    tx.flush()
    tx.audit("contract.enter", f"contract:{row.id}", after={"provider": company.id, **terms.columns()}, reason=row.note)
    return row


def amend(tx: Tx, contract_id: int, generation: int, terms: ContractTerms, reason: str) -> Contract:
    """Change what a contract says, for a reason (a supplementary agreement). By the authority. Sheets that were confirmed stay as they
    are, and count against the new ceiling. Raises Conflict where it was changed since the page showed it."""
    tx.actor.must_be(Role.AUTHORITY)
    terms.checked()
    stated(reason, code="contract.reason", message=N_("请写明变更合同的依据"))
    row = tx.lock_as_shown(
        contract(tx, contract_id), generation, Conflict("contract.stale", N_("合同已被更新,请刷新后再操作"))
    )
    _unique(tx, terms.number, row.id)
    _apart(tx, row.provider_id, terms, row.id)
    before = row.terms().columns()
    for name, value in terms.columns().items():
        setattr(row, name, value)
    row.generation += 1
    tx.flush()
    tx.audit("contract.amend", f"contract:{row.id}", before=before, after=terms.columns(), reason=reason.strip()[:2000])
    return row


def _unique(tx: Tx, number: str, mine: int) -> None:
    other = tx.scalar(select(Contract.id).where(Contract.number == number.strip(), Contract.id != mine))
    if other is not None:
        raise Conflict("contract.number", N_("合同 %(number)s 已登记"), number=number.strip(), field="number")


def _apart(tx: Tx, provider_id: int, terms: ContractTerms, mine: int) -> None:
    """Raises Invalid for a part that there is not, Conflict where another contract of the company covers the same, as narrowly and at the
    same time: nobody could say under which of them it is paid."""
    told = terms.coverage
    known: tuple[tuple[Collection[Any], Any, str], ...] = (
        (told.pools, select(Pool.id).where(Pool.provider_id == provider_id), "pools"),
        (told.items, select(CatalogItem.id), "items"),
        (told.departments, select(Department.id), "departments"),
    )
    for asked, query, field_ in known:
        if set(asked) - set(tx.scalars(query)):
            raise _bad(field_, N_("合同范围中有不存在或不属于该云服务商的项目"))
    if told.classes - {*CLASSES, LABOUR}:
        raise _bad("classes", N_("合同范围中有不存在或不属于该云服务商的项目"))
    if terms.basis is ContractBasis.INSTALMENTS and told.whole:
        return
    tx.alone(f"contracts:{provider_id}")
    (this,) = _expanded(tx, [Lot(mine, terms.number, provider_id, terms.first_day, terms.last_day, told)])
    for other in _expanded(tx, _lots(tx, [provider_id])):
        if (
            other.id != mine and other.first_day <= this.last_day and this.first_day <= other.last_day
            and other.coverage.narrow == this.coverage.narrow and other.coverage.meets(this.coverage)
        ):  # fmt: skip
            raise Conflict(
                "contract.overlaps",
                N_("与合同 %(number)s 在同一时期的范围重叠,请写明各自的范围"),
                number=other.number,
                field="pools",
            )


def lots(tx: Tx, provider_ids: Collection[int] | None = None) -> Lots:
    """What the contracts of these companies, or of all, cover."""
    return Lots.of(_expanded(tx, _lots(tx, provider_ids)))


def _lots(tx: Tx, provider_ids: Collection[int] | None) -> list[Lot]:
    query = select(
        Contract.id, Contract.number, Contract.provider_id, Contract.first_day, Contract.last_day, Contract.coverage, Contract.basis
    ).order_by(Contract.id)  # fmt: skip
    if provider_ids is not None:
        query = query.where(Contract.provider_id.in_(provider_ids))
    return [
        Lot(one, number, company, first, last, ContractCoverage.from_json(covered))
        for one, number, company, first, last, covered, basis in tx.execute(query)
        if covered or basis == ContractBasis.USAGE
    ]


def _expanded(tx: Tx, found: list[Lot]) -> list[Lot]:
    """With all that lies below the departments that they name."""
    named = set().union(*(lot.coverage.departments for lot in found)) if found else set()
    if not named:
        return found
    below = departments.subtrees(tx, named)
    return [
        replace(lot, coverage=replace(lot.coverage, departments=frozenset().union(*(below[one] for one in lot.coverage.departments))))
        for lot in found
    ]  # fmt: skip


def contract(tx: Tx, contract_id: int) -> Contract:
    """The contract, or NotFound, also where the actor may not see it."""
    found = tx.scalar(select(Contract).where(Contract.id == contract_id, visible(tx.actor)))
    if found is None:
        raise NotFound("contract.none", N_("没有编号为 %(id)s 的合同"), id=contract_id)
    return found


def visible(actor: Actor) -> ColumnElement[bool]:
    """A company its own; the steward, the authority and the auditor all."""
    if actor.role is Role.PROVIDER and actor.provider_id is not None:
        return Contract.provider_id == actor.provider_id
    return true() if actor.role in (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR, Role.SYSTEM) else false()


_INSTALMENT = re.compile(r"([0-9]{4}-(?:0[1-9]|1[0-2]))\s+([0-9]{1,3}(?:\.[0-9]{1,2})?)\s*%?")


def read_instalments(text: str) -> tuple[Instalment, ...]:
    """``2026-12 30`` a line → instalments. Raises Invalid naming the line that says something else."""
    found: list[Instalment] = []
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        told = _INSTALMENT.fullmatch(line.strip())
        if told is None or len(found) >= MOST_INSTALMENTS:
            raise Invalid(
                "contract.instalment", N_("第 %(place)s 行应写作 2026-12 30"), place=place, field="instalments"
            )
        found.append(Instalment(told[1], Decimal(told[2])))
    return tuple(found)
