"""满意度调查: questionnaires that the authority drafts and another signs, what departments answer, what came of it for each company."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import FieldList, FormField, HiddenField, IntegerField, RadioField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange

from console import frame, links
from console.access import BUSINESS, allow, proven
from console.book import actor, reading, settings, transaction
from console.forms import DateField, InnerForm, act_on, answer, done, generation, given_up, signed, signing
from console.lists import Column, Filter, listing
from console.programs import listed, takes, unfit
from console.words import _, language, lazy
from providers.assessment import Survey, SurveyAnswer, SurveyResult, surveys
from quota.actors import Actor, Role
from quota.db import Tx
from quota.errors import N_, Invalid

blueprint = Blueprint("surveys", __name__, url_prefix="/surveys")
frame.page("providers", "surveys.index", N_("满意度调查"), order=51)

SHOWN = 5
COLUMNS = [
    Column("name", N_("名称"), lambda one: one.name, title=True, href=lambda one: url_for("surveys.show", survey_id=one.id)),
    Column("state", N_("状态"), lambda one: f"survey_{one.state}", state=True),
    Column("starts_on", N_("开始日"), lambda one: one.starts_on, sort=Survey.starts_on, text=str),
    Column("ends_on", N_("截止日"), lambda one: one.ends_on, sort=Survey.ends_on, text=str),
    Column("items", N_("题数"), lambda one: len(one.items), number=True),
]  # fmt: skip
ANSWERS = [
    Column("number", N_("答卷"), lambda one: f"DJ-{one.id:06d}", title=True,
           href=lambda one: url_for("surveys.give", answer_id=one.id) if _may_answer(one) else None),
    Column("department", N_("使用单位"), lambda one: one.department.name, href=links.department(lambda one: one.department_id)),
    Column("provider", N_("云服务商"), lambda one: one.provider.name, href=links.provider(lambda one: one.provider_id)),
    Column("at", N_("答复时间"), lambda one: one.at, sort=SurveyAnswer.at),
    Column("scores", N_("各题得分"), lambda one: _("、").join(map(str, one.scores)) if one.scores else None),
    Column("word", N_("意见"), lambda one: one.word or None),
]  # fmt: skip
FILTERS = [
    Filter("answered", N_("答复"), lambda q, v: q.where(SurveyAnswer.at.is_not(None) if v == "yes" else SurveyAnswer.at.is_(None)),
           options={"yes": N_("已答复"), "no": N_("未答复")}),
]  # fmt: skip


class SurveyForm(FlaskForm):  # type: ignore[misc]
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请填写名称"))), Length(max=128)])
    items = TextAreaField(
        lazy(N_("题目")), [InputRequired(lazy(N_("请填写题目"))), Length(max=30_000)],
        description=lazy(N_("每行一道：题目 | 权重 | 英文题目；可以从表格中粘贴")),
    )  # fmt: skip
    scale = IntegerField(
        lazy(N_("分值级数")),
        [InputRequired(lazy(N_("请填写分值级数"))), NumberRange(surveys.SCALES[0], surveys.SCALES[-1])],
    )
    starts_on = DateField(lazy(N_("开始日")), [InputRequired(lazy(N_("请填写开始日")))])
    ends_on = DateField(lazy(N_("截止日")), [InputRequired(lazy(N_("请填写截止日")))])
    reason = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])


class ItemScoreForm(InnerForm):
    score = RadioField(choices=[], coerce=int, validators=[InputRequired(lazy(N_("请评分")))])


class SurveyAnswerForm(FlaskForm):  # type: ignore[misc]
    generation = HiddenField()
    scores = FieldList(FormField(ItemScoreForm), max_entries=surveys.MOST_ITEMS)
    word = TextAreaField(lazy(N_("意见")), [Length(max=2000)])


def item_text(item: surveys.SurveyItem) -> str:
    """The question in the reader's language."""
    return item.text_en if language() == "en" and item.text_en else item.text


def _may_answer(one: SurveyAnswer) -> bool:
    return actor().role is Role.TENANT and one.survey.state == "open"


@blueprint.get("/")
@allow(*BUSINESS)
@listed(COLUMNS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, select(Survey).where(surveys.visible(actor())), COLUMNS, key=Survey.id, sort="-starts_on")
    return found.exported("surveys") or render_template("surveys/index.html", found=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@unfit("who drafts signs, in person")
def draft() -> str | Response | tuple[str, int]:
    """Draft a questionnaire; who drafts has signed."""
    today = reading().now.astimezone(settings().zone).date()
    form = SurveyForm(scale=5, starts_on=today + timedelta(days=1), ends_on=today + timedelta(days=14))

    def act() -> Response:
        with transaction() as tx:
            made = surveys.draft(
                tx, form.name.data or "", surveys.items_of(form.items.data or ""), form.scale.data,
                starts_on=form.starts_on.data, ends_on=form.ends_on.data, reason=form.reason.data or "",
            ).id  # fmt: skip
        return done(_("已起草并由您签署，另一人签署后自开始日起调查"), "surveys.show", survey_id=made)

    return answer(form, act, lambda: render_template("surveys/draft.html", form=form), Invalid)


@blueprint.get("/<int:survey_id>")
@allow(*BUSINESS)
@listed(ANSWERS, FILTERS, at="answers")
def show(survey_id: int) -> str | Response:
    """The questionnaire, who answered as far as the visitor may see, and what came of it."""
    tx = reading()
    one, who = surveys.survey(tx, survey_id), actor()
    query = (
        select(SurveyAnswer)
        .where(SurveyAnswer.survey_id == one.id, surveys.answers_seen(tx, who))
        .options(
            joinedload(SurveyAnswer.department), joinedload(SurveyAnswer.provider), joinedload(SurveyAnswer.survey)
        )
    )
    found = listing(tx, query, ANSWERS, key=SurveyAnswer.id, filters=FILTERS, sort="-at")
    return found.exported("survey-answers") or render_template(
        "surveys/show.html", one=one, found=None if who.role is Role.PROVIDER else found,
        items=[[item_text(item), str(item.weight)] for item in one.asks], results=[_told(it) for it in surveys.results(tx, one)],
        signing=signing(one, "surveys.sign", "surveys.withdraw", survey_id=one.id),
    )  # fmt: skip


def _told(result: SurveyResult) -> list[str]:
    """A company's row: how many were asked and answered, its stars, the mean of each item."""
    means = _("、").join(f"{mean:.2f}" for mean in result.means) or "—"
    stars = "—" if result.stars is None else f"{result.stars:.2f}"
    return [result.provider.name, str(result.asked), str(result.answered), stars, means]


@blueprint.post("/<int:survey_id>/sign")
@allow(Role.AUTHORITY)
@proven
@unfit("two people sign in person, each having looked at the page")
def sign(survey_id: int) -> Response:
    """The second signature enacts."""
    return signed(
        lambda tx: surveys.sign(tx, survey_id), _("已签署，自开始日起调查"), "surveys.show", survey_id=survey_id
    )


@blueprint.post("/<int:survey_id>/withdraw")
@allow(Role.AUTHORITY)
@takes(None)
def withdraw(survey_id: int) -> Response:
    """Give a draft up."""
    return given_up(lambda tx: surveys.withdraw(tx, survey_id), "surveys.show", survey_id=survey_id)


@blueprint.route("/answers/<int:answer_id>", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(SurveyAnswerForm)
def give(answer_id: int) -> str | Response | tuple[str, int]:
    """Answer, or answer otherwise while the survey is open."""
    one = surveys.asked_of(reading(), answer_id)
    items, before = one.survey.asks, one.scores or [None] * len(one.survey.items)
    form = SurveyAnswerForm(scores=[{"score": score} for score in before], word=one.word)
    for item, entry in zip(items, form.scores.entries, strict=False):
        entry.score.label.text = item_text(item)
    for entry in form.scores.entries:
        entry.score.choices = [SelectChoice(str(n), str(n)) for n in range(1, one.survey.scale + 1)]

    def act(tx: Tx) -> object:
        scores = [entry.score.data for entry in form.scores.entries]
        return surveys.give(tx, answer_id, scores, form.word.data or "", generation=generation(form))

    return act_on(
        form, one.generation, act, lambda: render_template("surveys/give.html", form=form, one=one),
        _("已答复，截止前可以修改"), "surveys.show", survey_id=one.survey_id,
    )  # fmt: skip


@frame.home_block(Role.TENANT, order=61)
def _to_answer(tx: Tx, who: Actor) -> str | None:
    """What one is asked and did not answer yet; nothing where there is none."""
    query = (
        select(SurveyAnswer)
        .join(Survey, Survey.id == SurveyAnswer.survey_id)
        .where(
            surveys.answers_seen(tx, who), SurveyAnswer.at.is_(None), Survey.closed_at.is_(None),
            Survey.ends_on >= tx.now.astimezone(settings().zone).date(),
        )
        .options(joinedload(SurveyAnswer.survey), joinedload(SurveyAnswer.provider), joinedload(SurveyAnswer.department))
        .order_by(Survey.ends_on, SurveyAnswer.id)
    )  # fmt: skip
    found, count = frame.shortened(tx, query, SHOWN)
    return render_template("surveys/_home.html", found=found, count=count) if found else None
