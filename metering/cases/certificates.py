"""Certificates: that something was reclaimed, or enlarged and given back, with every figure behind it, sealed with SM3. Never rewritten.

What is printed is ``figures`` and the fingerprint over them: whoever holds the paper can have it compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from metering.cases.files import Case, visible
from metering.judging import CaseKind, Finding
from providers.orders import WorkOrder, ended_terms
from quota.base import Base, append_only
from quota.calendar import ZONE
from quota.errors import N_, NotFound
from quota.inspection import going_on, rows
from quota.ledger import Transfer
from quota.requests import rulebook
from quota.seals import fingerprint, plain
from quota.spans import WHOLE, NumberSpan

if TYPE_CHECKING:
    from quota.db import Tx


class Certificate(Base):
    """回收凭证 or 扩容凭证 of one case. ``charged_until``: from then on nothing is charged for what was freed, or given back; of what was
    enlarged for good, when it was."""

    __tablename__ = "certificates"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), unique=True)
    issued_at: Mapped[datetime]
    charged_until: Mapped[datetime]
    figures: Mapped[dict[str, Any]]
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)

    case: Mapped[Case] = relationship()

    @property
    def number(self) -> str:
        """HS2026-00012, KR2026-00013 of an expansion: the year of issue and the number of the case."""
        kind = "KR" if self.figures["kind"] == CaseKind.EXPAND else "HS"
        return f"{kind}{self.issued_at.astimezone(ZONE).year}-{self.case_id:05d}"

    def genuine(self) -> bool:
        """Whether the figures are those that were sealed."""
        return fingerprint(self.figures) == self.fingerprint


append_only(Certificate.__table__)  # type: ignore[arg-type]


def certify(tx: Tx, case: Case, charged_until: datetime) -> Certificate:
    """The certificate of a case, written once; the same case again returns it."""
    earlier = of_case(tx, case)
    if earlier is not None:
        return earlier
    figures = plain(_figures(tx, case, charged_until))
    row = Certificate(
        case_id=case.id,
        issued_at=tx.now,
        charged_until=charged_until,
        figures=figures,
        fingerprint=fingerprint(figures),
    )
    tx.add(row)
    tx.flush()
    tx.audit("certificate.issue", case.subject, after={"number": row.number, "fingerprint": row.fingerprint})
    return row


def check(tx: Tx, span: NumberSpan = WHOLE) -> Iterator[str]:
    """Yield a sentence for each certificate, or each of these numbers, whose figures are not those that were sealed."""
    said: list[str] = []
    for one in rows(tx, select(Certificate).where(*span.of(Certificate.id)).order_by(Certificate.id), said):
        with going_on(said, "certificates", one.id):
            if not one.genuine():
                yield f"certificates: row {one.id} ({one.number}) does not match its seal"
    yield from said


def of_case(tx: Tx, case: Case) -> Certificate | None:
    """The certificate of a case, where it has one."""
    return tx.scalar(select(Certificate).where(Certificate.case_id == case.id))


def certificate(tx: Tx, certificate_id: int) -> Certificate:
    """The certificate, or NotFound, also where the actor may not see its case."""
    found = tx.scalar(
        select(Certificate)
        .join(Case, Certificate.case_id == Case.id)
        .where(Certificate.id == certificate_id, visible(tx, tx.actor))
    )
    if found is None:
        raise NotFound("certificate.none", N_("没有编号为 %(id)s 的凭证"), id=certificate_id)
    return found


def _figures(tx: Tx, case: Case, charged_until: datetime) -> dict[str, Any]:
    """The whole story: what there was, why, who was heard, who signed, what was done when, what came back."""
    ordered = tx.scalars(select(WorkOrder).where(WorkOrder.case_id == case.id).order_by(WorkOrder.id)).all()
    moved = tx.scalars(select(Transfer).where(Transfer.subject == case.subject).order_by(Transfer.id)).all()
    return {
        "case": case.number,
        "kind": case.kind,
        "department": case.department.name,
        "system": case.system.name if case.system else None,
        "pool": case.pool.name,
        "resource": {"id": case.resource.external_id, "name": case.resource.name, "kind": case.resource.kind},
        "policy": {"name": case.policy_version.name, "version": case.policy_version.version},
        **({"term": _term(tx, case)} if case.term_id is not None else {}),
        "found": _judgement(case.finding),
        "judged_again": _judgement(case.fresh_finding) if case.fresh_finding else None,
        "before": case.shape,
        "after": case.target or {},
        "freed": case.freed,
        **(
            {"given": case.recoverable, "returned": case.going_back is not None} if case.kind == CaseKind.EXPAND else {}
        ),
        "opened_at": case.opened_at,
        "reviewed_by": case.reviewed_by,
        "notice": {"number": case.notice.number, "by": case.notice.issued_by, "at": case.notice.issued_at}
        if case.notice
        else None,
        "consent": case.consent,
        "replies": [{"answer": each.answer, "by": each.by, "at": each.at} for each in case.replies],
        "rulings": [
            {"matter": each.matter, "decision": each.decision, "by": each.by, "at": each.at} for each in case.rulings
        ],
        "acted_by": case.acted_by,
        "acted_at": case.acted_at,
        "effective_at": case.effective_at,
        "recycled_at": case.binned_at,
        "confirmed_by": [
            {"by": each.by, "at": each.at} for each in case.confirmations if each.attempt == case.attempts
        ],
        "orders": [
            {"number": each.number, "verb": each.verb, "delivered_at": each.delivered_at}
            for each in ordered
            if each.delivered_at is not None
        ],
        "transfers": [{"id": each.id, "command": each.command, "key": each.key, "at": each.at} for each in moved],
        "charged_until": charged_until,
    }


def _term(tx: Tx, case: Case) -> dict[str, Any]:
    """The end of a term that the case began with: of which request, when, what asked the department about it, by which rule."""
    term, day = case.term, case.opened_at.astimezone(ZONE).date()
    assert term is not None  # noqa: S101 - whoever calls has looked
    inquiry = ended_terms.inquiry_of(tx, term, case.resource, case.opened_at)
    end = ended_terms.end_of(term, rulebook.enacted(tx), day)
    return {
        "number": term.number,
        "until": term.use_until,
        "inquiry": inquiry.number if inquiry else None,
        "rule": end.rule if end else None,
    }


def _judgement(finding: Finding) -> dict[str, Any]:
    run = finding.assessment
    return {
        "finding": finding.id,
        "verdict": finding.verdict,
        "coverage": finding.coverage,
        "reasons": finding.reasons,
        "first_day": run.first_day,
        "last_day": run.last_day,
    }
