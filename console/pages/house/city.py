"""The city's own pages: what it is called, from which amount on a takeover wants two persons, and the checklist of its founding (筹建), which greets those whose steps it has."""

from __future__ import annotations

from datetime import date

from flask import Blueprint, render_template, request
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import IntegerField, StringField
from wtforms.validators import InputRequired, Length, Optional

from console import frame
from console.access import allow, may
from console.book import lake, reading, settings, transaction
from console.forms import answer, done
from console.founding import Look, checklist
from console.programs import Given, takes
from console.words import _, lazy
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import city
from quota.errors import N_, NotFound, stated
from quota.inventory import takeovers

blueprint = Blueprint("city", __name__, url_prefix="/city")
frame.page("settings", "city.checklist_page", N_("筹建"), order=2)
frame.page("settings", "city.edit", N_("城市"), order=3)
frame.page("settings", "city.takeover_limits", N_("接管门槛"), order=4)

KEEPERS = (Role.SYSADMIN, Role.AUTHORITY)
GREETED = (Role.SYSADMIN, Role.SECADMIN, Role.AUTHORITY, Role.SUPERVISOR)
SHOWN = 5
LONGEST = city.LONGEST


class CityForm(FlaskForm):  # type: ignore[misc]
    city = StringField(
        lazy(N_("城市名称")),
        [InputRequired(lazy(N_("请填写城市名称"))), Length(max=LONGEST)],
        description=lazy(N_("页面和文书里的写法")),
    )
    lead_body = StringField(
        lazy(N_("主管部门名称")), [InputRequired(lazy(N_("请填写主管部门名称"))), Length(max=LONGEST)]
    )


class TakeoverLimitsForm(FlaskForm):  # type: ignore[misc]
    resources = IntegerField(lazy(N_("资源数")), [Optional()])
    vcpu = IntegerField(lazy("vCPU"), [Optional()])
    memory_gb = IntegerField(lazy(N_("内存")), [Optional()])
    storage_gb = IntegerField(lazy(N_("存储")), [Optional()])


UNITS = {"resources": N_("个"), "vcpu": "vCPU", "memory_gb": "GB", "storage_gb": "GB"}


@blueprint.route("/takeovers", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(TakeoverLimitsForm)
def takeover_limits() -> str | Response | tuple[str, int]:
    """From which amount on taking over wants a second person; an empty field sets no limit by that."""
    held = takeovers.city_threshold(reading())
    form = TakeoverLimitsForm(data={name: getattr(held, name) for name in city.TAKEOVER_LIMITS})

    def act() -> Response:
        with transaction() as tx:
            city.limit_takeovers(tx, {name: form[name].data for name in city.TAKEOVER_LIMITS})
        return done(_("已保存"), "city.takeover_limits")

    return answer(form, act, lambda: render_template("city/takeover_limits.html", form=form, units=UNITS))


@blueprint.route("/name", methods=["GET", "POST"])
@allow(*KEEPERS)
@takes(CityForm)
def edit() -> str | Response | tuple[str, int]:
    """What the city and its lead body are called; what is said here holds before what the settings say."""
    said = city.told(reading())
    form = CityForm(data={name: said.get(name) or getattr(settings(), name) for name in city.NAMES})

    def act() -> Response:
        with transaction() as tx:
            city.say(tx, {name: form[name].data for name in city.NAMES})
        return done(_("已保存"), "city.checklist_page")

    return answer(form, act, lambda: render_template("city/edit.html", form=form))


@blueprint.get("/founding")
@allow(*GREETED)
def checklist_page() -> str:
    """Every step of the founding: what it needs, whose it is, how it stands, and the page that does it."""
    entries = checklist.entries(_look(reading()))
    return render_template(
        "city/checklist.html",
        entries=entries,
        settled=sum(one.settled for one in entries),
        may=may,
    )


@blueprint.post("/founding/<name>/without")
@allow(*KEEPERS)
@takes(None, Given("reason", label=N_("理由"), required=True))
def without(name: str) -> Response:
    """The city does without an optional step, and says why."""
    one = checklist.named(name)
    if one is None or not one.optional:
        raise NotFound("page.none", N_("没有这个页面"))
    reason = stated(request.form.get("reason", "")[:500])
    with transaction() as tx:
        city.do_without(tx, name, reason)
    return done(_("已记下：不办理“%(step)s”", step=_(one.label)), "city.checklist_page")


def _look(tx: Tx) -> Look:
    def sampled() -> set[date]:
        return {*lake().days(), *lake().hot_days()}

    return Look(tx, settings(), tx.now.astimezone(settings().zone).date(), sampled, city.told(tx))


@frame.home_block(*GREETED, order=1)
def _greeting(tx: Tx, actor: Actor) -> str | None:
    """What the house still needs, those first that are this person's; nothing in a demo, nor once all is done."""
    if settings().demo:
        return None
    found = checklist.open_steps(_look(tx), SHOWN)
    if not found:
        return None
    found.sort(key=lambda one: actor.role not in one.step.roles)
    return render_template("city/_greeting.html", entries=found, actor=actor)


@checklist.step("city", N_("城市与主管部门名称"), N_("页面和文书上的城市名称、主管部门名称。"), *KEEPERS,
                endpoint="city.edit", order=10)  # fmt: skip
def _named(look: Look) -> bool:
    plain = type(look.settings)()
    return "city" in look.said or look.settings.city != plain.city
