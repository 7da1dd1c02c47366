"""Drafts of approval rules: read from a file, looked at with what they would change, signed by two people of the authority."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, Response, flash, redirect, render_template, url_for
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from werkzeug.wrappers import Response as Answer
from wtforms import TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame
from console.access import BUSINESS, allow, proven
from console.book import actor, reading, transaction
from console.forms import answer, sent_back
from console.pages.requests.rules import today, tried
from console.programs import Given, takes, unfit
from console.words import _, lazy
from console.words import rules as rule_words
from quota.actors import Role
from quota.errors import N_, Conflict, Invalid, NotAllowed, WrongState
from quota.requests import Rule, RuleText, proposals, rulebook, rules

blueprint = Blueprint("rule_drafts", __name__, url_prefix="/rules")
frame.under("rules.index", "rule_drafts")

JSON = "application/json; charset=utf-8"


class ImportForm(FlaskForm):  # type: ignore[misc]
    file = FileField(lazy(N_("规则文件")), description=lazy(N_("JSON,格式见“导出”得到的文件;也可粘贴在下面")))
    document = TextAreaField(lazy(N_("规则内容")), [Length(max=1_000_000)])
    reason = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])


@blueprint.get("/export.json")
@allow(*BUSINESS)
def export() -> Response:
    """The rules in force today and those that are coming, as a document that can be read in again."""
    sent = Response(rules.written(rulebook.standing(reading(), today())), content_type=JSON)
    sent.headers["Content-Disposition"] = "attachment; filename=approval-rules.json"
    return sent


@blueprint.route("/import", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@takes(
    None,
    Given("document", label=N_("规则内容"), required=True, longest=1_000_000),
    Given("reason", label=N_("制定依据"), required=True, longest=2000),
)
def read() -> str | Answer | tuple[str, int]:
    """A document of rules becomes one draft, which is looked at before anybody else signs it."""
    form = ImportForm()

    def keep() -> Answer:
        given = form.file.data.read(rules.MOST_BYTES + 1) if form.file.data else b""
        texts = rules.read(given or (form.document.data or "").encode())
        with transaction() as tx:
            made = proposals.draft(tx, texts, reason=form.reason.data).id
        flash(_("已起草 %(n)s 条规则并由您签署,另一人签署后按生效日期施行", n=len(texts)), "success")
        return redirect(url_for("rule_drafts.show", draft_id=made))

    return answer(form, keep, lambda: render_template("rules/import.html", form=form))


@blueprint.get("/drafts/<int:draft_id>")
@allow(*BUSINESS)
def show(draft_id: int) -> str:
    tx = reading()
    row = proposals.drafted(tx, draft_id)
    texts = row.texts()
    known = [one.rule(row.based_on.get(one.code, 0) + 1) for one in texts]
    return render_template(
        "rules/draft.html",
        row=row,
        rules=[_told(one, rule, row.based_on.get(one.code, 0)) for one, rule in zip(texts, known, strict=True)],
        signatures=[(one["by"], datetime.fromisoformat(one["at"])) for one in row.signatures],
        others=[one.name for one in proposals.others(tx, row)],
        needed=proposals.SIGNATURES - len(row.signatures),
        may_sign=proposals.may_sign(row, actor()),
        may_withdraw=row.state == "drafted" and actor().role is Role.AUTHORITY,
        **(tried(known) if row.state == "drafted" else {}),
    )


def _told(one: RuleText, rule: Rule, before: int) -> dict[str, object]:
    """One rule of a draft as the page shows it."""
    return {
        "code": one.code,
        "name": _(one.name),
        "before": before,
        "facts": [
            (_("适用于"), _("；或 ").join(rule_words.condition_words(one.condition))),
            (_("结果"), _("；").join(rule_words.result_words(rule)) or _("无（废止）")),
            (_("优先级"), one.priority),
            (_("生效日期"), one.effective_from),
            (_("制定依据"), one.basis or None),
        ],
    }


@blueprint.post("/drafts/<int:draft_id>/sign")
@allow(Role.AUTHORITY)
@proven
@unfit("two people sign in person, each having looked at the page")
def sign(draft_id: int) -> Answer:
    """The second signature enacts."""
    try:
        with transaction() as tx:
            enacted = proposals.sign(tx, draft_id).state == "enacted"
    except (Invalid, NotAllowed, WrongState, Conflict) as refused:
        return sent_back(refused, "rule_drafts.show", draft_id=draft_id)
    flash(_("已签署,规则自生效日期起施行") if enacted else _("已签署,还须另一人签署"), "success")
    return redirect(url_for("rule_drafts.show", draft_id=draft_id))


@blueprint.post("/drafts/<int:draft_id>/withdraw")
@allow(Role.AUTHORITY)
@takes()
def withdraw(draft_id: int) -> Answer:
    """Give a draft up."""
    with transaction() as tx:
        proposals.withdraw(tx, draft_id)
    flash(_("草案已撤回"), "success")
    return redirect(url_for("rules.index"))
