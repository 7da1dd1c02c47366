"""Tokens: how programs show who they act for. A token acts as its person, with that person's rights of this moment and no more
than its scopes.

A personal token is made by its person. A service is a person that is a program: the system administrator enters it and makes its
token, which rests until the security administrator has confirmed it, so that nobody alone gives a program rights and knows its
secret. Tokens for a calendar and for the cockpit stand in an address and open that alone. Secrets are kept as digests, shown once.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import joinedload

from console.api.tables import IN_ADDRESSES, ApiToken, TokenKind
from console.errors import Unidentified
from quota.actors import Role, nobody
from quota.db import Book, Tx
from quota.directory import Person
from quota.errors import N_, Invalid, NoRoom, NotAllowed, NotFound, WrongState

MARK = "gj"
DAYS = (30, 90, 180, 365)
"""For how long a token may be made."""
LONGEST = 200
"""Characters of what may be shown as a token."""
MOST = 20
"""Tokens that a person may have at a time."""
USED_EVERY = timedelta(minutes=1)
"""How exactly the last use is kept: a write a minute, not a write a request."""
UNKNOWN = N_("令牌无效、已过期或已吊销")


RESTS = N_("持有人超过%(days)s天没有经%(source)s登录，令牌暂停使用；本人经%(source)s登录一次即恢复")
"""Of a token whose person a source ought to have let in of late (``console.identity.absences``)."""


@dataclass(frozen=True, slots=True)
class TokenUse:
    """What a token that was shown is good for."""

    id: int
    prefix: str
    person_id: int
    kind: TokenKind
    scopes: frozenset[str]


def make(tx: Tx, person: Person, name: str, scopes: Iterable[str], days: int, kind: TokenKind) -> tuple[ApiToken, str]:
    """(the token, its secret, which is kept nowhere). Raises Invalid for what makes no sense, NotAllowed where the actor makes a
    token for somebody else who is no service, WrongState where there are too many."""
    name, wanted = name.strip(), sorted(set(scopes))
    if not name:
        raise Invalid("token.name", N_("请填写令牌的名称"), field="name")
    if days not in DAYS:
        raise Invalid("token.days", N_("有效期须为%(days)s天之一"), days="、".join(map(str, DAYS)), field="days")
    if kind not in IN_ADDRESSES and not wanted:
        raise Invalid("token.scopes", N_("请至少选择一项范围"), field="scopes")
    if person.login != tx.actor.login and not (person.service and tx.actor.role is Role.SYSADMIN):
        raise NotAllowed("token.other", N_("只能为自己或为服务账号制作令牌"))
    tx.alone(f"api_tokens:{person.id}")
    open_ = select(func.count(ApiToken.id)).where(
        ApiToken.person_id == person.id, ApiToken.revoked_at.is_(None), ApiToken.expires_at > tx.now
    )
    if (tx.scalar(open_) or 0) >= MOST:
        raise WrongState("token.many", N_("有效的令牌已有%(most)s个,请先吊销不用的"), most=MOST)
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    token = ApiToken(
        person_id=person.id,
        kind=kind.value,
        name=name[:64],
        prefix=prefix,
        digest=digest(secret),
        scopes=wanted,
        granted=not person.service,
        made_by=tx.actor.login,
        made_at=tx.now,
        expires_at=tx.now + timedelta(days=days),
    )
    tx.add(token)
    tx.flush()
    tx.audit(
        "token.make",
        subject(token),
        after={"name": token.name, "kind": kind.value, "person": person.login, "scopes": wanted,
               "expires_at": token.expires_at, "granted": token.granted},
    )  # fmt: skip
    return token, f"{MARK}_{prefix}_{secret}"


def subject(token: ApiToken) -> str:
    return f"token:{token.id}"


def token(tx: Tx, token_id: int) -> ApiToken:
    """The token with its person at hand, where the actor may see it; else NotFound."""
    found = tx.scalar(visible(tx).where(ApiToken.id == token_id))
    if found is None:
        raise NotFound("token.none", N_("没有编号为 %(id)s 的令牌"), id=token_id)
    return found


def visible(tx: Tx) -> Select[ApiToken]:
    """Tokens that the actor may see: the own ones; administrators see those of services, the security administrator all."""
    query = select(ApiToken).join(Person, Person.id == ApiToken.person_id).options(joinedload(ApiToken.person))
    if tx.actor.role in (Role.SECADMIN, Role.AUDADMIN):
        return query
    if tx.actor.role is Role.SYSADMIN:
        return query.where((Person.login == tx.actor.login) | Person.service)
    return query.where(Person.login == tx.actor.login)


def may_revoke(tx: Tx, token: ApiToken) -> bool:
    """Whether the actor may end it: its person, and either administrator of rights and accounts."""
    of_service = token.person.service and tx.actor.role is Role.SYSADMIN
    return token.person.login == tx.actor.login or of_service or tx.actor.role is Role.SECADMIN


def revoke(tx: Tx, token_id: int) -> None:
    """End it at once. Raises NotFound, NotAllowed, WrongState where it is over already."""
    one = tx.lock(token(tx, token_id))
    if not may_revoke(tx, one):
        raise NotAllowed("token.other", N_("只能为自己或为服务账号制作令牌"))
    if one.revoked_at is not None:
        raise WrongState("token.revoked", N_("令牌已吊销"))
    one.revoked_at = tx.now
    tx.audit("token.revoke", subject(one), after={"revoked_at": one.revoked_at, "person": one.person.login})


def confirm(tx: Tx, token_id: int) -> None:
    """Let a service's token be used. By the security administrator. Raises NotFound, WrongState where it is not waiting."""
    tx.actor.must_be(Role.SECADMIN)
    one = tx.lock(token(tx, token_id))
    if one.granted or one.revoked_at is not None:
        raise WrongState("token.granted", N_("令牌不在等待确认"))
    one.granted = True
    tx.audit(
        "token.confirm", subject(one), before={"granted": False}, after={"granted": True, "person": one.person.login}
    )


def digest(secret: str) -> str:
    """A secret as it is kept: it has 256 bits, so that a plain digest cannot be tried out."""
    return hashlib.sha256(secret.encode()).hexdigest()


def recognise(tx: Tx, shown: str, kinds: Sequence[TokenKind]) -> TokenUse:
    """What the token ``shown`` is good for at this moment. Raises Unidentified, whatever is wrong with it, in one sentence."""
    mark, _line, rest = shown.partition("_")
    prefix, _line, secret = rest.partition("_")
    if (
        mark != MARK
        or not (shown.isascii() and shown.isprintable())
        or len(shown) > LONGEST
        or not prefix
        or not secret
    ):
        raise Unidentified("token.unknown", UNKNOWN)
    one = tx.scalar(select(ApiToken).where(ApiToken.prefix == prefix))
    right = hmac.compare_digest(one.digest if one else digest(""), digest(secret))
    if one is None or not right or one.kind not in kinds or not one.granted:
        raise Unidentified("token.unknown", UNKNOWN)
    if one.revoked_at is not None or one.expires_at <= tx.now:
        raise Unidentified("token.unknown", UNKNOWN)
    return TokenUse(one.id, one.prefix, one.person_id, TokenKind(one.kind), frozenset(one.scopes))


def used(book: Book, shown: TokenUse, address: str) -> None:
    """Keep when and from where it was used last, at most once a minute. Not audited: what is done by it is. A book that can't be
    written to bars nobody from reading."""
    with book.reading(nobody()) as tx:
        last, now = tx.scalar(select(ApiToken.used_at).where(ApiToken.id == shown.id)), tx.now
    if last is not None and now - last < USED_EVERY:
        return
    with contextlib.suppress(NoRoom, OperationalError), book.transaction(nobody(address)) as tx:
        one = tx.get(ApiToken, shown.id)
        if one is not None:
            one.used_at, one.used_from = tx.now, address[:64]
