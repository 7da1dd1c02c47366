"""The own account (账号安全): the second factor, recovery codes, and where one is logged in."""

from __future__ import annotations

from typing import Any

import segno
from flask import Blueprint, after_this_request, flash, redirect, render_template, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired, Length, Optional

from console import access, frame
from console.access import EVERYBODY, allow, enrolling, visitor
from console.accounts import accounts, factors, security_keys, sessions
from console.book import book, reading, settings, transaction
from console.forms import answer, done
from console.identity import arrivals
from console.pages.house import key_asking
from console.pages.house.auth import prove_again
from console.programs import unfit
from console.words import _, lazy
from quota.actors import Actor
from quota.db import Tx
from quota.errors import N_, Invalid, NotAllowed, TooOften, WrongState

blueprint = Blueprint("own_account", __name__, url_prefix="/account")

ENROL_MINUTES = 15
"""So long after having come by a source somebody may enrol without a further proof."""

HERE = (Invalid, NotAllowed, TooOften, WrongState)
"""Refusals that the forms of this page show themselves."""


class BeginForm(FlaskForm):  # type: ignore[misc]
    passcode = PasswordField(lazy("密码"), [InputRequired(lazy("请输入密码")), Length(max=128)])
    credential = HiddenField()


class CodeForm(FlaskForm):  # type: ignore[misc]
    passcode = StringField(
        lazy("验证码"),
        [InputRequired(lazy("请输入验证码")), Length(max=64)],
        description=lazy("验证器上现在显示的6位数字"),
    )


class AnyCodeForm(FlaskForm):  # type: ignore[misc]
    passcode = StringField(
        lazy("验证码"),
        [key_asking.Unless(lazy("请输入验证码")), Length(max=64)],
        description=lazy("验证器上的6位数字；手机不在身边时，输入一个恢复码"),
    )
    credential = HiddenField()


class _Named:
    name = StringField(
        lazy("名称"),
        [InputRequired(lazy("请给这把密钥起个名字，以便日后辨认")), Length(max=64)],
        description=lazy("如“办公室的密钥”“这台电脑”"),
    )


class KeyBeginForm(_Named, BeginForm):
    pass


class KeyCodeForm(_Named, AnyCodeForm):
    pass


class KeyForm(FlaskForm):  # type: ignore[misc]
    credential = HiddenField(lazy("安全密钥"), [InputRequired(lazy("密钥还没有应答"))])


def picture(text: str) -> str:
    """A QR code of ``text``, as an address that a page can show by itself."""
    return str(segno.make(text, error="m").svg_data_uri(scale=5, border=4, light="#fff", dark="#000"))


@blueprint.get("/")
@allow(*EVERYBODY)
@enrolling
def index() -> str:
    """What protects the own account, and every browser that is logged in to it."""
    tx, who = reading(), visitor()
    return render_template(
        "own_account/index.html",
        factors=factors.of_person(tx, who.id),
        kinds=factors.KINDS,
        left=factors.codes_left(tx, who.id),
        elsewhere="" if key_asking.site() else key_asking.elsewhere(),
        sessions=sessions.of_person(tx, settings(), who.id),
        who=who,
    )


@blueprint.route("/factor", methods=["GET", "POST"])
@allow(*EVERYBODY)
@enrolling
@unfit("what protects an account is its person's own")
def factor() -> str | Response | tuple[str, int]:
    """Enrol a second factor: begun with the password (or a code of the former factor), ended with its first code."""
    who = visitor()
    shown = factors.pending(reading(), settings(), accounts.person(reading(), who.id))
    if shown is None or shown.kind != factors.TOTP:
        return _begin(factors.TOTP)
    after_this_request(_as_it_is)
    form = CodeForm()

    def act() -> str | Response:
        with transaction() as tx:
            person = accounts.person(tx, who.id)
            codes = factors.confirm(tx, settings(), person, form.passcode.data)
            token = sessions.start_again(tx, person, who.session_id, factors.TOTP)
        return _joined(token, codes)

    def page() -> str:
        grouped = " ".join(shown.secret[n : n + 4] for n in range(0, len(shown.secret), 4))
        return render_template("own_account/confirm.html", form=form, secret=grouped, picture=picture(shown.address))

    return answer(form, act, page, *HERE)


def _as_it_is(answer: Response) -> Response:
    """The key stands on this page each time that it is asked for: compressed beside what a stranger had put there, it could be
    guessed by lengths."""
    answer.headers["Cache-Control"] = "no-store, no-transform"
    return answer


@blueprint.route("/keys/add", methods=["GET", "POST"])
@allow(*EVERYBODY)
@enrolling
@unfit("what protects an account is its person's own")
def key() -> str | Response | tuple[str, int]:
    """Enrol a security key beside what is there: begun as any factor, ended by the key's first answer."""
    who, where = visitor(), key_asking.site()
    if where is None:
        raise WrongState("factor.no_site", key_asking.elsewhere())
    tx = reading()
    shown = factors.pending(tx, settings(), accounts.person(tx, who.id))
    if shown is None or shown.kind != factors.KEY:
        return _begin(factors.KEY)
    form = KeyForm()
    options = security_keys.making(
        where, city=f"{_(factors.ISSUER)} {settings().city}".strip(), person_id=who.id, login=who.login, name=who.name,
        begun=shown.secret, kept=factors.kept(tx, settings(), who.id, factors.KEY),
    )  # fmt: skip

    def act() -> str | Response:
        with transaction() as tx:
            person = accounts.person(tx, who.id)
            codes = factors.confirm(tx, settings(), person, form.credential.data, where)
            token = sessions.start_again(tx, person, who.session_id, factors.KEY)
        return _joined(token, codes)

    page = lambda: render_template(  # noqa: E731
        "own_account/key.html", form=form, name=shown.name, options=options, origin=where.origin
    )
    return answer(form, act, page, *HERE)


def _joined(token: str, codes: list[str]) -> str | Response:
    """A factor was proven: on in the new session, to the new recovery codes where there are any."""
    access.begin(token)
    if codes:
        return render_template("own_account/codes.html", codes=codes, enrolled=True)
    return done(_("已登记，其他会话已退出；恢复码仍然有效"), "own_account.index")


def _begin(kind: str) -> str | Response | tuple[str, int]:
    who = visitor()
    if kind == factors.KEY:
        form = KeyCodeForm() if who.enrolled else KeyBeginForm()
    else:
        form = AnyCodeForm() if who.enrolled else BeginForm()
    # Who comes by a source of identities may have no password here: what is asked of them is to have come a moment ago.
    ways = [] if who.enrolled else arrivals.ways_again(reading(), who.id)
    came = bool(ways) and access.fresh(who, ENROL_MINUTES)
    if came:
        form.passcode.validators = [Optional(), Length(max=128)]
    due = who.due is not None and who.due <= book().clock()

    def act() -> Response:
        if key_asking.answered(form) or not came:
            prove_again(key_asking.answered(form))
        with transaction() as tx:
            name = form.name.data if kind == factors.KEY else ""
            factors.begin(tx, settings(), accounts.person(tx, who.id), kind, name)
        return redirect(url_for("own_account.key" if kind == factors.KEY else "own_account.factor"))

    def page() -> str:
        mine = {one.kind for one in factors.of_person(reading(), who.id)}
        return render_template(
            "own_account/begin.html", form=form, who=who, due=due, ways=ways, came=came, kind=kind, mine=mine
        )

    return answer(form, act, page, *HERE)


@blueprint.post("/factor/again")
@allow(*EVERYBODY)
@enrolling
@unfit("what protects an account is its person's own")
def again() -> Response:
    """Drop what was begun, to begin anew."""
    with transaction() as tx:
        who = accounts.person(tx, visitor().id)
        begun = factors.pending(tx, settings(), who)
        factors.drop_pending(tx, who)
    by_key = begun is not None and begun.kind == factors.KEY
    return redirect(url_for("own_account.key" if by_key else "own_account.factor"))


@blueprint.route("/codes", methods=["GET", "POST"])
@allow(*EVERYBODY)
@unfit("what protects an account is its person's own")
def codes() -> str | Response | tuple[str, int]:
    """New recovery codes in place of the former ones."""

    def act() -> str:
        with transaction() as tx:
            made = factors.renew_codes(tx, accounts.person(tx, visitor().id))
        return render_template("own_account/codes.html", codes=made, enrolled=False)

    return _with_code("own_account/renew.html", act)


@blueprint.route("/factor/remove", methods=["GET", "POST"])
@allow(*EVERYBODY)
@unfit("what protects an account is its person's own")
def remove() -> str | Response | tuple[str, int]:
    """Do without a second factor again, where the role needs none."""
    if visitor().rules.due(visitor().role):
        raise WrongState("factor.needed", N_("您的角色必须使用两步验证；换手机时请选“更换验证器”"))

    def act() -> Response:
        with transaction() as tx:
            who = accounts.person(tx, visitor().id)
            factors.remove(tx, who)
            token = sessions.start_again(tx, who, visitor().session_id)
        access.begin(token)
        return done(_("已停用两步验证"), "own_account.index")

    return _with_code("own_account/remove.html", act)


@blueprint.route("/factors/<int:factor_id>/remove", methods=["GET", "POST"])
@allow(*EVERYBODY)
@unfit("what protects an account is its person's own")
def remove_one(factor_id: int) -> str | Response | tuple[str, int]:
    """Take away one of several factors."""
    row = factors.one(reading(), visitor().id, factor_id)

    def act() -> Response:
        with transaction() as tx:
            who = accounts.person(tx, visitor().id)
            factors.remove_one(tx, settings(), who, factor_id)
            token = sessions.start_again(tx, who, visitor().session_id)
        access.begin(token)
        return done(_("已删除，其他地方的登录已结束"), "own_account.index")

    return _with_code("own_account/remove_one.html", act, of=row, kinds=factors.KINDS)


def _with_code(template: str, act: Any, **context: Any) -> str | Response | tuple[str, int]:
    """A page that does ``act`` after a code of the factor that is there."""
    if not visitor().enrolled:
        flash(_("没有登记两步验证"), "warning")
        return redirect(url_for("own_account.index"))
    form = AnyCodeForm()

    def proven() -> str | Response:
        prove_again(key_asking.answered(form))
        return act()  # type: ignore[no-any-return]

    return answer(form, proven, lambda: render_template(template, form=form, **context), *HERE)


@blueprint.post("/sessions/<int:session_id>/end")
@allow(*EVERYBODY)
@unfit("what protects an account is its person's own")
def end(session_id: int) -> Response:
    """End one of the own sessions; nobody else's, whatever the role."""
    with transaction() as tx:
        sessions.end_own(tx, visitor().id, session_id)
    return done(_("已结束该登录"), "own_account.index")


@blueprint.post("/sessions/end")
@allow(*EVERYBODY)
@unfit("what protects an account is its person's own")
def end_others() -> Response:
    """End all own sessions but this one."""
    with transaction() as tx:
        who = accounts.person(tx, visitor().id)
        sessions.end_all(tx, who)
        token = sessions.start_again(tx, who, visitor().session_id)
    access.begin(token)
    return done(_("其他地方的登录已结束"), "own_account.index")


@frame.home_block(*EVERYBODY, order=0)
def _due(_tx: Tx, _actor: Actor) -> str | None:
    """Until when a second factor has to be enrolled, for those whose role needs one."""
    who = visitor()
    return render_template("own_account/_due.html", due=who.due, key=bool(who.key_due)) if who.due else None
