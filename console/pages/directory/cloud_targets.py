"""上云率目标: a year's shares of systems on the cloud, drafted and signed by two of the authority; told beside what is."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import IntegerField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange

from console.access import STEWARDS, allow, proven
from console.book import actor, reading, settings, transaction
from console.forms import answer, done, given_up, signed, signing
from console.lists import Column, listing
from console.programs import listed, takes, unfit
from console.words import _, lazy
from quota.actors import Role
from quota.directory import CloudTarget, cloud_targets
from quota.errors import N_, Invalid

blueprint = Blueprint("cloud_targets", __name__, url_prefix="/outside/targets")

COLUMNS = [
    Column("number", N_("编号"), lambda one: f"MB-{one.id:06d}", title=True, sort=CloudTarget.id,
           href=lambda one: url_for("cloud_targets.show", target_id=one.id)),
    Column("year", N_("年度"), lambda one: str(one.year), sort=CloudTarget.year),
    Column("state", N_("状态"), lambda one: f"draft_{one.standing}", state=True),
    Column("city", N_("全市目标"), lambda one: percent(one.share())),
    Column("enacted_at", N_("施行"), lambda one: one.enacted_at, sort=CloudTarget.enacted_at),
]  # fmt: skip


class TargetForm(FlaskForm):  # type: ignore[misc]
    year = IntegerField(lazy(N_("年度")), [InputRequired(lazy(N_("请填写年度"))), NumberRange(2000, 2999)])
    shares = TextAreaField(
        lazy(N_("目标")), [InputRequired(lazy(N_("请至少填写一项目标"))), Length(max=100_000)],
        description=lazy(N_("每行一项：单位编码 | 百分比，全市写“全市 | 95”；可以从表格中粘贴")),
    )  # fmt: skip
    reason = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])


def percent(share: int | None) -> str | None:
    """Thousandths as people read them: 95%, 85.7%."""
    return None if share is None else f"{share / 10:g}%"


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS)
def index() -> str | Response:
    query = select(CloudTarget).where(cloud_targets.visible(actor()))
    found = listing(reading(), query, COLUMNS, key=CloudTarget.id, sort="-number")
    return found.exported("cloud-targets") or render_template("cloud_targets/index.html", found=found)


@blueprint.get("/<int:target_id>")
@allow(*STEWARDS, Role.TENANT)
def show(target_id: int) -> str:
    tx = reading()
    one = cloud_targets.cloud_target(tx, target_id)
    return render_template(
        "cloud_targets/show.html", one=one,
        rows=[[whose.name if whose else _("全市"), percent(share)] for whose, share in cloud_targets.told(tx, one)],
        signing=signing(one, "cloud_targets.sign", "cloud_targets.withdraw", target_id=one.id),
    )  # fmt: skip


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@unfit("who drafts signs, in person")
def draft() -> str | Response | tuple[str, int]:
    """Draft a year's targets; who drafts has signed."""
    form = TargetForm(year=reading().now.astimezone(settings().zone).year)

    def act() -> Response:
        with transaction() as tx:
            shares = cloud_targets.shares_of(tx, form.shares.data or "")
            made = cloud_targets.draft(tx, form.year.data, shares, form.reason.data or "").id
        return done(_("已起草并由您签署，另一人签署后施行"), "cloud_targets.show", target_id=made)

    return answer(form, act, lambda: render_template("cloud_targets/draft.html", form=form), Invalid)


@blueprint.post("/<int:target_id>/sign")
@allow(Role.AUTHORITY)
@proven
@unfit("two people sign in person, each having looked at the page")
def sign(target_id: int) -> Response:
    """The second signature enacts."""
    return signed(
        lambda tx: cloud_targets.sign(tx, target_id), _("已签署，目标已施行"), "cloud_targets.show", target_id=target_id
    )


@blueprint.post("/<int:target_id>/withdraw")
@allow(Role.AUTHORITY)
@takes(None)
def withdraw(target_id: int) -> Response:
    """Give a draft up."""
    return given_up(lambda tx: cloud_targets.withdraw(tx, target_id), "cloud_targets.show", target_id=target_id)
