"""Formulas that a city has enacted: versions that are never edited, each with the day from which it holds and whom it is for.

A period is scored by what holds on its first day: nobody is judged by a rule that was made while it ran. Of those that are
for a company the narrowest counts: its own before its contract's, a lot's before its contract's as a whole, these before the
city's. Where nothing is enacted, our own default holds. A company's contracts are those on record whose term covers the day; of
one of which none is on record, the number that its own record states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.assessment import formula as formulas
from providers.assessment import periods
from providers.assessment.formula import Formula, FormulaDocument, from_json
from providers.assessment.subjects import SUBJECT_LABELS, CardSubject, SubjectType, company
from providers.billing import incidents
from providers.contracts import Contract
from providers.incident_terms import IncidentTerms
from providers.ticket_terms import TicketTerms
from providers.tickets import handling
from quota.actors import Role
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.directory import CloudProvider
from quota.errors import N_, Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from quota.db import Tx

CITY = "city"
"""The code of the formula that a new house begins with."""

SINCE = date(2000, 1, 1)
"""From when that one holds: for whatever may be scored."""

LOT = "/"
"""What stands between a contract's number and its lot's."""


class AssessmentFormula(Base):
    """考核公式: one version of one formula. ``document`` is ``FormulaDocument.to_json()``; empty: the formula ends.
    ``rescored``: what past periods would have been by it, as who signed was shown."""

    __tablename__ = "assessment_formulas"
    __table_args__ = (UniqueConstraint("code", "version"), CheckConstraint("version > 0", name="version"))

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    name: Mapped[str] = mapped_column(String(96))
    basis: Mapped[str] = mapped_column(Text, default="")
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("cloud_providers.id"))
    contract: Mapped[str] = mapped_column(String(64), default="")
    effective_from: Mapped[date]
    document: Mapped[dict[str, Any]]
    rescored: Mapped[list[Any]] = mapped_column(default=list)
    reason: Mapped[str] = mapped_column(Text)
    drafted_by: Mapped[str] = mapped_column(String(64))
    enacted_by: Mapped[str] = mapped_column(String(64))
    enacted_at: Mapped[datetime]

    provider: Mapped[CloudProvider | None] = relationship()

    @property
    def label(self) -> str:
        """Its version, as cards name it."""
        return f"{self.code}-{self.version}"

    @property
    def subject_type(self) -> SubjectType:
        """What type of subject it is for; of one that ends the code it is not known any more."""
        return SubjectType(self.document.get("subject", SubjectType.COMPANY))

    @property
    def ends(self) -> bool:
        return not self.document

    def formula(self) -> Formula:
        """What companies are scored by. An enacted version is read whatever it names, as cards are."""
        kept = {name: value for name, value in self.document.items() if name not in _HEAD}
        return from_json({**kept, "version": self.label})

    def written(self) -> FormulaDocument:
        """The document, to be handed on or to begin a draft with."""
        told = self.document["applies_to"]
        return FormulaDocument(
            self.code, self.name, self.basis, told["provider"], told["contract"], self.effective_from, self.formula()
        )


append_only(AssessmentFormula.__table__)  # type: ignore[arg-type]

_HEAD = frozenset({"code", "name", "basis", "effective_from", "applies_to"})


_Agreed = tuple[str, date, date]
"""The number of a contract, its first and its last day."""


@dataclass(frozen=True, slots=True)
class Enacted:
    """Every version, read once, to be asked often."""

    versions: Sequence[AssessmentFormula]
    contracts: dict[int, list[_Agreed]]

    def under(self, provider_id: int, contract: str, on: date | None = None) -> bool:
        """Whether a company has this contract, or a lot of it, on a day, or ever."""
        return any(
            (number == contract or number.startswith(contract + LOT)) and (on is None or first <= on <= last)
            for number, first, last in self.contracts.get(provider_id, ())
        )

    def type_of(self, formula: AssessmentFormula) -> SubjectType:
        """What type of subject a version is for; one that ends its code is for whom the others of the code are."""
        of_its_code = (one.subject_type for one in self.versions if one.code == formula.code and not one.ends)
        return next(of_its_code, formula.subject_type)

    def of(self, provider_id: int, on: date) -> AssessmentFormula | None:
        """What holds for a company on a day; None: our default."""
        return self.of_subject(company(provider_id), on)

    def of_subject(self, subject: CardSubject, on: date) -> AssessmentFormula | None:
        """What holds for a subject on a day; None: our default."""
        provider_id = subject.id if subject.type is SubjectType.COMPANY else 0
        newest: dict[str, AssessmentFormula] = {}
        for one in self.versions:  # by code, effective day and version
            if one.effective_from <= on:
                newest[one.code] = one
        fitting = [
            (self._narrow(one, provider_id, on), one)
            for one in newest.values()
            if not one.ends and one.subject_type is subject.type
        ]
        ranked = [(narrow, one.effective_from, one.id, one) for narrow, one in fitting if narrow is not None]
        return max(ranked)[-1] if ranked else None

    def formula(self, provider_id: int, on: date) -> Formula:
        """What a company is scored by in a period that begins ``on``."""
        return self.formula_of(company(provider_id), on)

    def formula_of(self, subject: CardSubject, on: date) -> Formula:
        """What a subject is scored by in a period that begins ``on``."""
        held = self.of_subject(subject, on)
        return held.formula() if held is not None else formulas.default(subject.type)

    def _narrow(self, formula: AssessmentFormula, provider_id: int, on: date) -> tuple[int, int] | None:
        """How narrowly a version is for a company; None: it is not."""
        if formula.provider_id is not None:
            return (2, 0) if formula.provider_id == provider_id else None
        if not formula.contract:
            return (0, 0)
        return (1, len(formula.contract)) if self.under(provider_id, formula.contract, on) else None


def enacted(tx: Tx) -> Enacted:
    """All that was enacted, for companies as their contracts stand."""
    order = (AssessmentFormula.code, AssessmentFormula.effective_from, AssessmentFormula.version)
    agreed: dict[int, list[_Agreed]] = {}
    stated = select(
        CloudProvider.id, CloudProvider.contract_number, Contract.number, Contract.first_day, Contract.last_day
    )
    for one, told, number, first, last in tx.execute(
        stated.outerjoin(Contract, Contract.provider_id == CloudProvider.id)
    ):
        agreed.setdefault(one, []).append((number, first, last) if number else (told, date.min, date.max))
    return Enacted(list(tx.scalars(select(AssessmentFormula).order_by(*order))), agreed)


def in_force(tx: Tx, provider_id: int, period: str) -> Formula:
    """What a company is scored by in ``period``."""
    return in_force_of(tx, company(provider_id), period)


def in_force_of(tx: Tx, subject: CardSubject, period: str) -> Formula:
    """What a subject is scored by in ``period``."""
    return enacted(tx).formula_of(subject, periods.first_day(period))


def _terms(tx: Tx, provider_id: int, at: datetime) -> IncidentTerms:
    return enacted(tx).formula(provider_id, at.astimezone(ZONE).date()).incidents


def _ticket_terms(tx: Tx, provider_id: int | None, at: datetime) -> TicketTerms:
    """Of a company, or, for the supervisor, what is laid down for everybody."""
    return enacted(tx).formula(provider_id or 0, at.astimezone(ZONE).date()).tickets


incidents.laid_down_by(_terms)
handling.laid_down_by(_ticket_terms)


def newest(tx: Tx, code: str) -> AssessmentFormula | None:
    """The version of ``code`` enacted last, in force or yet to be."""
    query = select(AssessmentFormula).where(AssessmentFormula.code == code)
    return tx.scalar(query.order_by(AssessmentFormula.version.desc()).limit(1))


def version(tx: Tx, version_id: int) -> AssessmentFormula:
    """The version, or NotFound."""
    found = tx.get(AssessmentFormula, version_id)
    if found is None:
        raise NotFound("formula.none", N_("没有编号为 %(id)s 的考核公式"), id=version_id)
    return found


def subject_of(tx: Tx, document: FormulaDocument) -> CloudProvider | None:
    """The company that a document is for; None: for a contract, or for all. Raises Invalid naming what is not known, and for a
    code that is another type of subject's."""
    whom = document.formula.subject
    other = next((one for one in enacted(tx).versions if one.code == document.code and not one.ends
                  and one.subject_type is not whom), None)  # fmt: skip
    if other is not None:
        raise Invalid("formula.other_subject", N_("考核公式 %(code)s 适用于%(whom)s,请另取代码"), code=document.code,
                      whom=SUBJECT_LABELS[other.subject_type], field="file")  # fmt: skip
    if document.provider and document.contract:
        raise Invalid("formula.applies", N_("适用的公司和合同只写一项"), field="file")
    if not document.provider:
        return None
    found = tx.scalar(select(CloudProvider).where(CloudProvider.code == document.provider))
    if found is None:
        raise Invalid("formula.provider", N_("没有代码为 %(code)s 的云服务商"), code=document.provider, field="file")
    return found


def not_past(tx: Tx, code: str, effective_from: date) -> None:
    """Raises Invalid where a version would hold from a day that is past, or before the one that it follows."""
    before = newest(tx, code)
    today = tx.now.astimezone(ZONE).date()
    earliest = max(today, before.effective_from) if before is not None else today
    if effective_from < earliest:
        raise Invalid("formula.past", N_("考核公式不能早于 %(day)s 起生效"), day=earliest, field="effective_from")


def enact(
    tx: Tx,
    document: FormulaDocument,
    *,
    effective_from: date,
    reason: str,
    drafted_by: str = "",
    after: int | None = None,
    rescored: Sequence[Any] = (),
) -> AssessmentFormula:
    """Enact the next version of a document's code. By the authority, through ``formula_drafts.enact``; the system founds a
    house with one. ``after``: the newest version that it was drafted upon (0: none). Raises Conflict where there is a newer
    one, Invalid as ``not_past``."""
    tx.actor.must_be(Role.AUTHORITY, Role.SYSTEM)
    before = newest(tx, document.code)
    last = before.version if before is not None else 0
    if after is not None and after != last:
        raise Conflict(
            "formula.overtaken",
            N_("考核公式 %(code)s 已有第 %(version)s 版,请重新起草"),
            code=document.code,
            version=last,
        )
    if tx.actor.role is not Role.SYSTEM:
        not_past(tx, document.code, effective_from)
    company = subject_of(tx, document)
    row = AssessmentFormula(
        code=document.code, version=last + 1, name=document.name, basis=document.basis, contract=document.contract,
        provider_id=company.id if company is not None else None, effective_from=effective_from,
        document={} if document.ends else replace(document, effective_from=effective_from).to_json(), rescored=list(rescored),
        reason=reason, drafted_by=drafted_by or tx.actor.login, enacted_by=tx.actor.login, enacted_at=tx.now,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.audit(
        "formula.enact", f"formula:{row.id}", before={"version": last} if before is not None else None,
        after={"code": row.code, "version": row.version, "name": row.name, "provider": row.provider_id,
               "contract": row.contract, "effective_from": effective_from, "document": row.document}, reason=reason,
    )  # fmt: skip
    return row


def seed(tx: Tx) -> AssessmentFormula:
    """Enact our own default where no formula was, so that the book holds what companies are scored by."""
    document = FormulaDocument(
        CITY, N_("系统默认考核公式"), N_("系统默认值,可由主管部门调整"), "", "", SINCE, formulas.default()
    )  # fmt: skip
    return newest(tx, CITY) or enact(tx, document, effective_from=SINCE, reason=document.basis)
