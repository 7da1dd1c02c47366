"""Exemptions: what nothing is taken from until a day, why, and who approved it."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response
from wtforms import TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame, links
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.forms import DateField, answer, done
from console.lists import Column, Filter, Rows, listing, marks_of
from console.pages.cases.case_acts import TermsForm
from console.pages.cases.evidence import conduct
from console.programs import Given, listed, takes
from console.words import _, identified, lazy, who
from metering import cases
from metering.cases import CATEGORY_LABELS, Exemption, exemptions, protections
from quota import inventory
from quota.actors import Role
from quota.calendar import ZONE
from quota.directory import Department
from quota.errors import N_, Invalid
from quota.inventory import Resource

blueprint = Blueprint("exemptions", __name__, url_prefix="/exemptions")
frame.page("cases", "exemptions.index", N_("豁免"), order=50)

CATEGORIES = {one.value: label for one, label in CATEGORY_LABELS.items()}
HOLDING = "holding"


def standing(exemption: Exemption) -> str:
    """The state of an exemption as one word."""
    if exemption.revoked_at is not None:
        return "case_revoked"
    today = reading().now.astimezone(ZONE).date()
    return "case_holding" if exemption.starts_on <= today <= exemption.ends_on else "case_over"


def _state_is(query: Rows, value: str) -> Rows:
    today = reading().now.astimezone(ZONE).date()
    holds = Exemption.revoked_at.is_(None) & (Exemption.ends_on >= today)
    if value == HOLDING:
        return query.where(holds)
    if value == "ending":
        return query.where(holds, Exemption.ends_on <= today + timedelta(days=14))
    return query.where(or_(Exemption.revoked_at.is_not(None), Exemption.ends_on < today))


COLUMNS = [
    Column("resource", N_("资源"), lambda e: identified(e.resource), title=True,
           href=lambda e: url_for("resources.show", resource_id=e.resource_id)),
    *marks_of(lambda e: e.resource),
    Column("department", N_("使用单位"), lambda e: e.resource.department.name if e.resource.department else None, href=links.department(lambda e: e.resource.department_id)),
    Column("category", N_("类别"), lambda e: _(CATEGORIES[e.category]), code=lambda e: e.category, sort=Exemption.category),
    Column("state", N_("状态"), standing, state=True),
    Column("starts_on", N_("起"), lambda e: e.starts_on, sort=Exemption.starts_on),
    Column("ends_on", N_("止"), lambda e: e.ends_on, sort=Exemption.ends_on),
    Column("reason", N_("理由"), lambda e: e.reason),
    Column("last_peak", N_("上一年的峰值"), lambda e: e.last_peak, minor=True),
    Column("asked_by", N_("申请人"), lambda e: e.asked_by, text=who, minor=True),
    Column("approved_by", N_("批准人"), lambda e: e.approved_by, text=who),
    Column("case", N_("案件"), lambda e: e.case.number if e.case else None, minor=True,
           href=lambda e: url_for("cases.show", case_id=e.case_id) if e.case_id else None),
]  # fmt: skip
FILTERS = [
    Filter(
        "state",
        N_("状态"),
        _state_is,
        options={HOLDING: N_("生效中"), "ending": N_("14天内到期"), "over": N_("已结束")},
        default=HOLDING,
    ),
    Filter("category", N_("类别"), lambda q, v: q.where(Exemption.category == v), options=CATEGORIES),
    Filter(
        "department",
        N_("使用单位"),
        lambda q, v: q.where(Resource.department.has(frame.matching(v, Department.name))),
    ),
]


class ExemptForm(TermsForm):
    until = DateField(lazy("豁免到"), [InputRequired(lazy("请填写豁免到哪一天"))], description=lazy("最长180天"))
    reason = TextAreaField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=2000)])


@blueprint.get("/")
@allow(*STEWARDS, Role.TENANT)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    query = (
        select(Exemption)
        .join(Resource, Resource.id == Exemption.resource_id)
        .where(inventory.visible(tx, actor()))
        .options(joinedload(Exemption.resource).joinedload(Resource.department), selectinload(Exemption.case))
    )
    found = listing(tx, query, COLUMNS, key=Exemption.id, filters=FILTERS, sort="ends_on")
    return found.exported("exemptions") or render_template("exemptions/index.html", exemptions=found)


@blueprint.route("/new/<int:resource_id>", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(ExemptForm, sends={"generation": "0"})
def grant(resource_id: int) -> str | Response | tuple[str, int]:
    """Exempt a resource on the steward's own initiative."""
    tx = reading()
    inventory.resource(tx, resource_id)
    form = ExemptForm(data={"generation": "0"})
    form.offer()

    def act() -> Response:
        terms = form.terms()
        if terms["category"] is None:
            raise Invalid("reply.category", N_("请选择豁免的类别"), field="category")
        with transaction() as writing:
            cases.exempt(
                writing,
                inventory.resource(writing, resource_id),
                terms["category"],
                form.reason.data,
                terms["until"],
                last_peak=terms["last_peak"],
            )
        return done(_("已准予豁免,到 %(day)s", day=terms["until"]), "resources.show", resource_id=resource_id)

    def page() -> str:
        _version, rules = conduct(tx)
        return render_template(
            "exemptions/grant.html",
            resource=inventory.resource(tx, resource_id),
            form=form,
            open_case=cases.open_case(tx, resource_id),
            latest=tx.now.astimezone(ZONE).date() + timedelta(days=rules.exemption_days),
        )

    return answer(form, act, page)


@blueprint.post("/<int:exemption_id>/revoke")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, Given("reason", label=N_("理由"), required=True))
def revoke(exemption_id: int) -> Response:
    with transaction() as tx:
        exemptions.revoke(tx, exemptions.exemption(tx, exemption_id), request.form.get("reason", ""))
    flash(_("豁免已提前终止"), "success")
    return redirect(url_for("exemptions.index"))


@blueprint.post("/protect/<int:resource_id>")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(None, Given("on", bool, label=N_("受保护")), Given("reason", label=N_("理由")))
def protect(resource_id: int) -> Response:
    """Protect one resource by hand, or no longer."""
    on = request.form.get("on") == "1"
    with transaction() as tx:
        protections.protect(tx, inventory.resource(tx, resource_id), on, request.form.get("reason", ""))
    flash(_("资源已受保护,不再被回收或缩容") if on else _("资源不再受保护"), "success")
    return redirect(url_for("resources.show", resource_id=resource_id))
