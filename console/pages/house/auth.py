"""In and out: login, logout, the own password, the language, the look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import (
    Blueprint,
    Response,
    current_app,
    flash,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response as Answer
from wtforms import Field, HiddenField, PasswordField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import EqualTo, InputRequired, Length

from console import access, health
from console.access import EVERYBODY, allow, first, public, visitor
from console.accounts import Origin, accounts, admission, factors, passwords, proofs, sessions, throttle
from console.book import actor, book, reading, settings, transaction
from console.errors import SECRET, again_after
from console.forms import answer, done
from console.frame import LOOKS
from console.identity import IdentityLink, IdentitySource, SourceFault, arrivals, connections, departures, typed
from console.pages.house import key_asking
from console.programs import unfit
from console.security import local
from console.words import COOKIE, LANGUAGES, _, lazy, sentence
from quota.actors import steward
from quota.errors import N_, NotAllowed, NotFound, TooOften

blueprint = Blueprint("auth", __name__)

KEPT = "kept-"
"""Prefix of fields that were typed into another form before the session ended, carried through the login."""
Kept = list[tuple[str, str]]
Refusal = tuple[str, int, dict[str, str]]
YEAR_S = 365 * 24 * 3600


class LoginForm(FlaskForm):  # type: ignore[misc]
    login = StringField(lazy("登录名"), [InputRequired(lazy("请输入登录名")), Length(max=proofs.LOGIN_LENGTH)])
    password = PasswordField(lazy("密码"), [InputRequired(lazy("请输入密码")), Length(max=passwords.MAX_LENGTH)])
    source = SelectField(lazy(N_("账号")), choices=[], default="", validate_choice=False)
    next = HiddenField()

    def offer(self, typed_at: Sequence[IdentitySource]) -> LoginForm:
        """The accounts whose password may be typed: of the house, of directories. There is nothing to choose without any."""
        self.source.choices = [
            SelectChoice("", _("本系统的账号")), *(SelectChoice(one.code, one.name) for one in typed_at)
        ]  # fmt: skip
        if not typed_at:
            del self.source
        elif not self.is_submitted():
            self.source.data = typed_at[0].code
        return self


class SecondForm(FlaskForm):  # type: ignore[misc]
    passcode = StringField(
        lazy("验证码"),
        [key_asking.Unless(lazy("请输入验证码")), Length(max=64)],
        description=lazy("验证器上的6位数字；手机不在身边时，输入一个恢复码"),
    )
    credential = HiddenField()
    next = HiddenField()


class ProofForm(FlaskForm):  # type: ignore[misc]
    passcode = PasswordField(lazy("密码"))
    credential = HiddenField()
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
def login() -> str | Answer | tuple[str, int] | Refusal:
    if request.method == "GET" and current_user.is_authenticated:
        return redirect(local(request.args.get("next")))
    form = LoginForm(next=request.args.get("next", ""))
    kept = _kept()
    if not form.validate_on_submit():
        return page(form, kept=kept), 422 if form.errors else 200
    here = access.origin(form.login.data)
    try:
        proof = _proof(form, here)
        admitted = admission.enter(book(), settings(), proof, here)
    except SourceFault as fault:
        return page(form, sentence(fault.message), kept), 502
    except (NotAllowed, NotFound, TooOften) as refused:
        ways, typed_at = typed.split(connections.sources(reading(), active=True))
        return _refused(form.offer(typed_at), form.password, refused, "auth/login.html", kept=kept, sources=ways)
    return come_in(proof, admitted, form.next.data, kept)


def _proof(form: LoginForm, here: Origin) -> proofs.Proof:
    """Who typed login and password: of the house, or of the directory that was chosen. Raises NotAllowed, NotFound, TooOften,
    SourceFault."""
    chosen = request.form.get("source", "")
    if not chosen:
        return proofs.by_password(book(), settings(), form.login.data, form.password.data, here)
    source = typed.offered(reading(), chosen)
    try:
        identity = typed.identified(book(), settings(), source, form.login.data, form.password.data, here)
    except SourceFault as fault:
        noted(source, fault)
        raise
    return arrivals.arrive(book(), source.id, identity, here)


def noted(source: IdentitySource, fault: SourceFault) -> None:
    """The trail has that a source failed, once a minute for each fault and address; the log, each time and what was said."""
    here = access.origin()
    current_app.logger.warning("identity source %s: %s %s", source.code, fault.code, fault.said)
    with book().transaction(steward("identity", here.address)) as tx:
        if throttle.first(tx, "identity.fail", str(source.id), fault.code, throttle.network(here.address)):
            tx.audit("identity.fail", f"identity_source:{source.id}", after={"fault": fault.code})


def come_in(proof: proofs.Proof, admitted: admission.Admission, target: str | None, kept: Kept) -> Answer:
    """What follows an admission, however the person was proven: the session begins, or the second factor is asked for."""
    if admitted.token:
        return let_in(admitted.token, target, kept)
    session.clear()
    g.pop("csrf_token", None)
    session[PENDING] = [proof.person_id, proof.method, proof.epoch, proof.outside, proof.good_for,
                        int(book().clock().timestamp())]  # fmt: skip
    form = SecondForm(formdata=None, next=target or "")
    return make_response(render_template("auth/second.html", form=form, kept=kept, person_id=proof.person_id))


PENDING = "first-proof"
PENDING_S = 300
"""How long the second proof may follow the first."""


@blueprint.route("/login/second", methods=["GET", "POST"])
@public
@unfit("a proof that somebody is there")
def second() -> str | Answer | tuple[str, int] | Refusal:
    """The second proof of somebody whose first one was taken a moment ago."""
    first_proof = _pending()
    if first_proof is None:
        flash(_("登录已过期，请重新输入密码"), "warning")
        return redirect(
            url_for("auth.login", next=local(request.values.get("next")) if request.values.get("next") else None)
        )
    form = SecondForm()
    kept = _kept()
    if not form.validate_on_submit():
        person_id = first_proof.person_id
        return render_template(
            "auth/second.html", form=form, kept=kept, person_id=person_id
        ), 422 if form.errors else 200
    here = access.origin()
    try:
        answer = key_asking.answered(form)
        kind = factors.prove(book(), settings(), first_proof.person_id, answer, here, key_asking.asked(answer))
        proof = replace(first_proof, factor=kind)
        admitted = admission.enter(book(), settings(), proof, here)
    except (NotAllowed, TooOften) as refused:
        return _refused(form, form.passcode, refused, "auth/second.html", kept=kept, person_id=first_proof.person_id)
    return come_in(proof, admitted, form.next.data, kept)


def _pending() -> proofs.Proof | None:
    """The first proof that waits for a second, as this browser's signed session has it."""
    held = session.get(PENDING)
    if not isinstance(held, list) or len(held) != 6:
        return None
    person_id, method, epoch, outside, good_for, at = held
    if not 0 <= int(book().clock().timestamp()) - at <= PENDING_S:
        return None
    return proofs.Proof(person_id, method, epoch, outside=outside, good_for=good_for)


def _kept() -> Kept:
    """What was typed into another form before it had to be proven who is there."""
    return [(name, value) for name, value in request.form.items(multi=True) if name.startswith(KEPT)]


def _refused(
    form: FlaskForm, field: Field, refused: NotAllowed | NotFound | TooOften, template: str, **context: Any
) -> Refusal:
    """The form again, with what was refused beside ``field``."""
    field.errors = [sentence(refused.message, refused.params)]
    page = render_template(template, form=form, **context)
    return (page, 429, again_after(refused)) if isinstance(refused, TooOften) else (page, 422, {})


@blueprint.post("/prove")
@allow(*EVERYBODY)
@unfit("a proof that somebody is there")
def prove() -> str | Answer | Refusal:
    """That whoever sits there is still the person of this session: asked for before acts that weigh."""
    who, form = visitor(), ProofForm()
    typed_there = [(name.removeprefix(KEPT), value) for name, value in _kept() if name.removeprefix(KEPT) not in SECRET]
    target = local(form.next.data)
    ways = arrivals.ways_again(reading(), who.id)
    if not key_asking.answered(form):
        if ways and not who.enrolled and access.fresh(who):  # proven in another window, by the source of this identity
            return render_template("auth/resume.html", target=target, typed=typed_there, proven=True)
        form.passcode.errors = [_("请输入验证码") if who.enrolled else _("请输入密码")]
        return (
            render_template("auth/prove.html", form=form, typed=typed_there, target=target, who=who, ways=ways), 422, {},
        )  # fmt: skip
    try:
        kind = prove_again(key_asking.answered(form))
    except (NotAllowed, TooOften) as refused:
        return _refused(
            form, form.passcode, refused, "auth/prove.html", typed=typed_there, target=target, who=who, ways=ways
        )
    with transaction() as tx:
        sessions.proven(tx, who.session_id, kind)
    return render_template("auth/resume.html", target=target, typed=typed_there, proven=True)


blueprint.add_app_template_global(key_asking.shown, "key_asked")


def prove_again(answer: str) -> str:
    """The kind of factor by which the person of this session proves to be there; empty for the password, which is asked of
    those who enrolled no factor. Raises NotAllowed, TooOften."""
    who, here = visitor(), access.origin()
    if who.enrolled:
        kind = factors.prove(book(), settings(), who.id, answer, here, key_asking.asked(answer))
        key_asking.done()
        return kind
    if who.twice:  # a password alone would be less than what let this session in
        raise NotAllowed("proof.source", N_("您经身份源两步验证登录，请到身份源再次核验"))
    link = arrivals.directory(reading(), who.session_id)
    if link is not None:
        return _proven_at(link.source, link, answer, here)
    proofs.again_by_password(book(), settings(), who.id, answer, here)
    return ""


def _proven_at(source: IdentitySource, link: IdentityLink, password: str, here: Origin) -> str:
    """The password of the directory that one came by. Raises NotAllowed, TooOften."""
    try:
        identity = typed.again(book(), settings(), source, link, password, here)
    except SourceFault as fault:
        noted(source, fault)
        raise silent(source, fault) from None
    if not arrivals.is_of(reading(), source.id, identity, link.person_id):
        raise NotAllowed("login.wrong", proofs.WRONG)
    return ""


def silent(source: IdentitySource, fault: SourceFault) -> NotAllowed:
    """That a source kept somebody from proving who they are."""
    return NotAllowed("identity.silent", N_("%(source)s：%(fault)s"), source=source.name, fault=sentence(fault.message))


def page(form: LoginForm, wrong: str = "", kept: Kept | None = None) -> str:
    """The login page: the ways to come by sources, above the form for a password, of the house or of a directory; ``wrong``: what went wrong with one."""
    ways, typed_at = typed.split(connections.sources(reading(), active=True))
    return render_template("auth/login.html", form=form.offer(typed_at), kept=kept or [], sources=ways, wrong=wrong)


def let_in(token: str, target: str | None, kept: Kept) -> Answer:
    """Off to where somebody who was admitted wanted to go; to what they had typed there, where they had."""
    came = access.begin(token)
    target = local(target)
    if not kept:
        return access.known_again(redirect(target), came.login)
    fields = [(name.removeprefix(KEPT), value) for name, value in kept if name.removeprefix(KEPT) not in SECRET]
    resumed = make_response(render_template("auth/resume.html", target=target, typed=fields))
    return access.known_again(resumed, came.login)


@blueprint.post("/logout")
@allow(*EVERYBODY)
@first
@unfit("programs have no session")
def logout() -> str | Answer:
    """Leave here, and go on to leave where one came from. A form may be redirected nowhere else than within the house (the
    content security policy), so a page leads there."""
    with transaction() as tx:
        came_by = departures.closed(tx, visitor().session_id)
        sessions.sign_out(tx, visitor().session_id)
    access.end()
    if came_by is not None:
        home = (settings().public_url or request.url_root).rstrip("/") + url_for("auth.login")
        onward = departures.onward(book(), settings(), *came_by, home)
        if onward:
            return render_template("identity/onward.html", source=came_by[0], onward=onward)
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

    def shown() -> str:
        return render_template("auth/password.html", form=form, who=accounts.person(reading(), visitor().id))

    return answer(form, act, shown)


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
