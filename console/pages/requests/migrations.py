"""迁移切换: the department says of what was moved whether its service runs on the new resource, or that it stays where it is."""

from __future__ import annotations

import flask
from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from console import frame
from console.access import allow, proven
from console.book import reading, transaction
from console.forms import done, refused_here
from console.programs import GENERATION, Given, takes
from console.security import row
from console.words import _
from providers.orders import migrations
from quota import requests
from quota.actors import Role
from quota.errors import N_, Invalid, NotFound, WrongState
from quota.requests import formbook

blueprint = Blueprint("migrations", __name__, url_prefix="/requests")
frame.under("requests.index", "migrations")


@blueprint.route("/<int:request_id>/switch", methods=["GET", "POST"])
@allow(Role.TENANT)
@proven
@takes(
    None,
    GENERATION,
    Given("verdict", label=N_("办理"), required=True, values=("switch", "abandon")),
    Given("reason", label=N_("放弃的理由")),
)
def switch(request_id: int) -> str | Response | tuple[str, int]:
    """Both resources side by side, with the plan; then the old one goes, or the new one."""
    tx = reading()
    request = requests.request(tx, request_id)
    moved = migrations.of_request(tx, request)
    if moved is None or moved.until is None or not moved.mine(tx):
        raise NotFound("migrate.none", N_("申请 %(number)s 没有可以切换的迁移"), number=request.number)
    if moved.state is not migrations.MigrationState.SIDE_BY_SIDE:
        raise WrongState(
            "migrate.state", N_("迁移现为“%(state)s”，不能这样操作"), state=migrations.MIGRATION_LABELS[moved.state]
        )
    wrong, form = "", flask.request.form
    if flask.request.method == "POST":
        seen = form.get("generation", 0, row) or 0
        back = form.get("verdict") == "abandon"
        try:
            with transaction() as writing:
                if back:
                    migrations.abandon(writing, request.id, generation=seen, reason=form.get("reason", ""))
                elif form.get("verdict") == "switch":
                    migrations.switch(writing, request.id, generation=seen)
                else:
                    raise Invalid("migrate.verdict", N_("请选择切换还是放弃"), field="verdict")
        except Invalid as refused:
            wrong = refused_here(refused)
        else:
            said = _("已下达退回新资源的工单") if back else _("已下达旧资源下线的工单")
            return done(said, "requests.show", request_id=request.id)
    plan = [(_(label), _(said)) for label, said in formbook.form_of(tx, request).told(request.fields)]
    page = render_template("migrations/switch.html", one=request, moved=moved, plan=plan, wrong=wrong)
    return (page, 422) if wrong else page
