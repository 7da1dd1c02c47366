"""Tokens: made, shown once, confirmed, revoked; and the services that act by them."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, current_app, flash, redirect, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms import SelectField, SelectMultipleField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from console import api, frame
from console.access import EVERYBODY, STEWARDS, allow, proven, visitor
from console.accounts import accounts
from console.api import ApiToken, TokenKind, tokens
from console.book import actor, book, reading, transaction
from console.forms import answer, done
from console.identity import absences
from console.lists import Column, Filter, Rows, listing
from console.pages.directory import PersonBelonging
from console.programs import listed, unfit
from console.words import _, lazy
from quota.actors import Role
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, Conflict, Invalid, WrongState

blueprint = Blueprint("tokens", __name__, url_prefix="/settings/tokens")
frame.page("settings", "tokens.index", N_("接口令牌"), order=40)

KINDS = {
    TokenKind.PERSONAL.value: N_("个人"),
    TokenKind.SERVICE.value: N_("服务"),
    TokenKind.CALENDAR.value: N_("日历"),
    TokenKind.WALL.value: N_("大屏"),
}
STATES = {
    "token_good": N_("有效"),
    "token_waiting": N_("待确认"),
    "token_revoked": N_("已吊销"),
    "token_over": N_("已过期"),
}
SCOPES = {api.operations.READ: N_("%(section)s:读取"), api.operations.ACTS: N_("%(section)s:办理")}
SHOWN_ONCE = "a secret is shown once, to a person"


def standing(token: ApiToken) -> str:
    """The state of a token as one word."""
    if token.revoked_at is not None:
        return "token_revoked"
    if token.expires_at <= book().clock():
        return "token_over"
    return "token_good" if token.granted else "token_waiting"


def scope_label(scope: str) -> str:
    """A scope in the reader's words."""
    section, _colon, what = scope.partition(":")
    if section not in frame.SECTIONS or what not in SCOPES:
        return scope
    return _(SCOPES[what], section=_(frame.SECTIONS[section][0]))


def offered(role: Role) -> list[str]:
    """The scopes that a token of the role may have."""
    operations = api.door.gate(current_app._get_current_object()).operations  # type: ignore[attr-defined]
    return api.operations.scopes_of(operations.values(), role)


def _state_is(query: Rows, value: str) -> Rows:
    now = book().clock()
    open_ = ApiToken.revoked_at.is_(None) & (ApiToken.expires_at > now)
    return query.where(
        {
            "token_good": open_ & ApiToken.granted,
            "token_waiting": open_ & ~ApiToken.granted,
            "token_revoked": ApiToken.revoked_at.is_not(None),
            "token_over": ApiToken.revoked_at.is_(None) & (ApiToken.expires_at <= now),
        }[value]
    )


COLUMNS = [
    Column("name", N_("名称"), lambda t: t.name, sort=ApiToken.name, title=True,
           href=lambda t: url_for("tokens.show", token_id=t.id)),
    Column("kind", N_("类型"), lambda t: _(KINDS[t.kind]), code=lambda t: t.kind, sort=ApiToken.kind),
    Column("state", N_("状态"), standing, state=True),
    Column("person", N_("代表"), lambda t: t.person.name),
    Column("prefix", N_("标识"), lambda t: t.prefix, minor=True),
    Column("made_at", N_("制作于"), lambda t: t.made_at, sort=ApiToken.made_at, minor=True),
    Column("expires_at", N_("有效至"), lambda t: t.expires_at, sort=ApiToken.expires_at),
    Column("used_at", N_("最近使用"), lambda t: t.used_at, sort=ApiToken.used_at),
    Column("used_from", N_("使用地址"), lambda t: t.used_from or None, minor=True),
]  # fmt: skip
FILTERS = [
    Filter("state", N_("状态"), _state_is, options=STATES),
    Filter("kind", N_("类型"), lambda q, v: q.where(ApiToken.kind == v), options=KINDS),
    Filter("q", N_("名称"), lambda q, v: q.where(frame.matching(v, ApiToken.name, Person.name))),
]


class TokenForm(FlaskForm):  # type: ignore[misc]
    name = StringField(
        lazy(N_("名称")), [InputRequired(lazy(N_("请填写令牌的名称"))), Length(max=64)],
        description=lazy(N_("写明由哪个程序使用,如“报表平台”")),
    )  # fmt: skip
    days = SelectField(
        lazy(N_("有效期")), coerce=int, default=90,
        choices=[SelectChoice(str(one), lazy(N_("%(days)s 天"), days=one)) for one in tokens.DAYS],
    )  # fmt: skip
    scopes = SelectMultipleField(
        lazy(N_("范围")), [InputRequired(lazy(N_("请至少选择一项范围")))], choices=[],
        description=lazy(N_("令牌只能做所选范围内、且本人当时有权做的事")),
    )  # fmt: skip

    def offer(self, role: Role) -> None:
        """Fill the choices: what somebody with ``role`` may do by the API."""
        self.scopes.choices = [SelectChoice(one, scope_label(one)) for one in offered(role)]


class AddressForm(FlaskForm):  # type: ignore[misc]
    days = SelectField(
        lazy(N_("有效期")), coerce=int, default=365,
        choices=[SelectChoice(str(one), lazy(N_("%(days)s 天"), days=one)) for one in tokens.DAYS],
    )  # fmt: skip


class ServiceForm(PersonBelonging):
    login = StringField(
        lazy(N_("登录名")), [InputRequired(lazy(N_("请输入登录名"))), Length(max=64)],
        description=lazy(N_("审计记录中以此称呼;字母、数字和 . - _")),
    )  # fmt: skip
    name = StringField(lazy(N_("名称")), [InputRequired(lazy(N_("请输入名称"))), Length(max=64)])

    def offer(self, tx: Tx) -> None:
        super().offer(tx)
        kept = {one.value for one in accounts.SERVED}
        self.role.choices = [one for one in self.role.choices if not one.value or one.value in kept]


@blueprint.get("/")
@allow(*EVERYBODY)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    """The own tokens; administrators see those of services, the security administrator all."""
    tx = reading()
    found = listing(tx, tokens.visible(tx), COLUMNS, key=ApiToken.id, filters=FILTERS, sort="-made_at")
    away = absences.absence(tx, visitor().id)
    return found.exported("tokens") or render_template("tokens/index.html", tokens=found, away=away)


@blueprint.get("/<int:token_id>")
@allow(*EVERYBODY)
def show(token_id: int) -> str:
    tx = reading()
    one = tokens.token(tx, token_id)
    open_ = standing(one) in ("token_good", "token_waiting")
    return render_template(
        "tokens/show.html",
        one=one,
        state=standing(one),
        kind=KINDS[one.kind],
        scopes=[scope_label(scope) for scope in one.scopes],
        may_revoke=open_ and tokens.may_revoke(tx, one),
        may_confirm=tx.actor.role is Role.SECADMIN and standing(one) == "token_waiting",
    )


@blueprint.route("/new", methods=["GET", "POST"])
@allow(*EVERYBODY)
@proven
@unfit(SHOWN_ONCE)
def make() -> str | Response | tuple[str, int]:
    """A token of one's own."""
    form = TokenForm()
    form.offer(actor().role)
    return _made(form, lambda tx: _oneself(tx), TokenKind.PERSONAL)


@blueprint.route("/calendar", methods=["GET", "POST"])
@allow(*EVERYBODY)
@unfit(SHOWN_ONCE)
def subscribe() -> str | Response | tuple[str, int]:
    """An address under which a calendar shows what waits for one."""
    said = N_("得到一个地址,日历软件凭它显示待您办理的事项和期限。知道地址的人能看到编号和期限,看不到内容;可随时吊销。")
    return _addressed(N_("订阅待办日历"), said, N_("待办日历"), TokenKind.CALENDAR, "api.calendar")


@blueprint.route("/wall", methods=["GET", "POST"])
@allow(*STEWARDS)
@unfit(SHOWN_ONCE)
def screen() -> str | Response | tuple[str, int]:
    """An address under which the city's big screen shows the cockpit."""
    said = N_("得到一个地址,大屏凭它显示驾驶舱,不用登录。知道地址的人都能看到驾驶舱,但打不开其他页面;可随时吊销。")
    return _addressed(N_("生成大屏地址"), said, N_("驾驶舱大屏"), TokenKind.WALL, "cockpit.wall")


def _addressed(title: str, said: str, name: str, kind: TokenKind, endpoint: str) -> str | Response | tuple[str, int]:
    """The page that makes an address with a token of ``kind`` in it."""
    form = AddressForm()

    def act() -> str:
        with transaction() as tx:
            made, secret = tokens.make(tx, _oneself(tx), _(name), (), form.days.data, kind)
        return render_template("tokens/shown.html", one=made, secret=url_for(endpoint, token=secret, _external=True))

    def page() -> str:
        return render_template("tokens/address.html", form=form, title=_(title), said=_(said))

    return answer(form, act, page, Invalid, WrongState)


@blueprint.route("/services/new", methods=["GET", "POST"])
@allow(Role.SYSADMIN)
@unfit("who a program is, people settle")
def enrol() -> str | Response | tuple[str, int]:
    """Enter a program as a service; the security administrator grants its role and department."""
    form = ServiceForm()
    form.offer(reading())

    def act() -> Response:
        with transaction() as tx:
            role, department, provider = form.chosen(tx)
            who = accounts.enrol_service(
                tx, form.login.data, form.name.data, role, department=department, provider=provider
            )
        return done(_("已录入服务账号,等待安全管理员授权"), "tokens.make_for", person_id=who.id)

    return answer(form, act, lambda: render_template("tokens/service.html", form=form), Invalid, Conflict)


@blueprint.route("/services/<int:person_id>/new", methods=["GET", "POST"])
@allow(Role.SYSADMIN)
@proven
@unfit(SHOWN_ONCE)
def make_for(person_id: int) -> str | Response | tuple[str, int]:
    """A token for a service: it rests until the security administrator has confirmed it."""
    who = accounts.service(reading(), person_id)
    form = TokenForm()
    form.offer(Role(who.role))
    return _made(form, lambda tx: accounts.service(tx, person_id), TokenKind.SERVICE, who)


def _made(
    form: TokenForm, whose: Callable[[Tx], Person], kind: TokenKind, service: Person | None = None
) -> str | Response | tuple[str, int]:
    def act() -> str:
        with transaction() as tx:
            made, secret = tokens.make(tx, whose(tx), form.name.data, form.scopes.data, form.days.data, kind)
        return render_template("tokens/shown.html", one=made, secret=secret)

    return answer(
        form, act, lambda: render_template("tokens/make.html", form=form, service=service), Invalid, WrongState
    )


@blueprint.post("/<int:token_id>/revoke")
@allow(*EVERYBODY)
@unfit("people end tokens")
def revoke(token_id: int) -> Response:
    with transaction() as tx:
        tokens.revoke(tx, token_id)
    flash(_("令牌已吊销,立即失效"), "success")
    return redirect(url_for("tokens.show", token_id=token_id))


@blueprint.post("/<int:token_id>/confirm")
@allow(Role.SECADMIN)
@proven
@unfit("people let programs in")
def confirm(token_id: int) -> Response:
    with transaction() as tx:
        tokens.confirm(tx, token_id)
    flash(_("已确认,令牌可以使用"), "success")
    return redirect(url_for("tokens.show", token_id=token_id))


def _oneself(tx: Tx) -> Person:
    return accounts.person_of(tx, actor().login)


@frame.home_block(Role.SECADMIN, order=15)
def _waiting(tx: Tx, _actor: object) -> str | None:
    """Tokens of services that wait to be confirmed."""
    query = _state_is(tokens.visible(tx), "token_waiting").options(joinedload(ApiToken.person))
    rows = tx.scalars(query.order_by(ApiToken.made_at).limit(20)).all()
    return render_template("tokens/_waiting.html", rows=rows) if rows else None
