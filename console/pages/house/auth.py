"""In and out: login, logout, the own password, the language, the look."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response as Answer
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from console import access
from console.access import EVERYBODY, allow, first, public, visitor
from console.accounts import accounts, passwords
from console.book import actor, book, reading, settings, transaction
from console.errors import SECRET
from console.forms import answer, done
from console.frame import LOOKS
from console.security import local
from console.words import COOKIE, LANGUAGES, _, lazy, sentence
from quota.errors import NotAllowed

blueprint = Blueprint("auth", __name__)

KEPT = "kept-"
"""Prefix of fields that were typed into another form before the session ended, carried through the login."""
YEAR_S = 365 * 24 * 3600


class LoginForm(FlaskForm):  # type: ignore[misc]
    login = StringField(lazy("登录名"), [InputRequired(lazy("请输入登录名")), Length(max=accounts.LOGIN_LENGTH)])
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
def login() -> str | Answer | tuple[str, int]:
    if request.method == "GET" and current_user.is_authenticated:
        return redirect(local(request.args.get("next")))
    form = LoginForm(next=request.args.get("next", ""))
    kept = [(name, value) for name, value in request.form.items(multi=True) if name.startswith(KEPT)]
    if not form.validate_on_submit():
        return render_template("auth/login.html", form=form, kept=kept), 422 if form.errors else 200
    try:
        person_id = accounts.sign_in(
            book(), settings(), form.login.data, form.password.data, actor().address, actor().request_id
        )
    except NotAllowed as refused:
        form.password.errors = [sentence(refused.message, refused.params)]
        return render_template("auth/login.html", form=form, kept=kept), 422
    access.begin(person_id)
    target = local(form.next.data)
    if kept:
        fields = [(name.removeprefix(KEPT), value) for name, value in kept if name.removeprefix(KEPT) not in SECRET]
        return render_template("auth/resume.html", target=target, typed=fields)
    return redirect(target)


@blueprint.post("/logout")
@allow(*EVERYBODY)
@first
def logout() -> Answer:
    with transaction() as tx:
        accounts.sign_out(tx, accounts.person(tx, visitor().id))
    access.end()
    flash(_("您已退出"), "success")
    return redirect(url_for("auth.login"))


@blueprint.route("/password", methods=["GET", "POST"])
@allow(*EVERYBODY)
@first
def password() -> str | Answer | tuple[str, int]:
    form = PasswordForm()

    def act() -> Answer:
        with transaction() as tx:
            accounts.change_password(tx, accounts.person(tx, visitor().id), form.old.data, form.password.data)
        access.begin(visitor().id)
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
