"""批量签批: requests of one kind that wait at one step, signed in one act; what is not ticked stays in the queue."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import RadioField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import frame
from console.access import allow
from console.book import actor, book, reading
from console.forms import hang, refuse_unfilled
from console.pages.requests.requests import KINDS, what
from console.programs import Given, asked, takes
from console.security import row
from console.words import _, lazy, sentence
from console.words import rules as rule_words
from quota.actors import Role
from quota.errors import N_, NotFound, Refused
from quota.requests import DECISION_LABELS, STEP_LABELS, Decision, declared, rulebook, together

blueprint = Blueprint("together", __name__, url_prefix="/decisions/together")
frame.under("decisions.index", "together")

SIGNERS = (Role.SUPERVISOR, Role.AUTHORITY)


class TogetherForm(FlaskForm):  # type: ignore[misc]
    """What is decided of all that is ticked; ``request``: id:generation, as the page showed each."""

    decision = RadioField(
        lazy(N_("决定")),
        [InputRequired(lazy(N_("请选择一个决定")))],
        choices=[SelectChoice(one.value, lazy(DECISION_LABELS[one])) for one in together.DECISIONS],
    )
    reason = TextAreaField(
        lazy(N_("意见")), [Length(max=2000)], description=lazy(N_("写入每份申请的记录；驳回必须写明"))
    )


@blueprint.route("/<kind>/<step>", methods=["GET", "POST"])
@allow(*SIGNERS)
@takes(
    TogetherForm,
    Given("request", label=N_("申请:版本,如 12:3"), required=True, many=True),
    args=(Given("pool", int), Given("item", int)),
)
def sign(kind: str, step: str) -> str | Response | tuple[str, int]:
    """Requests that are alike: looked through, exceptions taken out, signed in one act; then what became of each."""
    group = together.AlikeKey(kind, step, *_alike())
    if not _known(group):
        raise NotFound("batch.group", N_("没有这样一组申请"))
    form = TogetherForm()
    shown = ticked() if request.method == "POST" else None
    if request.method == "POST":
        refuse_unfilled(form, form.validate())
    if request.method == "POST" and form.validate_on_submit():
        try:
            done = together.sign_all(
                book(), actor(), group, shown or {}, Decision(form.decision.data), form.reason.data or ""
            )
        except Refused as refused:
            hang(form, refused)
        else:
            if asked.by_program():
                return told(done, "decisions.index")
            return render_template(
                "together/done.html", kind=KINDS[kind], step=_called(group), done=done, labels=together.OUTCOME_LABELS,
                decision=DECISION_LABELS[Decision(form.decision.data)], good=together.SignedOutcome.DONE,
                why=lambda one: sentence(one.refused.message, one.refused.params) if one.refused else "",
            )  # fmt: skip
    rows = together.members(reading(), group)
    page = render_template(
        "together/group.html",
        kind=KINDS[kind],
        step=_called(group),
        form=form,
        rows=rows,
        what=what,
        ticked=shown,
    )
    return (page, 422) if form.errors else page


def _alike() -> tuple[int | None, int | None]:
    """Pool and item of the group, where the address names them."""
    pool, item = (request.args.get(name, None, row) for name in ("pool", "item"))
    return (pool, item) if pool and item else (None, None)


def _known(group: together.AlikeKey) -> bool:
    """Whether there can be such a group."""
    if group.kind not in KINDS or group.step not in _steps():
        return False
    kind = declared(group.kind)
    return kind.together if group.item_id is None else kind.lines is not None and kind.lines.items


def told(done: Sequence[together.Signed], then: str) -> Response:
    """What became of each, to a program, which goes on at ``then``: refused where nothing was done."""
    for one in done:
        good = one.outcome is together.SignedOutcome.DONE
        why = sentence(one.refused.message, one.refused.params) if one.refused else ""
        said = " ".join([one.number, _(together.OUTCOME_LABELS[one.outcome]), why]).strip()
        flash(said, "success" if good else "warning")
    return redirect(url_for(then))


def _steps() -> set[str]:
    """Names of the steps that a request may wait at: the house's own, and those of the rules ever enacted."""
    return {*STEP_LABELS, *(one["name"] for rule in rulebook.enacted(reading()) for one in rule.steps)}


def _called(group: together.AlikeKey) -> str:
    """What people call the step that a group waits at."""
    of = next((one for one in together.groups(reading()) if one.group == group), None)
    return of.label if of is not None and of.label else rule_words.step_name(group.step)


def ticked() -> dict[int, int]:
    """Request id → generation, of what the form ticks; what is none is passed over."""
    found = {}
    for each in request.form.getlist("request"):
        one, _colon, generation = each.partition(":")
        if one.isascii() and one.isdigit() and generation.isascii() and generation.isdigit() and len(each) < 20:
            found[int(one)] = int(generation)
    return found
