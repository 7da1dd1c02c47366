"""告警对照: what alerts are about, as the city lays it down: drafted, signed by another person, each from a day on."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame
from console.access import STEWARDS, allow, proven
from console.book import actor, reading, transaction
from console.forms import DateField, answer, done
from console.programs import takes
from console.words import _, lazy
from providers.monitoring import mappings, receiving
from quota.actors import Actor, Role
from quota.calendar import ZONE
from quota.db import Tx
from quota.errors import N_, Refused

blueprint = Blueprint("alert_mappings", __name__, url_prefix="/alert-mappings")
frame.page("providers", "alert_mappings.index", N_("告警对照"), order=24)

EXAMPLE = """alertname=Watchdog -> ignore
job=blackbox -> endpoint=$instance
"""


class MappingDraftForm(FlaskForm):  # type: ignore[misc]
    lines = TextAreaField(
        lazy(N_("对照")), [InputRequired(lazy(N_("请至少写一行"))), Length(max=100_000)],
        description=lazy(N_(
            "每行一条，先合者为准：<标签>=<值>, <标签>=<值1>|<值2>* -> pool=<资源池代码> system=<系统代码> level=<级别>；"
            "或 -> endpoint=$instance 按监测端点；或 -> ignore 不理会。代码可写作 $<标签>"
        )),
    )  # fmt: skip
    effective_from = DateField(lazy(N_("生效日")), [InputRequired(lazy(N_("请填写生效日")))],
                               description=lazy(N_("自这一天起开始的告警按它对照")))  # fmt: skip
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=2000)])


class MappingSignForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(lazy(N_("签署意见")), [InputRequired(lazy(N_("请写明签署意见"))), Length(max=2000)])


@blueprint.get("/")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    return render_template(
        "alert_mappings/index.html",
        rows=mappings.every(tx),
        held=mappings.in_force(tx, tx.now.astimezone(ZONE).date()),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(MappingDraftForm)
def draft() -> str | Response | tuple[str, int]:
    """The next version, from the newest one."""
    tx = reading()
    newest = mappings.newest(tx)
    lines = "\n".join(map(str, newest.read())) + "\n" if newest is not None else EXAMPLE
    form = MappingDraftForm(lines=lines, effective_from=tx.now.astimezone(ZONE).date())

    def act() -> Response:
        with transaction() as write:
            row = mappings.draft(
                write, form.lines.data, effective_from=form.effective_from.data, reason=form.reason.data
            )
        return done(_("草案已保存，等另一人签署"), "alert_mappings.show", mapping_id=row.id)

    return answer(form, act, lambda: render_template("alert_mappings/draft.html", form=form), Refused)


@blueprint.get("/<int:mapping_id>")
@allow(*STEWARDS)
def show(mapping_id: int) -> str:
    row = mappings.mapping(reading(), mapping_id)
    return render_template("alert_mappings/show.html", row=row, lines=list(map(str, row.read())))


@blueprint.post("/<int:mapping_id>/withdraw")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes()
def withdraw(mapping_id: int) -> Response:
    with transaction() as tx:
        mappings.withdraw(tx, mapping_id)
    flash(_("草案已撤回"), "success")
    return redirect(url_for("alert_mappings.show", mapping_id=mapping_id))


@blueprint.route("/<int:mapping_id>/sign", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(MappingSignForm)
def sign(mapping_id: int) -> str | Response | tuple[str, int]:
    """The second signature; alerts that go on and that no line spoke of are asked about at once."""
    row = mappings.mapping(reading(), mapping_id)
    form = MappingSignForm()

    def act() -> Response:
        with transaction() as write:
            placed = receiving.again(write, mappings.sign(write, mapping_id, reason=form.reason.data))
        return done(
            _("告警对照已签署，%(count)s 条等候的告警已对上", count=placed),
            "alert_mappings.show",
            mapping_id=mapping_id,
        )

    def page() -> str:
        own = row.drafted_by == actor().login
        return render_template(
            "alert_mappings/sign.html", form=form, own=own, row=row, lines=list(map(str, row.read()))
        )

    return answer(form, act, page, Refused)


@frame.home_block(Role.AUTHORITY, order=47)
def _to_sign(tx: Tx, who: Actor) -> str | None:
    """Drafts of others that wait for a signature."""
    rows = [one for one in mappings.every(tx) if one.state == "drafted" and one.drafted_by != who.login]
    return render_template("alert_mappings/_home.html", rows=rows) if rows else None
