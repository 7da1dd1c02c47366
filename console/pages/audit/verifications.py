"""Every seal, balance and file recomputed: what goes on, what was found, when, and who asked for it."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from console import frame
from console.access import allow
from console.book import reading, transaction
from console.lists import Column, Filter, listing
from console.pages.audit.audit import READERS
from console.programs import listed, takes
from console.tables import VerificationRun
from console.verification import NIGHTS, runs
from console.words import _, number, who_exactly
from quota import audit, sealing
from quota.errors import N_, NotFound

blueprint = Blueprint("verifications", __name__, url_prefix="/audit/verification")
frame.page("audit", "verifications.index", N_("校验"), order=20)

CHECKED = {
    "audit_records": N_("审计记录"),
    "sealings": N_("封存"),
    "entries": N_("账本分录"),
    "sealed_rows": N_("封存的行"),
    "anchors": N_("锚点"),
    "accounts": N_("配额账户"),
    "bills": N_("账单"),
    "statement_runs": N_("对账单"),
    "assessments": N_("评估"),
    "report_editions": N_("运营报告"),
    "lake_days": N_("数据湖日文件"),
    "scorecards": N_("考核结果"),
    "attachments": N_("附件"),
    "certificates": N_("凭证"),
}
"""What a verification counts, in words."""


def outcome(run: VerificationRun) -> str:
    """How it ended, in one sentence."""
    if run.error:
        return _("校验未能完成")
    if run.ended_at is None:
        return _("校验进行中")
    return _("相符") if run.clean else _("发现 %(n)s 处不符", n=run.problem_count)


_wrong = (VerificationRun.problem_count > 0) | (VerificationRun.error != "")
COLUMNS = [
    Column(
        "id",
        N_("编号"),
        lambda r: r.id,
        sort=VerificationRun.id,
        href=lambda r: url_for("verifications.show", run_id=r.id),
        title=True,
    ),
    Column("ended", N_("完成时间"), lambda r: r.ended_at, sort=VerificationRun.ended_at),
    Column("reach", N_("范围"), lambda r: _("每夜一份") if r.night else _("全部")),
    Column("asked_by", N_("发起人"), lambda r: r.asked_by, text=who_exactly, sort=VerificationRun.asked_by),
    Column("outcome", N_("结果"), outcome),
]
FILTERS = [
    Filter("asked_by", N_("发起人"), lambda q, v: q.where(VerificationRun.asked_by == v)),
    Filter(
        "outcome",
        N_("结果"),
        lambda q, v: q.where(_wrong if v == "wrong" else ~_wrong),
        options={"wrong": N_("有不符或未完成"), "right": N_("相符")},
    ),
]


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(
        tx,
        select(VerificationRun).where(VerificationRun.ended_at.is_not(None)),
        COLUMNS,
        key=VerificationRun.id,
        filters=FILTERS,
        sort="-id",
    )
    count, digest = audit.head(tx)
    newest = runs.latest(tx)
    return found.exported("verifications") or render_template(
        "verifications/index.html",
        runs=found,
        count=count,
        digest=digest,
        under_way=runs.going_on(tx),
        newest=newest,
        outcome=outcome,
        counts=counts,
        nights=max(NIGHTS, 0 if newest is None else newest.nights),
        unsealed=unsealed(),
    )


@blueprint.post("/")
@allow(*READERS)
@takes()
def ask() -> Response:
    """Ask for everything to be verified: a city's lake takes longer than anybody waits for a page."""
    with transaction() as tx:
        runs.ask(tx)
    flash(_("校验已排队,由后台任务进行,可以离开本页"), "success")
    return redirect(url_for("verifications.index"))


@blueprint.get("/<int:run_id>")
@allow(*READERS)
def show(run_id: int) -> str:
    run = reading().get(VerificationRun, run_id)
    if run is None:
        raise NotFound("verification.none", N_("没有编号为 %(id)s 的校验"), id=run_id)
    return render_template("verifications/show.html", run=run, outcome=outcome, counts=counts)


def counts(run: VerificationRun) -> list[tuple[str, str, str]]:
    """(what, checked, left for other nights) of a run, as written."""
    return [(_(CHECKED[name]), number(count), number(run.left_out.get(name, 0))) for name, count in run.checked.items()]


def unsealed() -> list[tuple[str, str, str]]:
    """(table, columns, why) of what no seal of a row covers; no columns: the whole table."""
    whole = [(name, "", _(why)) for name, why in sorted({**sealing.UNSEALED, **sealing.ELSEWHERE}.items())]
    parts = [(name, ", ".join(sorted(columns)), _(why)) for name, (columns, why) in sorted(sealing.PASSING.items())]
    return [*whole, *parts]
