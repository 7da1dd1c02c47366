"""In and out by a source of identities: there and back, one's own links, and what a source says behind the browser's back."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, current_app, flash, jsonify, redirect, render_template, request, session, url_for
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response as Answer
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

from console import access
from console.access import EVERYBODY, allow, public, visitor
from console.accounts import Origin, admission, sessions, throttle
from console.book import book, reading, settings, transaction
from console.errors import again_after
from console.forms import answer
from console.identity import (
    Identity,
    IdentitySource,
    RedirectSource,
    SourceFault,
    arrivals,
    connections,
    departures,
    kinds,
    marks,
    rules,
    typed,
)
from console.pages.house import auth
from console.programs import unfit
from console.security import local, program
from console.words import _, lazy, sentence
from quota.actors import nobody
from quota.errors import N_, Conflict, NotAllowed, NotFound, TooOften, WrongState

blueprint = Blueprint("identity", __name__, url_prefix="/identity")

WAY = "identity"
"""In the browser's session: the way that it is on to a source and back."""
OFFERED = "identity_link"
"""The same: an identity that the visitor was asked to confirm as their own."""
MINUTES = 15
"""How long somebody may take at the source."""

Page = str | Answer | tuple[str, int] | tuple[str, int, dict[str, str]]


@blueprint.get("/<code>/go")
@public
def go(code: str) -> Page:
    """Off to the source; with ``link``, to link one's own account; with ``again``, to prove anew that one is still there; with
    ``silent``, for the source that a session came by to say by itself that it still knows one, once that is due."""
    source, target = connections.source(reading(), code), local(request.args.get("next"))
    asked = (bool(request.args.get(one)) and current_user.is_authenticated for one in ("link", "again", "silent"))
    linking, again, silent = asked
    silent = silent and source.active and access.due_again(visitor()) and _came_by(source)
    if current_user.is_authenticated and not (linking or again or silent):
        return redirect(target)
    source = _active(code)
    try:
        if again:
            _has_none_here()
        begun = _opened(source).begin(callback(code), _now() if again else 0, silent=silent)
    except SourceFault as fault:
        if silent:
            return _went_on(source, fault, target)
        return _failed(source, fault, linking or again)
    session[WAY] = {
        "source": code, "mark": secrets.token_hex(16), "kept": dict(begun.kept), "at": _now(),
        "next": target, "link": visitor().id if linking and not again else 0,
        "again": visitor().id if again else 0, "silent": visitor().id if silent and not (again or linking) else 0,
    }  # fmt: skip
    return redirect(begun.address)


@blueprint.get("/<code>/back")
@public
def back(code: str) -> Page:
    """Back from the source: in, or asked whether this identity is one's own."""
    source = _active(code)
    way, here = session.pop(WAY, None), access.origin()
    linking = bool(way and (way["link"] or way["again"]))
    if way and way["silent"]:
        return _heard(source, way, here)
    try:
        identity = _identified(source, way, here)
        if way and way["again"]:
            return _proven(source, identity, way["again"])
        if linking:
            return _offered(source, identity, way["link"])
        proof = arrivals.arrive(book(), source.id, departures.sealed(settings(), identity), here)
        admitted = admission.enter(book(), settings(), proof, here)
    except SourceFault as fault:
        return _failed(source, fault, linking)
    except TooOften as refused:
        return auth.page(auth.LoginForm(), sentence(refused.message, refused.params)), 429, again_after(refused)
    except NotAllowed as refused:
        return auth.page(auth.LoginForm(), sentence(refused.message, refused.params)), 403
    return auth.come_in(proof, admitted, way["next"], [])


def _identified(source: IdentitySource, way: dict[str, Any] | None, here: Origin) -> Identity:
    """Who came back. Each try to come back counts for the address, so that nobody has the source asked at will; the way is used
    up whatever comes of it. Raises SourceFault, TooOften."""
    gauges = throttle.of_address(settings(), WAY, here)
    with book().transaction(nobody(here.address, here.request_id)) as tx:
        waiting = throttle.take(tx, gauges)
    if waiting:
        raise throttle.too_often(waiting)
    if way is None or way["source"] != source.code or _now() - way["at"] > MINUTES * 60:
        raise SourceFault("stale", "way")
    with book().transaction(nobody(here.address, here.request_id)) as tx:
        fresh = marks.use(tx, f"way\n{way['mark']}", _until())
    if not fresh:
        raise SourceFault("stale", "used")
    found = _opened(source).finish(way["kept"], request.args.to_dict(), callback(source.code), _now())
    with book().transaction(nobody(here.address, here.request_id)) as tx:
        throttle.give_back(tx, gauges)
    return found


def _proven(source: IdentitySource, identity: Identity, person_id: int) -> Page:
    """Somebody who is logged in proved anew to be there. What they were about to do waits in the window that they came from."""
    if not current_user.is_authenticated or visitor().id != person_id:
        raise SourceFault("stale", "visitor")
    _has_none_here()
    with transaction() as tx:
        if not arrivals.is_of(tx, source.id, identity, person_id):
            raise SourceFault("answer", "another person")
        if visitor().twice and not arrivals.twice(tx, source.id, identity):
            raise SourceFault("once")
        arrivals.came_anew(tx, source, departures.sealed(settings(), identity), visitor().session_id)
        sessions.proven(tx, visitor().session_id, "")
    return render_template("identity/proven.html", source=source)


def _has_none_here() -> None:
    """Who enrolled a second factor proves by it to be there: another login at the source is less. Raises SourceFault."""
    if visitor().enrolled:
        raise SourceFault("enrolled")


def _heard(source: IdentitySource, way: dict[str, Any], here: Origin) -> Answer:
    """The source was asked without a word whether it still knows somebody who works here. Where it doesn't, they leave; where it
    doesn't answer, they go on, for as long as ``sessions.GRACE_MINUTES``."""
    try:
        identity = departures.sealed(settings(), _identified(source, way, here))
    except TooOften:
        return redirect(way["next"])
    except SourceFault as fault:
        if fault.code != "away":
            return _went_on(source, fault, way["next"])
        identity = None
    if not current_user.is_authenticated or visitor().id != way["silent"] or not _came_by(source):
        return redirect(way["next"])
    if identity is None:
        return _left(source, here)
    with transaction() as tx:
        known = arrivals.heard_again(tx, source, identity, visitor().session_id, visitor().id)
    return redirect(way["next"]) if known else _left(source, here)


def _came_by(source: IdentitySource) -> bool:
    """Whether the session that is shown came by this source."""
    came = arrivals.came_by(reading(), visitor().session_id)
    return came is not None and came.source_id == source.id


def _left(source: IdentitySource, here: Origin) -> Answer:
    """Whoever the source does not know any more leaves here, too, by its word."""
    departures.away(book(), source, visitor().session_id, here.address)
    access.end()
    flash(_("您在%(source)s的登录已结束，请重新登录", source=source.name), "warning")
    return redirect(url_for("auth.login"))


def _went_on(source: IdentitySource, fault: SourceFault, target: str) -> Answer:
    """A source that can't be asked just now holds nobody up; that it couldn't is recorded."""
    auth.noted(source, fault)
    session[access.ASKED] = _now()
    return redirect(target)


def _offered(source: IdentitySource, identity: Identity, person_id: int) -> Page:
    """Ask before linking: whoever sent this browser to the source may have been somebody else's page."""
    if not current_user.is_authenticated or visitor().id != person_id:
        raise SourceFault("stale", "visitor")
    session[OFFERED] = {
        "source": source.code, "issuer": identity.issuer, "subject": identity.subject, "person": person_id, "at": _now(),
    }  # fmt: skip
    usual = kinds.kind(source.kind)
    told = [one for claim in (usual.name, usual.login) for one in rules.values(identity.claims, claim)[:1]]
    return render_template("identity/confirm.html", source=source, identity=identity, told=" · ".join(told)[:200])


@blueprint.post("/confirm")
@allow(*EVERYBODY)
@unfit("programs come by tokens")
def confirm() -> Answer:
    """Link the identity that was offered."""
    offer = session.pop(OFFERED, None)
    if offer is None or offer["person"] != visitor().id or _now() - offer["at"] > MINUTES * 60:
        raise Conflict("identity.offer", N_("关联的请求已过期,请重新开始"))
    source = _active(offer["source"])
    arrivals.link_own(book(), source.id, Identity(offer["issuer"], offer["subject"]), visitor().id, access.origin())
    flash(_("已关联：%(name)s", name=source.name), "success")
    return redirect(url_for("identity.own"))


@blueprint.get("/")
@allow(*EVERYBODY)
def own() -> str:
    """By which ways one may come in."""
    tx = reading()
    links = arrivals.own_links(tx, visitor().id)
    sources = connections.sources(tx, active=True)
    typed_at = {one.code for one in typed.split(sources)[1]}
    return render_template("identity/own.html", sources=sources, links=links, typed_at=typed_at)


class EnterForm(FlaskForm):  # type: ignore[misc]
    login = StringField(lazy("登录名"), [InputRequired(lazy("请输入登录名")), Length(max=64)])
    password = PasswordField(lazy("密码"), [InputRequired(lazy("请输入密码")), Length(max=256)])


@blueprint.route("/<code>/enter", methods=["GET", "POST"])
@allow(*EVERYBODY)
@unfit("programs come by tokens")
def enter(code: str) -> Page:
    """Link one's own account by the password of a directory."""
    source = typed.offered(reading(), code)
    form = EnterForm()

    def act() -> Answer:
        here = access.origin()
        try:
            identity = typed.identified(book(), settings(), source, form.login.data, form.password.data, here)
        except SourceFault as fault:
            auth.noted(source, fault)
            raise auth.silent(source, fault) from None
        arrivals.link_own(book(), source.id, identity, visitor().id, here)
        flash(_("已关联：%(name)s", name=source.name), "success")
        return redirect(url_for("identity.own"))

    def page() -> str:
        return render_template("identity/enter.html", form=form, source=source)

    return answer(form, act, page, NotAllowed, WrongState, TooOften)


@blueprint.post("/<code>/unlink")
@allow(*EVERYBODY)
@unfit("programs come by tokens")
def unlink(code: str) -> Answer:
    with transaction() as tx:
        link = arrivals.own_links(tx, visitor().id).get(connections.source(tx, code).id)
        if link is None:
            raise NotFound("identity.no_link", N_("您的账号没有关联该身份源"))
        arrivals.unlink(tx, link)
    access.end()
    flash(_("已取消关联，请重新登录"), "success")
    return redirect(url_for("auth.login"))


@blueprint.post("/<code>/departed")
@public
@program
def departed(code: str) -> Answer:
    """The source says that somebody left: OpenID Connect Back-Channel Logout 1.0, single logout of CAS."""
    return _departed(code)


@blueprint.post("/<code>/back")
@public
@program
def departed_here(code: str) -> Answer:
    """The same at the way back: CAS says it to the service that the ticket was for, where it was told no other address."""
    return _departed(code)


def _departed(code: str) -> Answer:
    here = access.origin()
    gauges = throttle.of_address(settings(), "departed", here)
    with book().reading(nobody(here.address)) as tx:
        source = connections.source(tx, code)
        waiting = throttle.wait(tx, gauges)
    if waiting:
        return _program({"error": "slow_down"}, 429)
    try:
        departures.departed(book(), settings(), source, request.form.to_dict(), here.address)
    except SourceFault as fault:
        current_app.logger.info("identity source %s: a departure was refused: %s %s", code, fault.code, fault.said)
        with book().transaction(nobody(here.address, here.request_id)) as tx:
            throttle.take(tx, gauges)
        return _program({"error": "invalid_request", "error_description": fault.code}, 400)
    return _program({}, 200)


def _program(content: dict[str, str], status: int) -> Answer:
    answer = jsonify(content)
    answer.status_code = status
    return answer


def callback(code: str) -> str:
    """Where the source sends people back to, as it has to be registered there."""
    return absolute(url_for("identity.back", code=code))


def absolute(path: str) -> str:
    """``path`` as people reach it from outside."""
    return (settings().public_url or request.url_root).rstrip("/") + path


def _active(code: str) -> IdentitySource:
    found = connections.source(reading(), code)
    if not found.active:
        raise NotFound("identity.off", N_("身份源%(name)s已停用"), name=found.name)
    return found


def _opened(source: IdentitySource) -> RedirectSource:
    found = connections.opened(book(), settings(), source)
    if not isinstance(found, RedirectSource):
        raise SourceFault("answer", source.kind)
    return found


def _failed(source: IdentitySource, fault: SourceFault, linking: bool) -> Page:
    """The login page with the fault's sentence above a form that works all the same; the trail has what was said."""
    auth.noted(source, fault)
    said = _("%(source)s：%(fault)s", source=source.name, fault=sentence(fault.message))
    if linking and current_user.is_authenticated:
        flash(said, "danger")
        return redirect(url_for("identity.own"))
    return auth.page(auth.LoginForm(), said), 502


def _now() -> int:
    return int(book().clock().timestamp())


def _until() -> datetime:
    """When a way would be refused for its age."""
    return book().clock() + timedelta(minutes=2 * MINUTES)
