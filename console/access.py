"""Who may open what: every view says so, and what says nothing stays shut.

``@allow(Role.SUPERVISOR, …)`` or ``@public`` on each view; a request for anything else is refused before the view
runs, and a test walks all routes. Sessions end when idle, when old, and when the
account is closed or its rights change.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from flask import Flask, Response, current_app, flash, g, redirect, render_template, request, session, url_for
from flask_login import AnonymousUserMixin, LoginManager, UserMixin, current_user, login_user, logout_user
from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import Select, select
from sqlalchemy.exc import OperationalError
from werkzeug.wrappers import Response as Answer

from console.accounts import Origin, SignIn, access_rules, admission, factors, proofs, security_keys, sessions, throttle
from console.book import book, reading, settings
from console.errors import Denied, typed
from console.identity import IdentitySource, arrivals
from console.programs import asked
from console.security import local, same_origin
from console.words import _
from quota import resource_classes
from quota.actors import HELD, Actor, Role, nobody
from quota.db import Tx
from quota.directory import CloudProvider, Department, Person
from quota.errors import N_, NoRoom, NotAllowed

View = TypeVar("View", bound=Callable[..., Any])
Weighing = Callable[[Mapping[str, Any]], bool]
"""By the parts of an address: whether what is done there weighs."""

EVERYBODY = HELD
BUSINESS = (Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT, Role.PROVIDER, Role.AUDITOR)
"""Those who have to do with quota and its use: all but the three administrators."""
STEWARDS = (Role.AUTHORITY, Role.SUPERVISOR, Role.AUDITOR)
"""Those who see the whole city."""

_RULE = "guanjia_access"
PROVEN = "guanjia_proven"
SEEN_EVERY_S = 20


def allow(*roles: Role) -> Callable[[View], View]:
    """Only people with one of ``roles`` may open the view."""
    if not roles or not set(roles) <= set(HELD):
        raise ValueError("say which roles may open the view; EVERYBODY for all who have logged in")

    def mark(view: View) -> View:
        setattr(view, _RULE, frozenset(roles))
        return view

    return mark


def public(view: View) -> View:
    """Anybody may open the view, logged in or not."""
    setattr(view, _RULE, frozenset())
    return view


def rule(app: Flask, endpoint: str) -> frozenset[Role] | None:
    """Roles that may open ``endpoint``; empty for public; None where the view does not say."""
    if endpoint == "static":
        return frozenset()
    found: frozenset[Role] | None = getattr(app.view_functions[endpoint], _RULE, None)
    return found


def may(endpoint: str) -> bool:
    """Whether the visitor may open ``endpoint``; False for endpoints that do not exist. For links and buttons."""
    if endpoint not in current_app.view_functions:
        return False
    roles = rule(current_app, endpoint)
    if not roles:
        return roles is not None
    visitor = current_user._get_current_object()  # a menu asks for each of its pages
    return visitor.is_authenticated and visitor.role in roles


@dataclass(frozen=True, slots=True)
class Visitor(UserMixin):  # type: ignore[misc]
    """Somebody who has logged in. ``session_id``: the session of this browser; ``token`` is what it is known by."""

    id: int
    token: str
    session_id: int
    seen_at: datetime
    proven_at: datetime
    login: str
    name: str
    role: Role
    department_id: int | None
    department: str
    provider_id: int | None
    provider: str
    must_change: bool
    service: bool  # a program with an account of its own
    enrolled: bool  # a second factor
    keyed: bool  # a security key among them
    twice: bool  # proven by two factors at the source that this session came by
    again_at: datetime | None  # when that source is asked anew whether it knows them
    unheard_at: datetime | None  # since when they work without its answer that was due
    rules: access_rules.AccessRules = field(compare=False)

    @property
    def due(self) -> datetime | None:
        """From when on nothing opens without a second factor that is not enrolled yet; None: nothing is due, as of a service, which
        has no way to enrol one: two administrators let its token in."""
        second = None if self.enrolled or self.twice or self.service else self.rules.due(self.role)
        return min(filter(None, (second, self.key_due)), default=None)

    @property
    def key_due(self) -> datetime | None:
        """The same of a security key, where the role needs one."""
        return None if self.keyed or self.service else self.rules.key_due(self.role)

    def get_id(self) -> str:
        return self.token

    def actor(self, address: str = "", request_id: str = "") -> Actor:
        return Actor(
            self.login, self.name, self.role, self.department_id, self.provider_id, address, request_id, self.service
        )  # fmt: skip


class Stranger(AnonymousUserMixin):  # type: ignore[misc]
    """Somebody who has not."""

    role = None


def visitor() -> Visitor:
    """The person of this request; only in views that are not public."""
    found: Visitor = current_user._get_current_object()
    return found


def _accounts(*more: Any) -> Select[Any]:
    """Accounts with what a visitor is made of, then ``more``."""
    return (
        select(
            Person, Department.name, CloudProvider.name,
            resource_classes.stamp(), access_rules.newest(), factors.confirmed(Person.id),
            factors.keyed(Person.id), *more,
        )
        .outerjoin(Department, Department.id == Person.department_id)
        .outerjoin(CloudProvider, CloudProvider.id == Person.provider_id)
    )  # fmt: skip


def _visitor(tx: Tx, account: Sequence[Any], held: SignIn | None, token: str = "") -> Visitor | None:
    """The visitor of a row of ``_accounts``; ``held``: the session that is shown, None for a program. None where the account is
    closed."""
    who, department, provider, classes, ruled, enrolled, keyed = account
    book().look_at_classes(classes)
    if not who.active or not who.granted:
        return None
    rules, must_change = access_rules.of(ruled), who.must_change
    if held is not None:
        # Who came by another way has typed no password that would have to be changed.
        aged = rules.too_old(who.password_changed_at, book().clock())
        must_change = (who.must_change or aged) and held.method == proofs.PASSWORD
    if rules.key_due(Role(who.role)) is not None:
        # A key that is bound to where the house was reached once is none; where none can be used at all, none is waited for.
        usable = bool(security_keys.bound_to(settings().public_url))
        keyed = not usable or (keyed and factors.has_key(tx, settings(), who.id))
    twice = held is not None and held.factor == proofs.AT_SOURCE
    session_id, seen, proven = (held.id, held.seen_at, held.proven_at) if held is not None else (0, NEVER, NEVER)
    again_at, unheard_at = (held.again_at, held.unheard_at) if held is not None else (None, None)
    return Visitor(
        who.id, token, session_id, seen, proven, who.login, who.name, Role(who.role),
        who.department_id, department or "", who.provider_id, provider or "", must_change, who.service, enrolled, keyed, twice,
        again_at, unheard_at, rules,
    )  # fmt: skip


def _load(token: str) -> Visitor | None:
    with book().reading(nobody()) as tx:
        query = _accounts(SignIn).join(SignIn, SignIn.person_id == Person.id)
        row = tx.execute(query.where(SignIn.digest == sessions.digest(token))).one_or_none()
        if row is None:
            return None
        *account, held = row
        if held.ended_at or account[0].session_epoch != held.epoch:
            return None
        return _visitor(tx, account, held, token)


def origin(login: str = "") -> Origin:
    """Where this request comes from; for ``login``, whether by a browser that it was logged in with before."""
    return Origin(
        request.remote_addr or "",
        g.get("request_id", ""),
        request.user_agent.string[:200],
        _device()[0] if login and throttle.mark(login) in _device()[1] else "",
    )


DEVICE = "guanjia-device"
"""The cookie by which a browser is known again: signed, with the marks of the accounts that were logged in with it."""
DEVICE_ACCOUNTS = 8


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings().key(), salt=DEVICE)


def _device() -> tuple[str, list[str]]:
    """(the browser's own mark, the accounts that it is known to); a new one for a browser that is not known."""
    try:
        age = throttle.KNOWN_DAYS * 24 * 3600
        name, accounts = _serializer().loads(request.cookies.get(DEVICE, ""), max_age=age)
        return str(name), [str(one) for one in accounts]
    except (BadData, ValueError, TypeError):
        return secrets.token_hex(8), []


def known_again(answer: Answer, login: str) -> Answer:
    """``answer`` with the cookie by which this browser is known to ``login`` from now on."""
    name, known = _device()
    account = throttle.mark(login)
    kept = [account, *(one for one in known if one != account)][:DEVICE_ACCOUNTS]
    answer.set_cookie(
        DEVICE, _serializer().dumps([name, kept]), max_age=throttle.KNOWN_DAYS * 24 * 3600,
        httponly=True, samesite="Lax", secure=settings().https, path="/login",
    )  # fmt: skip
    return answer


def stand_in(person_id: int, by: str) -> bool:
    """Have this request be the person's without a session; ``by`` says what the person is known by. False where the account is
    closed."""
    with book().reading(nobody()) as tx:
        row = tx.execute(_accounts().where(Person.id == person_id)).one_or_none()
        found = None if row is None else _visitor(tx, row, None)
    if found is None:
        return False
    g.acting_by = by
    current_app.login_manager._update_request_context_with_user(found)  # type: ignore[attr-defined]
    return True


NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""When a program was last asked to prove in person who it acts for."""


def begin(token: str) -> Visitor:
    """Have this browser hold the session of ``token`` in place of whatever session there was."""
    session.clear()
    g.pop("csrf_token", None)  # made for the session that was
    loaded = _load(token)
    if loaded is None:
        raise Denied(EVERYBODY)
    session["started"] = session["seen"] = _now()
    login_user(loaded)
    return loaded


def end() -> None:
    """Forget this session."""
    logout_user()
    session.clear()


def _now() -> int:
    return int(book().clock().timestamp())


def _expire() -> None:
    """End a session that was idle or open for too long."""
    if "_user_id" not in session:
        return
    now, limits = _now(), settings()
    started, seen = session.get("started", 0), session.get("seen", 0)
    if now - seen > limits.idle_minutes * 60:
        end()
        flash(_("您已超过%(minutes)s分钟没有操作，请重新登录", minutes=limits.idle_minutes), "warning")
    elif now - started > limits.session_hours * 3600:
        end()
        flash(_("登录已满%(hours)s小时，请重新登录", hours=limits.session_hours), "warning")
    elif current_user.is_authenticated and _unheard(visitor()):
        end()
        flash(_("身份源没有再次确认您的身份，请重新登录"), "warning")
    elif now - seen > SEEN_EVERY_S and not request.headers.get("X-Background"):
        session["seen"] = now
        _touch()


def _unheard(who: Visitor) -> bool:
    """Whether somebody has worked too long in this session without the answer of its source that was due. Nobody's absence counts,
    nor what their browser fetches by itself: it is there to be asked when they are back."""
    if request.headers.get("X-Background"):
        return False  # it ends nothing and shows nothing any more: see _held_up
    if who.unheard_at is not None:
        return _overdue(who) and request.endpoint not in WAY and not (_never_asked(who) and _asked_at(who))
    if due_again(who):
        with contextlib.suppress(NoRoom, OperationalError), book().transaction(nobody()) as tx:
            sessions.unheard(tx, who.session_id)
    return False


def _overdue(who: Visitor) -> bool:
    grace = timedelta(minutes=sessions.GRACE_MINUTES)
    return who.unheard_at is not None and who.unheard_at + grace <= book().clock()


WAY = ("identity.go", "identity.back")
"""There and back: what the source says is heard at the end of it."""


def _never_asked(who: Visitor) -> bool:
    """Whether this browser was not sent to the source since its answer was due: somebody sent a form, say, and went for lunch."""
    return who.unheard_at is not None and session.get(ASKED, 0) < int(who.unheard_at.timestamp())


def due_again(who: Visitor) -> bool:
    """Whether the source of this session is to be asked anew whether it knows its person."""
    return who.again_at is not None and who.again_at <= book().clock()


ASKED = "identity_asked"
"""In the browser's session: when it was last sent to its source to be asked for silently."""
ASK_EVERY_S = 300


def _asked_again(who: Visitor) -> Response | None:
    """Have the source of this session be asked whether it still knows its person, by way of the browser: on opening a page, and
    once in a while where it does not answer. What somebody typed is never in the way of it."""
    if not due_again(who) or _now() - session.get(ASKED, 0) < ASK_EVERY_S:
        return None
    source = _asked_at(who)
    if source is None:
        return None
    session[ASKED] = _now()
    here = local(request.full_path.rstrip("?"))
    return redirect(url_for("identity.go", code=source.code, silent=1, next=here))  # type: ignore[return-value]


def _asked_at(who: Visitor) -> IdentitySource | None:
    """The source that this very request can be sent to; None where it is no page that is opened, or may be by anybody who is in."""
    background = request.headers.get("X-Background") or request.headers.get("HX-Request") or asked.by_program()
    if request.method != "GET" or background or request.headers.get("Sec-Fetch-Dest", "document") != "document":
        return None
    view = current_app.view_functions[request.endpoint or ""]
    if getattr(view, "guanjia_first", False) or not rule(current_app, request.endpoint or ""):
        return None
    came = arrivals.came_by(reading(), who.session_id)
    return came.source if came is not None else None


def _touch() -> None:
    """Tell the book that the session is in use, now and then; a book that can't be written to bars nobody from reading."""
    if not current_user.is_authenticated:
        return
    who = visitor()
    if book().clock() - who.seen_at > timedelta(minutes=sessions.SEEN_EVERY_MINUTES):
        with contextlib.suppress(NoRoom, OperationalError), book().transaction(nobody()) as tx:
            sessions.seen(tx, who.session_id)


def _guard() -> Response | tuple[str, int] | None:
    """Refuse what is not allowed, before anything else is looked at."""
    if request.endpoint is None or request.endpoint == "static":
        return None
    _expire()
    roles = rule(current_app, request.endpoint)
    if roles is None:
        raise Denied(())
    if not roles:
        return None
    if not current_user.is_authenticated:
        return _to_login()
    if current_user.role not in roles:
        raise Denied(roles)
    return _held_up(visitor(), current_app.view_functions[request.endpoint])


def _held_up(who: Visitor, view: Callable[..., Any]) -> Response | tuple[str, int] | None:
    """What somebody with the right role has to do first: come from elsewhere, change the password, enrol a second factor,
    prove anew to be there. None: nothing."""
    if request.endpoint == LEAVE:
        return None
    if _overdue(who) and request.headers.get("X-Background"):
        return "", 204
    address = request.remote_addr or ""
    if not who.rules.lets_in(who.role, address):
        raise admission.outside(who.role, address)
    if asked.by_program():
        _for_programs(who, view)
        return None
    if who.must_change:
        return None if getattr(view, "guanjia_first", False) else redirect(url_for("auth.password"))  # type: ignore[return-value]
    if who.due and who.due <= book().clock():
        ways = getattr(view, "guanjia_first", False) or getattr(view, "guanjia_enrolling", False)
        key = who.key_due is not None and who.key_due <= book().clock()
        wanted = "own_account.key" if key else "own_account.factor"
        return None if ways else redirect(url_for(wanted))  # type: ignore[return-value]
    if sent := _asked_again(who):
        return sent
    if request.method == "POST" and weighs(view, request.view_args or {}) and not fresh(who):
        target = request.full_path.rstrip("?")
        ways = arrivals.ways_again(reading(), who.id)
        return render_template(
            "auth/prove.html", typed=typed(), target=local(target), who=who, form=None, ways=ways
        ), 401
    return None


def _for_programs(who: Visitor, view: Callable[..., Any]) -> None:
    """Refuse a program what its person has to do first, or has to be there for. Raises NotAllowed."""
    if who.must_change:
        raise NotAllowed("password.first", N_("须先登录并修改初始密码"))
    if who.due and who.due <= book().clock():
        raise NotAllowed("factor.first", N_("须先登录并登记两步验证"))
    if request.method == "POST" and weighs(view, request.view_args or {}) and not fresh(who):
        raise NotAllowed("proof.person", N_("这件事须本人登录、再次核验身份后办理，程序不能代办"))


LEAVE = "auth.logout"


def fresh(who: Visitor, within: int = 0) -> bool:
    """Whether somebody has proven to be there within so many minutes; 0: as the rules ask for before acts that weigh."""
    minutes = within or who.rules.proof_minutes
    return not minutes or book().clock() - who.proven_at <= timedelta(minutes=minutes)


def proven(view: View) -> View:
    """What the view does weighs: who posts to it has to have proven to be there of late (``AccessRules.proof_minutes``), and
    is asked again otherwise; what was typed is kept. For deletions, enactments and grants."""
    return proven_where(lambda _args: True)(view)


def proven_where(weighing: Weighing) -> Callable[[View], View]:
    """As ``proven``, for a view some of whose acts weigh and others do not: ``weighing`` tells by the parts of the address."""

    def mark(view: View) -> View:
        setattr(view, PROVEN, weighing)
        return view

    return mark


def weighs(view: Callable[..., Any], args: Mapping[str, Any]) -> bool:
    """Whether what ``view`` does at an address with these parts asks for a new proof."""
    weighing: Weighing | None = getattr(view, PROVEN, None)
    return weighing is not None and weighing(args)


def enrolling(view: View) -> View:
    """The view may be opened by who has yet to enrol a second factor."""
    setattr(view, "guanjia_enrolling", True)  # noqa: B010
    return view


def first(view: View) -> View:
    """The view may be opened before the first password has been changed."""
    setattr(view, "guanjia_first", True)  # noqa: B010
    return view


def _to_login() -> Response | tuple[str, int]:
    here = request.full_path.rstrip("?") if request.method == "GET" else request.path
    address = url_for("auth.login", next=here if here != "/" else None)
    if request.headers.get("HX-Request"):
        return Response("", 401, {"HX-Redirect": address})
    if request.method == "GET":
        return redirect(address)  # type: ignore[return-value]
    return (
        render_template("errors/expired.html", status=401, typed=typed(), next=local(here), resend=same_origin()),
        401,
    )


def attach(app: Flask) -> None:
    """Sessions and the guard. Call before anything else registers what runs before requests."""
    manager = LoginManager()
    manager.anonymous_user = Stranger
    manager.init_app(app)
    manager.user_loader(_load)
    app.before_request(_guard)
    app.jinja_env.globals.update(may=may)
