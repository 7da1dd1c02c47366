"""The audit trail, filtered and exported."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, render_template, url_for
from sqlalchemy import ColumnElement, func, or_, select
from werkzeug.wrappers import Response

from console import frame, links
from console.access import allow
from console.book import reading
from console.lists import Column, Filter, listing, since, until
from console.programs import listed
from console.verification import runs
from console.words import audit as audit_words
from console.words import names, who_exactly
from console.words import show as show_value
from quota import audit
from quota.actors import ROLE_LABELS, Actor, Role
from quota.audit import AuditRecord
from quota.db import Tx
from quota.errors import N_, NotFound

blueprint = Blueprint("audit", __name__, url_prefix="/audit")
frame.page("audit", "audit.index", N_("审计记录"), order=10)

READERS = (Role.AUDITOR, Role.AUDADMIN)
RECENT = timedelta(days=1)
LATEST = 8


def _done(text: str) -> ColumnElement[bool]:
    """What was done, by its code or by its word."""
    return or_(frame.matching(text, AuditRecord.action), AuditRecord.action.in_(audit_words.codes(text)))


COLUMNS = [
    Column(
        "sequence",
        N_("序号"),
        lambda r: r.sequence,
        sort=AuditRecord.sequence,
        href=lambda r: url_for("audit.show", sequence=r.sequence),
        title=True,
    ),
    Column("at", N_("时间"), lambda r: r.at, sort=AuditRecord.at),
    Column("actor", N_("操作人"), lambda r: r.actor, text=who_exactly, sort=AuditRecord.actor),
    Column("role", N_("角色"), lambda r: ROLE_LABELS[Role(r.role)]),
    Column("action", N_("操作"), lambda r: r.action, sort=AuditRecord.action),
    Column("subject", N_("对象"), lambda r: r.subject, sort=AuditRecord.subject),
    Column("address", N_("来源地址"), lambda r: r.address, minor=True),
    Column("reason", N_("说明"), lambda r: r.reason, minor=True),
]
FILTERS = [
    Filter("actor", N_("操作人"), lambda q, v: q.where(AuditRecord.actor == v)),
    Filter("action", N_("操作"), lambda q, v: q.where(_done(v))),
    Filter("subject", N_("对象"), lambda q, v: q.where(frame.matching(v, AuditRecord.subject))),
    Filter("since", N_("自"), since(AuditRecord.at), kind="date"),
    Filter("until", N_("至"), until(AuditRecord.at), kind="date"),
]


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    found = listing(
        reading(), select(AuditRecord), COLUMNS, key=AuditRecord.sequence, filters=FILTERS, sort="-sequence"
    )
    names.learn(row.subject for row in found.rows)
    return found.exported("audit") or render_template(
        "audit/index.html", records=found, done=audit_words.action, address=links.address
    )


@blueprint.get("/<int:sequence>")
@allow(*READERS)
def show(sequence: int) -> str:
    """One record with what changed. Raises NotFound."""
    record = reading().get(AuditRecord, sequence)
    if record is None:
        raise NotFound("audit.none", N_("没有第 %(sequence)s 条审计记录"), sequence=sequence)
    fields = sorted({*record.before, *record.after})
    changes = [(name, show_value(record.before.get(name)), show_value(record.after.get(name))) for name in fields]
    return render_template(
        "audit/show.html",
        record=record,
        changes=changes,
        done=audit_words.action(record.action),
        address=links.address(record.subject),
    )


@frame.home_block(*READERS, order=10)
def overview(tx: Tx, _who: Actor) -> str:
    """The trail since this time yesterday, whether it was verified, and the latest records."""
    yesterday = tx.now - RECENT
    recent = select(func.count()).select_from(AuditRecord).where(AuditRecord.at >= yesterday)
    count, digest = audit.head(tx)
    newest = select(AuditRecord).order_by(AuditRecord.sequence.desc())
    return render_template(
        "audit/_home.html",
        since=yesterday,
        fresh=tx.scalar(recent),
        failed=tx.scalar(
            recent.where(
                AuditRecord.action.in_(("login.fail", "login.second_fail", "login.limit", "login.lock", "login.locked"))
            )
        ),
        count=count,
        digest=digest,
        verified=runs.latest(tx),
        latest=tx.scalars(newest.limit(LATEST)).all(),
        done=audit_words.action,
    )
