"""Where the audit trail is handed on to: how far each place has come, what it answered, and gaps that were found."""

from __future__ import annotations

from flask import Blueprint, render_template

from console import frame, trail
from console.access import allow
from console.book import reading, settings
from console.pages.audit.audit import READERS
from console.words import _
from quota import audit
from quota.errors import N_

blueprint = Blueprint("exports", __name__, url_prefix="/audit/exports")
frame.page("audit", "exports.index", N_("审计外送"), order=30)

WHY = {
    "missing": N_("缺少记录"),
    "altered": N_("记录与印鉴不符"),
    "cut": N_("审计链被截短"),
    "lost": N_("外送的文件丢失，已重新外送"),
}


@blueprint.get("/")
@allow(*READERS)
def index() -> str:
    tx = reading()
    rows = [
        (
            one,
            _("日志服务器") if one.row.kind == "syslog" else _("文件"),
            _(WHY[one.row.gap_why]) if one.row.gap_why else None,
        )
        for one in trail.standings(tx)
    ]
    return render_template(
        "audit/exports.html", rows=rows, head=audit.head(tx)[0], folder=settings().trail_folder,
        keep_days=settings().audit_keep_days, server=settings().audit_syslog,
    )  # fmt: skip
