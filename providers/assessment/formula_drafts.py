"""Formulas before they hold: drafts, what past periods would have been by them, and the second signature.

A draft is never edited: to change it is to make another. Past periods are scored again on the very rows of their cards;
only what a draft gathers by other terms, or what no card has rows of, is gathered anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from providers.assessment import cards, formulas, gathering, periods, registry, whose
from providers.assessment.cards import ScorecardRecord
from providers.assessment.formula import Formula, FormulaDocument, documents
from providers.assessment.formulas import AssessmentFormula
from providers.assessment.scorecard import Evidence, Scorecard, score
from providers.assessment.subjects import CardSubject
from quota.actors import Role
from quota.base import Base
from quota.errors import N_, NotAllowed, NotFound, WrongState, stated
from quota.seals import fingerprint

if TYPE_CHECKING:
    from quota.db import Tx

PERIODS = 6
"""How many past periods of each length and company are scored again."""


class FormulaDraft(Base):
    """A formula that somebody proposes. ``document`` as in ``AssessmentFormula``, never changed."""

    __tablename__ = "formula_drafts"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(32), index=True)
    based_on: Mapped[int]  # the newest version when it was drafted, 0: none
    document: Mapped[dict[str, Any]]
    digest: Mapped[str] = mapped_column(String(64))
    effective_from: Mapped[date]
    reason: Mapped[str] = mapped_column(Text)
    drafted_by: Mapped[str] = mapped_column(String(64))
    drafted_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    enacted_id: Mapped[int | None] = mapped_column(ForeignKey("assessment_formulas.id"))

    enacted: Mapped[AssessmentFormula | None] = relationship()

    def written(self) -> FormulaDocument:
        """The document. Raises Invalid where it names what is not known here any more."""
        return documents.read(self.document)

    @property
    def state(self) -> str:
        """drafted, enacted or withdrawn."""
        return "enacted" if self.enacted_id else "withdrawn" if self.withdrawn_at else "drafted"


def draft(tx: Tx, document: FormulaDocument, *, effective_from: date, reason: str) -> FormulaDraft:
    """Propose a document as the next version of its code, to hold from ``effective_from`` on. By the steward or the
    authority. Raises Invalid for a day that is past, a company that is not known, or without a reason."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    stated(reason, code="formula.reason", message=N_("请写明制定或修订考核公式的理由"))
    formulas.subject_of(tx, document)
    formulas.not_past(tx, document.code, effective_from)
    before = formulas.newest(tx, document.code)
    told = replace(document, effective_from=effective_from).to_json()
    row = FormulaDraft(
        code=document.code, based_on=before.version if before is not None else 0, document=told, digest=fingerprint(told),
        effective_from=effective_from, reason=reason.strip()[:2000], drafted_by=tx.actor.login, drafted_at=tx.now,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.audit(
        "formula.draft", f"formula_draft:{row.id}", after={"code": row.code, "digest": row.digest}, reason=row.reason
    )
    return row


def withdraw(tx: Tx, draft_id: int) -> FormulaDraft:
    """Give a draft up. Raises WrongState for one that was enacted or given up."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    row = drafted(tx, draft_id)
    _open(row)
    row.withdrawn_at = tx.now
    tx.flush()
    tx.audit("formula.withdraw", f"formula_draft:{row.id}", before={"digest": row.digest})
    return row


def enact(tx: Tx, draft_id: int, digest: str, *, reason: str) -> AssessmentFormula:
    """The second signature: by somebody of the authority who did not draft it, under the very document that was shown
    (``digest``). What past periods would have been is kept with the version.

    Raises NotAllowed for one's own draft, WrongState for one that is closed or was not the one shown, and as
    ``formulas.enact``.
    """
    tx.actor.must_be(Role.AUTHORITY)
    tx.actor.must_sign()
    row = tx.scalar(select(FormulaDraft).where(FormulaDraft.id == draft_id).with_for_update())
    if row is None:
        raise NotFound("formula.no_draft", N_("没有编号为 %(id)s 的考核公式草案"), id=draft_id)
    _open(row)
    if row.drafted_by == tx.actor.login:
        raise NotAllowed("formula.own_draft", N_("本人起草的考核公式须由另一人签署"))
    if row.digest != digest:
        raise WrongState("formula.other", N_("页面显示的不是这份草案,请刷新后再签署"))
    stated(reason, code="formula.reason", message=N_("请写明制定或修订考核公式的理由"))
    document = row.written()
    shown = [one.to_json() for one in rescored(tx, document)]
    version = formulas.enact(
        tx, document, effective_from=row.effective_from, reason=reason.strip()[:2000], drafted_by=row.drafted_by,
        after=row.based_on, rescored=shown,
    )  # fmt: skip
    row.enacted_id = version.id
    tx.flush()
    return version


def _open(row: FormulaDraft) -> None:
    if row.state != "drafted":
        raise WrongState("formula.closed", N_("该草案已启用或已撤回"))


def drafted(tx: Tx, draft_id: int) -> FormulaDraft:
    """The draft, or NotFound."""
    found = tx.get(FormulaDraft, draft_id)
    if found is None:
        raise NotFound("formula.no_draft", N_("没有编号为 %(id)s 的考核公式草案"), id=draft_id)
    return found


def drafts(tx: Tx) -> list[FormulaDraft]:
    """Every draft, newest first."""
    return list(tx.scalars(select(FormulaDraft).order_by(FormulaDraft.id.desc())))


# ---------------------------------------------------------------------------------------------------------- rescoring


@dataclass(frozen=True, slots=True)
class Rescored:
    """A past card beside what it would have been. ``moved``: indicator → points before and after, where they differ."""

    card: ScorecardRecord
    then: Scorecard
    paid: tuple[Decimal | None, Decimal | None]
    moved: Mapping[str, tuple[Decimal | None, Decimal | None]]

    def to_json(self) -> dict[str, Any]:
        return {
            "card": self.card.id,
            **({"provider": self.card.provider_id} if self.card.provider_id else whose.columns_of(self.card.subject)),
            "period": self.card.month,
            "total": [_text(self.card.total), _text(self.then.total)],
            "grade": [self.card.grade, self.then.grade],
            "paid": [_text(one) for one in self.paid],
        }


def _text(figure: Decimal | None) -> str | None:
    return None if figure is None else str(figure)


def rescored(tx: Tx, document: FormulaDocument, length: int = PERIODS) -> list[Rescored]:
    """The latest cards of whom a document is for, months and quarters, the newest ``length`` periods of each company and
    length, beside what they would have been by it; newest first, none where the document ends a formula. Nothing is written."""
    if document.ends:
        return []
    company = formulas.subject_of(tx, document)
    enacted = formulas.enacted(tx)
    kept: dict[tuple[CardSubject, bool], dict[str, ScorecardRecord]] = {}
    of_its_type = whose.of_type(ScorecardRecord, document.formula.subject)
    for card in tx.scalars(select(ScorecardRecord).where(of_its_type).order_by(ScorecardRecord.revision)):
        if company is not None and card.provider_id != company.id:
            continue
        on = periods.first_day(card.month)
        if document.contract and not enacted.under(card.provider_id or 0, document.contract, on):
            continue
        kept.setdefault((card.subject, "Q" in card.month), {})[card.month] = card
    chosen = [of[period] for of in kept.values() for period in sorted(of, reverse=True)[:length]]
    return [
        _again(tx, card, document.formula)
        for card in sorted(chosen, key=lambda one: (one.month, -one.id), reverse=True)
    ]


def _again(tx: Tx, card: ScorecardRecord, by: Formula) -> Rescored:
    was = cards.formula_of(card)
    then = score(_evidence(tx, card, was, by), by)
    old = {mark.indicator: mark.mark for mark in card.marks}
    new = {mark.indicator: mark.mark for mark in then.marks}
    moved = {
        code: (old.get(code), new.get(code))
        for code in [*new, *(code for code in old if code not in new)]
        if old.get(code) != new.get(code)
    }
    return Rescored(card, then, (was.paid(card.grade), by.paid(then.grade)), moved)


def _evidence(tx: Tx, card: ScorecardRecord, was: Formula, by: Formula) -> Evidence:
    """The rows of a card, but for those that ``by`` gathers otherwise."""
    kept = gathering.timed(cards.rows_of(tx, card), by, card.month, card.computed_at)
    anew = [criterion.source for criterion in by.criteria if _otherwise(criterion.source, was, by)]
    if not anew:
        return kept
    months = periods.months(card.month)
    # What is read from the lake is not read again here: the rows of the card stand for it.
    given = {
        code: {month: rows if month == months[0] else [] for month in months}
        for code, rows in kept.items()
        if (known := registry.find(code)) is not None and known.beforehand is not None
    }
    found = gathering.gather(tx, card.subject, card.month, by=by, given=given)
    return {**kept, **{code: found.get(code, []) for code in anew}}


def _otherwise(code: str, was: Formula, by: Formula) -> bool:
    """Whether the evidence of an indicator depends on what two formulas say differently."""
    known = registry.find(code)
    if known is None or code not in {criterion.source for criterion in was.criteria}:
        return True
    if known.by_incident_terms and was.incidents != by.incidents:
        return True
    return any(was.term(code, term.name) != by.term(code, term.name) for term in known.terms)


def outlook(found: Sequence[Rescored]) -> tuple[int, int]:
    """How many of the cards would have another grade, and how many would have none for want of evidence."""
    graded = sum(one.card.grade != one.then.grade for one in found)
    return graded, sum(one.then.total is None and one.card.total is not None for one in found)
