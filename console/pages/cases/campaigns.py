"""Clean-up campaigns (清理行动): begun for a scope with a day for answers, and what came of them by owner and by resource."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from flask import Blueprint, g, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import choices, frame
from console.access import STEWARDS, allow
from console.book import actor, reading, transaction
from console.choices import ChoicesField
from console.forms import DateField, answer, done, sent_back
from console.lists import Column, Filter, listing
from console.pages.inventory import inquiries as inquiry_pages
from console.pages.inventory import inquiry_forms
from console.programs import GENERATION, Given, listed, takes
from console.security import row_or
from console.words import KINDS, _, amounts, lazy, who
from metering.campaigns import CLEANUP, Campaign, CampaignReach, CampaignScope, CampaignState, Tally, campaigns
from metering.judging import Finding
from quota.actors import Role
from quota.calendar import ZONE
from quota.directory import Department, Pool
from quota.errors import N_, Invalid, NotFound, Refused
from quota.inventory import Inquiry, InquiryItem

blueprint = Blueprint("campaigns", __name__, url_prefix="/campaigns")
frame.page("cases", "campaigns.index", N_("清理行动"), order=45)

LEADERS = (Role.SUPERVISOR, Role.AUTHORITY)
MOST_OWNERS = 30
"""Owners that are named before a campaign is begun; the rest is counted."""


def standing(campaign: Campaign) -> str:
    """The state of a campaign as one word."""
    over = campaign.state == CampaignState.OPEN and campaign.due_on < reading().now.astimezone(ZONE).date()
    return "campaign_late" if over else f"campaign_{campaign.state}"


COLUMNS = [
    Column("name", N_("名称"), lambda c: c.name, title=True, href=lambda c: url_for("campaigns.show", campaign_id=c.id)),
    Column("state", N_("状态"), standing, state=True),
    Column("due", N_("答复期限"), lambda c: c.due_on),
    Column("letters", N_("单位数"), lambda c: c.letters, number=True),
    Column("resources", N_("资源数"), lambda c: c.resources, number=True),
    Column("started_by", N_("发起人"), lambda c: c.started_by, text=who),
    Column("started_at", N_("发起时间"), lambda c: c.started_at, sort=Campaign.id),
]  # fmt: skip


def _of(letter: Inquiry) -> Tally:
    found: Tally = g.tallies.get(letter.id, Tally())
    return found


OWNERS = [
    Column("department", N_("使用单位"), lambda i: i.department.name, title=True,
           href=lambda i: url_for("inquiries.show", inquiry_id=i.id)),
    Column("state", N_("状态"), inquiry_pages.standing, state=True),
    Column("asked", N_("已问"), lambda i: _of(i).asked, number=True),
    Column("kept", N_("保留"), lambda i: _of(i).kept, number=True),
    Column("given_back", N_("退还"), lambda i: _of(i).given_back, number=True),
    Column("returned", N_("已收回"), lambda i: _of(i).returned, number=True),
    Column("fell_through", N_("退还未成"), lambda i: _of(i).fell_through, number=True, minor=True),
    Column("unanswered", N_("未答复"), lambda i: _of(i).unanswered, number=True),
    Column("settled", N_("已另行办理"), lambda i: _of(i).settled, number=True, minor=True),
    Column("freed", N_("释放"), lambda i: amounts(_of(i).freed) or None),
]  # fmt: skip
ITEMS = [
    Column("department", N_("使用单位"), lambda r: inquiry_pages.item_of(r).inquiry.department.name),
    *(one for one in inquiry_pages.ITEMS if one.key not in ("address", "tags")),
    *inquiry_pages.USE,
    *inquiry_pages.SAID,
    Column("category", N_("豁免类别"), lambda r: _category(inquiry_pages.item_of(r)), minor=True),
    Column(
        "outcome", N_("办理"), lambda r: _("已准予豁免") if r.outcome.startswith("exemption:") else None, minor=True
    ),
]


def _category(item: InquiryItem) -> str | None:
    labels = {code: label for one in CLEANUP.answers for code, label in one.categories.items()}
    return _(labels[item.category]) if item.category else None


class CampaignForm(FlaskForm):  # type: ignore[misc]
    name = StringField(lazy("名称"), [InputRequired(lazy("请填写清理行动的名称")), Length(max=campaigns.LONGEST_NAME)])
    departments = ChoicesField(lazy("使用单位"), description=lazy("含下属单位；不选为全部"))
    pools = SelectMultipleField(lazy("资源池"), coerce=int, choices=[], description=lazy("不选为全部"))
    services = SelectMultipleField(lazy("资源类别"), [InputRequired(lazy("请选择资源类别"))], choices=[])
    due_on = DateField(lazy("答复期限"), [InputRequired(lazy("请填写答复期限"))])
    text = TextAreaField(lazy("附言"), [Length(max=2000)])
    key = HiddenField()

    def scope(self) -> CampaignScope:
        """What was chosen."""
        return CampaignScope(
            tuple(self.departments.data or ()), tuple(self.pools.data or ()), tuple(self.services.data or ())
        )


@blueprint.get("/")
@allow(*STEWARDS)
@listed(COLUMNS)
def index() -> str | Response:
    found = listing(reading(), select(Campaign), COLUMNS, key=Campaign.id, sort="-started_at")
    return found.exported("campaigns") or render_template("campaigns/index.html", campaigns=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*LEADERS)
@takes(CampaignForm, sends={"step": "start"})
def start() -> str | Response | tuple[str, int]:
    """Choose a scope and a day; who would be asked about how much is told before it is begun."""
    tx = reading()
    form = CampaignForm(
        data={"key": uuid4().hex, "services": list(campaigns.MACHINES), "due_on": inquiry_forms.usual_due(tx)}
    )
    pools = tx.execute(select(Pool.id, Pool.name).order_by(Pool.name)).all()
    form.departments.offer(tx, choices.departments())
    form.pools.choices = [SelectChoice(str(number), name) for number, name in pools]
    form.services.choices = [SelectChoice(code, _(label)) for code, label in KINDS.items()]

    def page() -> str:
        scope = form.scope()
        told = campaigns.counted(tx, scope, MOST_OWNERS) if scope.services else CampaignReach()
        return render_template("campaigns/start.html", form=form, told=told)

    def act() -> str | Response:
        if request.form.get("step") != "start":
            return page()
        with transaction() as writing:
            made = campaigns.start(
                writing, form.name.data, form.scope(), form.due_on.data, form.text.data or "",
                key=f"form:{(form.key.data or '')[:64]}",
            )  # fmt: skip
        return done(_("已向 %(n)s 个单位发出征询", n=made.letters), "campaigns.show", campaign_id=made.id)

    return answer(form, act, page, Refused)


@blueprint.get("/<int:campaign_id>")
@allow(*STEWARDS)
@listed(OWNERS, at="departments")
def show(campaign_id: int) -> str | Response:
    """What came of it so far: in all, and owner by owner."""
    tx = reading()
    one = campaigns.campaign(tx, campaign_id)
    query = select(Inquiry).where(Inquiry.origin == one.subject).options(joinedload(Inquiry.department))
    found = listing(tx, query, OWNERS, key=Inquiry.id)
    which: Any = [each.id for each in found.rows]
    if request.args.get("export"):
        which = select(Inquiry.id).where(Inquiry.origin == one.subject)
    g.tallies = campaigns.tallies(tx, one, which, by_letter=True)
    return found.exported(f"campaign-{one.id}") or render_template(
        "campaigns/show.html",
        one=one,
        state=standing(one),
        tally=campaigns.tally(tx, one),
        owners=found,
        services=[KINDS[code] for code in one.scope["services"]],
        departments=_names(Department, one.scope["departments"]),
        pools=_names(Pool, one.scope["pools"]),
        may_close=one.state == CampaignState.OPEN and actor().role in LEADERS,
    )


def _names(model: type[Department] | type[Pool], ids: list[int]) -> str:
    names = reading().scalars(select(model.name).where(model.id.in_(ids)).order_by(model.name)).all() if ids else []
    return _("、").join(names) or _("全部")


@blueprint.get("/<int:campaign_id>/items")
@allow(*STEWARDS)
@listed(
    ITEMS,
    args=("answer", "verdict", "plea"),
)
def items(campaign_id: int) -> str | Response:
    """Every resource that was asked about, with what was said of it; what is to be kept under a category may be exempted."""
    tx = reading()
    one = campaigns.campaign(tx, campaign_id)
    query = (
        inquiry_pages.items(tx)
        .join(Inquiry, Inquiry.id == InquiryItem.inquiry_id)
        .where(Inquiry.origin == one.subject)
        .options(joinedload(InquiryItem.inquiry).joinedload(Inquiry.department))
        .order_by(Inquiry.id)
    )
    filters = [
        Filter("answer", N_("答复"), lambda q, v: q.where(InquiryItem.answer == ("" if v == "none" else v)),
               options={"none": N_("未答复"), **CLEANUP.labels()}),
        Filter("verdict", N_("结论"), lambda q, v: q.where(Finding.verdict == v), options=inquiry_pages.VERDICTS),
        Filter("plea", N_("申请豁免"), lambda q, _v: q.where(InquiryItem.category != "", InquiryItem.outcome == ""),
               options={"open": N_("待准予")}),
    ]  # fmt: skip
    found = listing(tx, query, ITEMS, key=InquiryItem.id, filters=filters)
    return found.exported(f"campaign-{one.id}-items") or render_template(
        "campaigns/items.html", one=one, rows=found, may_exempt=actor().role in LEADERS
    )


@blueprint.post("/<int:campaign_id>/exempt")
@allow(*LEADERS)
@takes(None, Given("id", int, label=N_("条目"), required=True, many=True))
def exempt(campaign_id: int) -> Response:
    """Exempt what is ticked, on the grounds and until the day that its department gave."""
    ticked = [number for text in request.form.getlist("id") if (number := row_or(text, 0))]
    try:
        with transaction() as tx:
            granted = campaigns.exempt(tx, campaign_id, ticked)
    except (Invalid, NotFound) as refused:
        return sent_back(refused, "campaigns.items", campaign_id=campaign_id, plea="open")
    return done(_("已准予 %(n)s 项豁免", n=len(granted)), "campaigns.items", campaign_id=campaign_id)


@blueprint.post("/<int:campaign_id>/close")
@allow(*LEADERS)
@takes(None, GENERATION)
def close(campaign_id: int) -> Response:
    with transaction() as tx:
        campaigns.close(tx, campaign_id, row_or(request.form.get("generation"), 0))
    return done(_("清理行动已结束"), "campaigns.show", campaign_id=campaign_id)
