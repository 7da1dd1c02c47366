"""Policies: what holds, what is coming, what held; drafting, backtesting over the city's own past, and signing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import HiddenField, TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame
from console.access import STEWARDS, allow, proven
from console.book import actor, book, reading, settings, transaction
from console.forms import answer, done, hang
from console.founding import Look, checklist
from console.pages.judging import policy_documents
from console.pages.judging.policy_backtests import backtested
from console.pages.judging.policy_forms import departments, draft_form, layout, sent
from console.programs import Given, asked, downloads, takes
from console.security import row_or
from console.words import _, lazy, sentence
from console.words import policies as policy_words
from metering.cases import recoveries, suspensions
from metering.intraday import PolicyEffect, effects
from metering.judging import Policy, PolicyVersion, default, policies
from metering.simulation import PolicyDraft, drafts, policy_backtests
from quota.actors import Actor, Role
from quota.db import Tx
from quota.directory import Pool, System
from quota.errors import N_, Invalid, NotFound, WrongState
from quota.units import VCPU

blueprint = Blueprint("policies", __name__, url_prefix="/policies")
frame.page("cases", "policies.index", N_("策略"), order=60)


class PolicyEnactForm(FlaskForm):  # type: ignore[misc]
    """The signature: which backtest was on the page, and why."""

    replay = HiddenField()
    reason = TextAreaField(lazy("启用理由"), [InputRequired(lazy("请写明启用理由")), Length(max=500)])


@blueprint.get("/")
@allow(*STEWARDS)
def index() -> str:
    tx = reading()
    today = _today()
    groups = []
    for name in dict.fromkeys(one.name for one in policies.versions(tx)):
        every = policies.versions(tx, name)
        held = [one for one in every if one.effective_from <= today]
        now = max(held, key=lambda one: (one.effective_from, one.version), default=None)
        groups.append(
            {
                "name": name,
                "now": now,
                "rows": policy_words.rows(now.policy()) if now else [],
                "sizing": policy_words.sizing(now.policy().sizing) if now else "",
                "wholes": policy_words.wholes(now.policy()) if now else [],
                "sections": _sections(now.policy(), _names(tx, now.policy())) if now else [],
                "coming": [one for one in every if one.effective_from > today],
                "past": [one for one in held if one is not now],
            }
        )
    return render_template("policies/index.html", groups=groups, drafts=drafts.drafts(tx))


@blueprint.get("/versions/<int:version_id>")
@allow(*STEWARDS)
def show(version_id: int) -> str:
    tx = reading()
    one = policies.version(tx, version_id)
    before = next((each for each in policies.versions(tx, one.name) if each.version == one.version - 1), None)
    policy, old = one.policy(), before.policy() if before else None
    names = _names(tx, policy, *([old] if old else []))
    return render_template(
        "policies/show.html",
        one=one,
        rows=policy_words.rows(policy),
        sizing=policy_words.sizing(policy.sizing),
        wholes=policy_words.wholes(policy),
        exceptions=_sections(policy, names),
        state=_standing(tx, one),
        before=before,
        differences=policy_words.differences(old, policy, names) if old else [],
        draft=tx.scalar(select(PolicyDraft).where(PolicyDraft.enacted_id == one.id)),
        regret=recoveries.regret(tx, one.id),
        effect=_effect(tx, one),
        suspended=suspensions.holding(tx, one.id),
        limit=one.rules().regret_limit,
    )


@blueprint.route("/drafts/new", methods=["GET", "POST"])
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes(
    None,
    Given("document", label=N_("策略文件(JSON),写法同 policy.json"), required=True, longest=1_000_000),
    Given("reason", label=N_("修订理由"), required=True, longest=500),
)
def draft() -> str | Response | tuple[str, int]:
    """The next version of a policy, from the newest one."""
    tx = reading()
    if asked.by_program():
        reason = request.form.get("reason", "")
        return _drafted(policy_documents.read(tx, request.form.get("document", ""), reason), reason)
    name = request.args.get("name", "default")
    newest = policies.newest(tx, name)
    before = newest.policy() if newest else default()
    more = request.form.get("more", "")
    given = sent(before, request.form) if request.method == "POST" else None
    form = draft_form(tx, before, _today() + timedelta(days=1), layout(before, given or (), more), given)
    # The policy as a whole is held against its rules beside the fields, so that all that is wrong is told at once.
    if not more and form.is_submitted():
        form.validate()
        made = form.policy(before)
    else:
        made = None
    if made is not None:
        try:
            return _drafted(made, form.reason.data)
        except Invalid as refused:
            hang(form, refused)
    return render_template("policies/draft.html", form=form, before=before), 422 if form.errors else 200


def _drafted(policy: Policy, reason: str) -> Response:
    """Keep the draft, and have it tried on what was."""
    with transaction() as writing:
        row = drafts.draft(writing, policy, reason=reason)
        policy_backtests.ask(writing, row.document, row.digest)
        draft_id = row.id
    return done(_("草案已保存,回测已在后台开始"), "policies.drafted", draft_id=draft_id)


@blueprint.get("/versions/<int:version_id>/policy.json")
@allow(*STEWARDS)
@downloads("application/json")
def document(version_id: int) -> Response:
    """A version as the document that a draft may be sent as."""
    one = policies.version(reading(), version_id)
    return Response(
        json.dumps(one.policy().to_json(), ensure_ascii=False, indent=1),
        mimetype="application/json",
        headers={"Content-Disposition": f'attachment; filename="policy-{one.id}.json"'},
    )


@blueprint.get("/versions/<int:version_id>/effects.json")
@allow(*STEWARDS)
@downloads("application/json")
def effect_document(version_id: int) -> Response:
    """What a version did: sums over the days reckoned (null: none was), its cases by what became of them."""
    tx = reading()
    one = policies.version(tx, version_id)
    shown = _effect(tx, one)
    document = {
        "name": one.name,
        "version": one.version,
        "within_the_day": effects.told(shown.days),
        "cases": {
            "reclaimed": shown.cases,
            "reclaimed_vcpu": shown.vcpu,
            "acted": shown.regret.acted,
            "regretted": shown.regret.regretted,
            "objections_ruled": shown.contradicted.ruled,
            "objections_upheld": shown.contradicted.upheld,
        },
    }
    return Response(
        json.dumps(document, ensure_ascii=False, indent=1),
        mimetype="application/json",
        headers={"Content-Disposition": f'attachment; filename="policy-effects-{one.id}.json"'},
    )


@blueprint.get("/drafts/<int:draft_id>")
@allow(*STEWARDS)
def drafted(draft_id: int) -> str:
    tx = reading()
    row = drafts.drafted(tx, draft_id)
    runs = policy_backtests.of_digest(tx, row.digest)
    latest = next((one for one in runs if one.state == "done"), None)
    base = row.based_on.policy() if row.based_on else None
    names = _names(tx, row.policy(), *([base] if base else []))
    return render_template(
        "policies/drafted.html",
        row=row,
        differences=policy_words.differences(base, row.policy(), names) if base else [],
        rows=policy_words.rows(row.policy()),
        sizing=policy_words.sizing(row.policy().sizing),
        wholes=policy_words.wholes(row.policy()),
        exceptions=_sections(row.policy(), names),
        runs=runs,
        under_way=next((one for one in runs if one.state in ("waiting", "running")), None),
        evidence=drafts.evidence(tx, row),
        shown=backtested(latest) if latest else None,
        **_in_force_now(tx, row.name),
    )


@blueprint.post("/drafts/<int:draft_id>/replay")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes()
def backtest(draft_id: int) -> Response:
    with transaction() as tx:
        row = drafts.drafted(tx, draft_id)
        if row.state != "drafted":
            raise WrongState("policy.closed", N_("该草案已启用或已撤回"))
        policy_backtests.ask(tx, row.document, row.digest)
    flash(_("回测已排队,由后台任务进行,可以离开本页"), "success")
    return redirect(url_for("policies.drafted", draft_id=draft_id))


@blueprint.post("/drafts/<int:draft_id>/withdraw")
@allow(Role.SUPERVISOR, Role.AUTHORITY)
@takes()
def withdraw(draft_id: int) -> Response:
    with transaction() as tx:
        drafts.withdraw(tx, draft_id)
    flash(_("草案已撤回"), "success")
    return redirect(url_for("policies.drafted", draft_id=draft_id))


@blueprint.route("/drafts/<int:draft_id>/enact", methods=["GET", "POST"])
@allow(Role.AUTHORITY)
@proven
@takes(PolicyEnactForm)
def enact(draft_id: int) -> str | Response | tuple[str, int]:
    """What would hold and what it would have done, shown to who signs; then the signature."""
    tx = reading()
    row = drafts.drafted(tx, draft_id)
    seen = drafts.evidence(tx, row)
    form = PolicyEnactForm(replay=str(seen.id) if seen else "")

    def act() -> Response:
        with transaction() as writing:
            version = drafts.enact(writing, draft_id, row_or(form.replay.data, -1), reason=form.reason.data)
        return done(_("策略已启用"), "policies.show", version_id=version.id)

    def page() -> str:
        base = row.based_on.policy() if row.based_on else None
        return render_template(
            "policies/enact.html",
            row=row,
            form=form,
            differences=policy_words.differences(base, row.policy(), _names(tx, base, row.policy())) if base else [],
            evidence=seen,
            wanting="" if seen else sentence(drafts.wanting(tx, row)),
            own=row.drafted_by == actor().login,
            shown=backtested(seen) if seen else None,
        )

    return answer(form, act, page)


# ----------------------------------------------------------------------------------------------------------- mechanism


def _today() -> date:
    return book().clock().astimezone(settings().zone).date()


def _names(tx: Tx, *told: Policy) -> dict[str, str]:
    """Code → name of the pools and departments that these policies name, of merged ones with their successor's; and of systems,
    behind "s:"."""
    sections = [section for policy in told for section in policy.sections]

    def named(model: type[Pool] | type[System], codes: set[str]) -> dict[str, str]:
        return dict(tx.execute(select(model.code, model.name).where(model.code.in_(codes))).all())

    systems = named(System, {code for one in sections for code in one.systems})
    return {
        **named(Pool, {code for one in sections for code in one.pools}),
        **departments(tx, {code for one in sections for code in one.departments}),
        **{f"s:{code}": name for code, name in systems.items()},
    }


def _sections(policy: Policy, names: dict[str, str]) -> list[tuple[str, str, str, str]]:
    return [
        (
            one.name,
            policy_words.about(one, names),
            policy_words.sizing(one.sizing) if one.sizing else _("与全市相同"),
            _("与全市相同") if one.growths is None else policy_words.growths(one.growths),
        )
        for one in policy.sections
    ]


@dataclass(frozen=True, slots=True)
class VersionEffect:
    """What a version did. ``days``: within the day, None where no day was reckoned; ``cases`` that freed something, ``vcpu`` of it."""

    days: PolicyEffect | None
    cases: int
    vcpu: int
    regret: recoveries.Regret
    contradicted: recoveries.Contradiction


def _effect(tx: Tx, version: PolicyVersion) -> VersionEffect:
    found = recoveries.recoveries(tx, policy_version_id=version.id)
    return VersionEffect(
        effects.effects(tx, version.id).get(version.id),
        found.cases_recovered,
        sum(figure for cls, figure in found.recovered.items() if cls.kind == VCPU),
        recoveries.regret(tx, version.id),
        recoveries.contradictions(tx, version.id),
    )


def _in_force_now(tx: Tx, name: str) -> dict[str, object]:
    """The version of a policy in force today and what it did, beside which a draft is read."""
    try:
        now = policies.in_force(tx, _today(), name)
    except NotFound:
        return {"in_force": None}
    return {"in_force": now, "effect": _effect(tx, now)}


def _standing(tx: Tx, version: PolicyVersion) -> str:
    """in_force, coming or superseded."""
    today = _today()
    if version.effective_from > today:
        return "coming"
    return "in_force" if policies.in_force(tx, today, version.name).id == version.id else "superseded"


@frame.home_block(Role.AUTHORITY, order=45)
def _to_sign(tx: Tx, who: Actor) -> str | None:
    """Drafts of others that were backtested and wait for a signature."""
    rows = [one for one in drafts.drafts(tx) if one.state == "drafted" and one.drafted_by != who.login]
    ready = [one for one in rows if drafts.evidence(tx, one)]
    return render_template("policies/_home.html", rows=ready) if ready else None


@checklist.step("policy", N_("评估策略"), N_("今日有生效的闲置与繁忙评估策略。"), Role.AUTHORITY,
                endpoint="policies.index", order=120)  # fmt: skip
def _in_force(look: Look) -> bool:
    return any(one.effective_from <= look.today for one in policies.versions(look.tx, "default"))
