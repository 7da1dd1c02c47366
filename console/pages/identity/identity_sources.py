"""身份源: where people come from beside passwords. The security administrator registers, tries and rules them."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from console import frame
from console.access import allow, proven
from console.book import book, reading, settings, transaction
from console.forms import answer, done, hang
from console.forms import generation as shown_generation
from console.identity import (
    LOST,
    IdentityLink,
    IdentityRule,
    IdentitySource,
    Rules,
    SourceFault,
    arrivals,
    connections,
    kinds,
    meaning,
    rulebook,
    rules,
)
from console.lists import Column, Filter, listing
from console.pages.identity import source_forms
from console.pages.identity.source_forms import (
    OPTION,
    ChangedSourceForm,
    NewSourceForm,
    ReasonForm,
    RulesForm,
    filled,
    place,
    places,
    with_options,
)
from console.programs import listed, unfit
from console.security import row_or
from console.words import _, sentence
from providers.options import fields
from quota.actors import ROLE_LABELS, Actor, Role
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, Conflict, Invalid, NotFound, Refused, WrongState, stated

blueprint = Blueprint("identity_sources", __name__, url_prefix="/settings/identity")
frame.page("settings", "identity_sources.index", N_("身份源"), order=14)

READERS = (Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUDITOR)
PEOPLE = "who may come in, people settle"

COLUMNS = [
    Column("person", N_("姓名"), lambda r: r.person.name, title=True, sort=Person.name,
           href=lambda r: url_for("people.show", person_id=r.person_id)),
    Column("login", N_("登录名"), lambda r: r.person.login, sort=Person.login),
    Column("subject", N_("在身份源中的编号"), lambda r: r.subject, minor=True),
    Column("linked", N_("关联于"), lambda r: r.linked_at, sort=IdentityLink.linked_at),
    Column("seen", N_("最近从这里登录"), lambda r: r.seen_at, sort=IdentityLink.seen_at),
    Column("held", N_("现有角色"), lambda r: _(ROLE_LABELS[Role(r.person.role)])),
    Column("allowed", N_("身份源允许"), lambda r: places(r.allowed) or None),
    Column("state", N_("状态"), lambda r: "identity_differs" if r.differs_since else "active", state=True),
]  # fmt: skip
FILTERS = [
    Filter("q", N_("姓名或登录名"), lambda q, v: q.where(frame.matching(v, Person.name, Person.login))),
    Filter("state", N_("状态"), lambda q, _v: q.where(IdentityLink.differs_since.is_not(None)),
           options={"differs": N_("权限待核对")}),
]  # fmt: skip


@blueprint.get("/")
@allow(*READERS)
def index() -> str:
    tx = reading()
    rows = connections.sources(tx)
    versions = {one.id: rulebook.versions(tx, one.id)[:1] for one in rows}
    labels = {one.code: one.label for one in kinds.kinds()}
    return render_template("identity_sources/index.html", rows=rows, versions=versions, labels=labels)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.SECADMIN)
@proven
@unfit(PEOPLE)
def register() -> str | Response | tuple[str, int]:
    asked = request.args.get("kind", kinds.kinds()[0].code)
    wanted = kinds.kind(asked)
    form = with_options(NewSourceForm, wanted.code)()

    def act() -> Response:
        options = source_forms.given(form, wanted.code)
        with transaction() as tx:
            options |= source_forms.kept_secrets(tx, form, wanted.code, form.code.data)
            row = connections.register(tx, form.code.data, wanted.code, form.name.data, options)
        return done(_("已登记：%(name)s", name=row.name), "identity_sources.show", code=row.code)

    def page() -> str:
        return render_template("identity_sources/register.html", form=form, kind=wanted, kinds=kinds.kinds())

    return answer(form, act, page, Invalid, Conflict, hung=_hang)


@blueprint.get("/<code>")
@allow(*READERS)
def show(code: str) -> str:
    return _shown(code)


def _shown(code: str, probed: tuple[bool, str, str] | None = None) -> str:
    tx = reading()
    row = connections.source(tx, code)
    versions = rulebook.versions(tx, row.id)
    shown = _version(versions)
    links = tx.scalars(
        select(IdentityLink).where(IdentityLink.source_id == row.id, IdentityLink.differs_since.is_not(None)).limit(20)
        .options(joinedload(IdentityLink.person))
    ).all()  # fmt: skip
    return render_template(
        "identity_sources/show.html",
        row=row,
        kind=kinds.kind(row.kind),
        options=[
            (_(one.label), row.options.get(one.name, one.default)) for one in fields(kinds.kind(row.kind).options)
        ],
        addresses=_addresses(row),
        probed=probed,
        versions=versions,
        version=shown,
        answers=_answers(rules.read(shown.content)) if shown else [],
        links=links,
        places=places,
    )


def _addresses(row: IdentitySource) -> list[tuple[str, str, str]]:
    """What whoever runs the source is told: label, its word there, address."""
    kind = kinds.kind(row.kind)
    back, home, departed = (
        _address("identity.back", row.code), _address("auth.login"), _address("identity.departed", row.code)
    )  # fmt: skip
    there = zip(
        (_("回调地址"), _("退出后回到"), _("后台退出通知")), kind.addresses, (back, home, departed), strict=True
    )
    pattern = [(_("按正则登记时"), "", rf"^{re.escape(back)}(\?.*)?$")] if kind.pattern else []
    return [*there, *pattern]


def _version(versions: Any) -> IdentityRule | None:
    wanted = row_or(request.args.get("version"), 0)
    found: IdentityRule | None = next((one for one in versions if one.version == wanted), next(iter(versions), None))
    return found


def _address(endpoint: str, code: str = "") -> str:
    path = url_for(endpoint, code=code) if code else url_for(endpoint)
    return (settings().public_url or request.url_root).rstrip("/") + path


@blueprint.route("/<code>/connection", methods=["GET", "POST"])
@allow(Role.SECADMIN)
@proven
@unfit(PEOPLE)
def connect(code: str) -> str | Response | tuple[str, int]:
    row = connections.source(reading(), code)
    form = with_options(ChangedSourceForm, row.kind)()
    if request.method == "GET":
        form.name.data, form.active.data, form.generation.data = row.name, row.active, str(row.generation)
        source_forms.fill(form, row.kind, row.options)

    def act() -> Response:
        options = source_forms.given(form, row.kind)
        with transaction() as tx:
            options |= source_forms.kept_secrets(tx, form, row.kind, row.code)
            connections.change(
                tx, connections.source(tx, code), form.name.data, options, active=form.active.data,
                generation=shown_generation(form),
            )  # fmt: skip
        return done(_("连接已保存"), "identity_sources.show", code=code)

    return answer(
        form, act, lambda: render_template("identity_sources/connect.html", form=form, row=row), Invalid, Conflict,
        hung=_hang,
    )  # fmt: skip


def _hang(form: Any, refused: Refused) -> None:
    """Show ``refused`` beside the option that it names."""
    field = str(refused.params.get("field", ""))
    if OPTION + field in form._fields:
        refused.params["field"] = OPTION + field
        if refused.code == "secret.clear":
            form[OPTION + field].data = ""  # it may be the secret itself, which no page shows
    hang(form, refused)


@blueprint.post("/<code>/probe")
@allow(Role.SECADMIN, Role.SYSADMIN)
@unfit(PEOPLE)
def probe(code: str) -> str:
    """Try the connection now; the web process is what speaks to the source when people log in, too."""
    row = connections.source(reading(), code)
    try:
        source = connections.made(book(), settings(), row.kind, row.options)
        said = source.probe(_address("identity.back", code))
    except SourceFault as fault:
        return _shown(code, (False, sentence(fault.message), fault.said))
    if kinds.kind(row.kind).typed:
        return _shown(code, (True, _("连接正常：按查找条件找得到人员，永久编号可用"), said))
    return _shown(code, (True, _("连接正常：身份源认识本系统，回调地址已登记"), said))


@blueprint.route("/<code>/rules", methods=["GET", "POST"])
@allow(Role.SECADMIN)
@proven
@unfit(PEOPLE)
def enact(code: str) -> str | Response | tuple[str, int]:
    """The next version: typed, tried on somebody's claims, looked at once more, enacted."""
    tx = reading()
    row = connections.source(tx, code)
    newest = next(iter(rulebook.versions(tx, row.id)), None)
    shown = row_or(request.form.get("shown"), newest.version if newest else 0)
    form = RulesForm(data=filled(rules.read(newest.content) if newest else None, kinds.kind(row.kind)))
    step = request.form.get("step", "")
    if request.method == "POST" and step == "row":
        form.grow()
        return _form(form, row, shown)
    if form.validate_on_submit():
        try:
            if step == "confirm":
                with transaction() as writing:
                    made = rulebook.enact(
                        writing, connections.source(writing, code), form.content(), form.reason.data, after=shown
                    )
                return done(_("已制定规则第 %(version)s 版", version=made.version), "identity_sources.show", code=code)
            if step != "edit":
                stated(form.reason.data)
                drafted, claims = rulebook.checked(tx, form.content()), form.tried()
                return render_template(
                    "identity_sources/check.html", row=row, answers=_answers(drafted), shown=shown,
                    outcome=None if claims is None else _outcome(tx, drafted, claims),
                )  # fmt: skip
        except (Invalid, Conflict) as refused:
            hang(form, refused)
            if isinstance(refused, Conflict):
                return _form(form, row, int(refused.params.get("version", shown)), 409)
    return _form(form, row, shown, 422 if form.errors else 200)


def _form(form: RulesForm, row: IdentitySource, shown: int, status: int = 200) -> tuple[str, int]:
    companies = source_forms.companies(reading())
    return render_template(
        "identity_sources/rules.html", form=form, row=row, shown=shown, companies=companies,
        kind=kinds.kind(row.kind),
    ), status  # fmt: skip


def _answers(rule: Rules) -> list[tuple[str, Any, str]]:
    """A rule in words."""
    lines = [
        _("%(claim)s 含“%(value)s”：可以是%(place)s", claim=one.claim, value=one.value,
          place=place({"role": one.role.value, "company": one.company}))
        for one in rule.roles
    ]  # fmt: skip
    yes = {True: _("是"), False: _("否")}
    return [
        (_("登录名"), rule.login, ""),
        (_("姓名"), rule.name, ""),
        (_("单位编码"), rule.department or "—", ""),
        (_("登录名相同的已有账号自动关联"), yes[rule.link], ""),
        (_("没有账号的人自动建账号"), yes[rule.create], ""),
        (_("可授予的角色"), _("；").join(lines) or _("不按声明限制"), ""),
        (_("规则不再允许其现有权限时"), _(LOST[rule.lost]), ""),
        (
            _("只能从身份源登录的角色"),
            _("、").join(_(ROLE_LABELS[one]) for one in Role if one in rule.required) or _("无"),
            "",
        ),
        (
            _("说明已做过两步验证的声明"),
            _("；").join(f"{claim}={value}" for claim, value in rule.second) or _("无"),
            "",
        ),
        (
            _("工作期间经浏览器再向身份源核实"),
            _("每%(minutes)s分钟", minutes=rule.anew) if rule.anew else _("不核实"),
            "",
        ),
        (
            _("没有从这里登录，个人令牌暂停使用"),
            _("超过%(days)s天", days=rule.tokens) if rule.tokens else _("不暂停"),
            "",
        ),
    ]


def _outcome(tx: Tx, rule: Rules, claims: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """What would become of somebody with these claims who comes for the first time."""
    said = meaning(rule, claims)
    who = tx.scalar(select(Person).where(Person.login == said.login)) if said.login else None
    rights = rulebook.places(tx, said)
    if not said.login:
        what = _("拒绝：没有可用的登录名")
    elif who is not None and rule.link:
        what = _("关联已有账号：%(name)s", name=who.name)
    elif who is not None:
        what = _("拒绝：登录名已有账号，须本人登录后自行关联")
    elif not rule.create:
        what = _("拒绝：没有账号")
    elif not rights:
        what = _("拒绝：没有可用的角色")
    else:
        what = _("建账号，等待授权：%(place)s", place=place(rights[0].right.to_json()))
    found = [
        (_("登录名"), said.login or "—", ""),
        (_("姓名"), said.name or "—", ""),
        (_("至多可以是"), places([one.right.to_json() for one in rights]) or _("无"), ""),
        (_("声明中没有"), _("、").join(said.missing) or _("无"), ""),
        (_("首次登录时"), what, ""),
    ]
    if rule.second:
        found.append((_("已做过两步验证"), _("是") if said.second else _("否"), ""))
    if who is not None and rule.roles:
        allowed = rulebook.held(who) in said.allowed
        found.append((_("现有角色"), _(ROLE_LABELS[Role(who.role)]) + ("" if allowed else _("：规则不允许")), ""))
    return found


@blueprint.get("/<code>/links")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def links(code: str) -> str | Response:
    """Whose account is whose at this source."""
    tx = reading()
    row = connections.source(tx, code)
    query = select(IdentityLink).join(Person, Person.id == IdentityLink.person_id)
    query = query.where(IdentityLink.source_id == row.id).options(joinedload(IdentityLink.person))
    found = listing(tx, query, COLUMNS, key=IdentityLink.id, filters=FILTERS, sort="person")
    return found.exported("identity-links") or render_template("identity_sources/links.html", row=row, links=found)


@blueprint.route("/links/<int:link_id>", methods=["GET", "POST"])
@allow(Role.SECADMIN)
@proven
@unfit(PEOPLE)
def settle(link_id: int) -> str | Response | tuple[str, int]:
    """A difference between what somebody holds and what the source allows, to be looked at; and the link itself."""
    row = _link(reading(), link_id)
    form = ReasonForm()

    def act() -> Response:
        with transaction() as tx:
            arrivals.settle(tx, _link(tx, link_id), form.reason.data)
        return done(_("已核对，权限不变"), "identity_sources.links", code=row.source.code)

    def page() -> str:
        return render_template("identity_sources/link.html", row=row, form=form, places=places)

    return answer(form, act, page, Invalid, WrongState)


@blueprint.post("/links/<int:link_id>/unlink")
@allow(Role.SECADMIN)
@proven
@unfit(PEOPLE)
def unlink(link_id: int) -> Response:
    with transaction() as tx:
        row = _link(tx, link_id)
        code = row.source.code
        arrivals.unlink(tx, row)
    flash(_("已取消关联，此人现有的登录已失效"), "success")
    return redirect(url_for("identity_sources.links", code=code))


def _link(tx: Tx, link_id: int) -> IdentityLink:
    found = tx.get(IdentityLink, link_id, options=[joinedload(IdentityLink.person), joinedload(IdentityLink.source)])
    if found is None:
        raise NotFound("identity.no_such_link", N_("没有编号为 %(id)s 的关联"), id=link_id)
    return found


@frame.home_block(Role.SECADMIN, order=15)
def _differing(tx: Tx, _actor: Actor) -> str | None:
    """Rights that a source does not allow any more, where the rules leave them to be looked at."""
    rows = tx.scalars(
        select(IdentityLink).where(IdentityLink.differs_since.is_not(None)).order_by(IdentityLink.differs_since).limit(20)
        .options(joinedload(IdentityLink.person))
    ).all()  # fmt: skip
    return render_template("identity_sources/_differing.html", rows=rows, places=places) if rows else None
