"""In and out: login, logout, the own password, the language, the look."""

from __future__ import annotations

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response as Answer
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from console import access, health
from console.access import EVERYBODY, allow, first, public, visitor
from console.accounts import accounts, admission, passwords, proofs, sessions
from console.book import actor, book, reading, settings, transaction
from console.errors import SECRET, again_after
from console.forms import answer, done
from console.frame import LOOKS
from console.programs import unfit
from console.security import local
from console.words import COOKIE, LANGUAGES, _, lazy, sentence
from quota.errors import NotAllowed, TooOften

blueprint = Blueprint("auth", __name__)

KEPT = "kept-"
"""Prefix of fields that were typed into another form before the session ended, carried through the login."""
Kept = list[tuple[str, str]]
YEAR_S = 365 * 24 * 3600


class LoginForm(FlaskForm):  # type: ignore[misc]
    login = StringField(lazy("登录名"), [InputRequired(lazy("请输入登录名")), Length(max=proofs.LOGIN_LENGTH)])
    password = PasswordField(lazy("密码"), [InputRequired(lazy("请输入密码")), Length(max=passwords.MAX_LENGTH)])
    next = HiddenField()


class PasswordForm(FlaskForm):  # type: ignore[misc]
    old = PasswordField(lazy("现在的密码"), [InputRequired(lazy("请输入现在的密码"))])
    password = PasswordField(
        lazy("新密码"),
        [InputRequired(lazy("请输入新密码"))],
        description=lazy("至少10个字符，含大写字母、小写字母、数字、符号中的至少3类；不能与最近5次相同"),
    )
    again = PasswordField(
        lazy("再输一次新密码"),
        [InputRequired(lazy("请再输一次新密码")), EqualTo("password", lazy("两次输入的新密码不同"))],
    )


@blueprint.route("/login", methods=["GET", "POST"])
@public
def login() -> str | Answer | tuple[str, int] | tuple[str, int, dict[str, str]]:
    if request.method == "GET" and current_user.is_authenticated:
        return redirect(local(request.args.get("next")))
    form = LoginForm(next=request.args.get("next", ""))
    kept = [(name, value) for name, value in request.form.items(multi=True) if name.startswith(KEPT)]
    if not form.validate_on_submit():
        return render_template("auth/login.html", form=form, kept=kept), 422 if form.errors else 200
    here = access.origin(form.login.data)
    try:
        proof = proofs.by_password(book(), settings(), form.login.data, form.password.data, here)
        admitted = admission.enter(book(), proof, here)
    except (NotAllowed, TooOften) as refused:
        form.password.errors = [sentence(refused.message, refused.params)]
        page = render_template("auth/login.html", form=form, kept=kept)
        return (page, 429, again_after(refused)) if isinstance(refused, TooOften) else (page, 422)
    return _let_in(admitted.token, form.next.data, kept)


def _let_in(token: str, target: str | None, kept: Kept) -> Answer:
    """Off to where somebody who was admitted wanted to go; to what they had typed there, where they had."""
    came = access.begin(token)
    target = local(target)
    if not kept:
        return access.known_again(redirect(target), came.login)
    fields = [(name.removeprefix(KEPT), value) for name, value in kept if name.removeprefix(KEPT) not in SECRET]
    page = make_response(render_template("auth/resume.html", target=target, typed=fields))
    return access.known_again(page, came.login)


@blueprint.post("/logout")
@allow(*EVERYBODY)
@first
@unfit("programs have no session")
def logout() -> Answer:
    with transaction() as tx:
        sessions.sign_out(tx, visitor().session_id)
    access.end()
    flash(_("您已退出"), "success")
    return redirect(url_for("auth.login"))


@blueprint.route("/password", methods=["GET", "POST"])
@allow(*EVERYBODY)
@first
@unfit("passwords are of people")
def password() -> str | Answer | tuple[str, int]:
    form = PasswordForm()

    def act() -> Answer:
        with transaction() as tx:
            who = accounts.person(tx, visitor().id)
            accounts.change_password(tx, who, form.old.data, form.password.data)
            token = sessions.start_again(tx, who, visitor().session_id)
        access.begin(token)
        return done(_("密码已修改，其他地方的登录已失效"), "home.index")

    def page() -> str:
        return render_template("auth/password.html", form=form, who=accounts.person(reading(), visitor().id))

    return answer(form, act, page)


@blueprint.get("/language/<code>")
@public
def language(code: str) -> Answer:
    answer = redirect(local(request.args.get("next")))
    if code in LANGUAGES:
        _remember(answer, COOKIE, code)
    return answer


@blueprint.get("/look/<name>")
@public
def look(name: str) -> Answer:
    answer = redirect(local(request.args.get("next")))
    if name in LOOKS:
        _remember(answer, "look", name)
    return answer


@blueprint.get("/readyz")
@public
def readyz() -> tuple[dict[str, object], int]:
    """For load balancers and whoever watches: 200 where the house can do its work, else 503 naming what is amiss."""
    found = health.ready(settings(), book())
    good = not any(found.values())
    return {"ready": good, "checks": {name: said or "ok" for name, said in found.items()}}, 200 if good else 503


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """For load balancers: 200 where the book can be read."""
    from sqlalchemy import select

    with book().reading(actor()) as tx:
        tx.execute(select(1))
    return Response("ok\n", mimetype="text/plain")


def _remember(answer: Answer, name: str, value: str) -> None:
    answer.set_cookie(name, value, max_age=YEAR_S, httponly=True, samesite="Lax", secure=settings().https)
