"""Second factors: enrolled by their person, asked for after the first proof, forgotten by two administrators when lost.

A kind of factor is a ``Factor`` in ``KINDS``: codes of an authenticator (one a person), security keys (several). What they keep
lies in the book sealed by the vault; recovery codes stand in for all of them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute

from console.accounts import access_rules, security_keys, throttle
from console.accounts.factor_kinds import Factor, FactorAnswer, Site, Totp, normal
from console.accounts.origins import Origin
from console.accounts.security_keys import SecurityKey
from console.accounts.tables import FactorLoss, LossState, RecoveryCode, SecondFactor
from console.settings import Settings
from quota import vault
from quota.actors import Role, nobody
from quota.db import Book, Tx
from quota.directory import Person
from quota.errors import N_, Invalid, NotAllowed, NotFound, TooOften, WrongState, stated

RECOVERY = "recovery"
CODES = 10
ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Of recovery codes: nothing in it is read as something else. Sixteen of them are 78 bits: a plain digest keeps them."""
WRONG = N_("验证码不对，或已用过；请用验证器上现在的6位数字，或一个没用过的恢复码")
KEY_WRONG = N_("安全密钥没有通过验证；请再试一次，或输入一个恢复码")
KEY_ONLY = N_("您的角色须用安全密钥，动态验证码不再有效；密钥不在身边时可用一个恢复码")
PENDING_MINUTES = 15
ISSUER = N_("管家")
"""What an authenticator names the house by, with its city."""


TOTP = "totp"
KEY = "webauthn"
KINDS: Mapping[str, Factor] = {TOTP: Totp(), KEY: SecurityKey()}
MOST = 10
"""So many factors somebody may have."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What somebody has begun to enrol. Of codes: the secret, and its address for an authenticator; of a key, the challenge."""

    kind: str
    name: str
    secret: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class KeyChallenge:
    """What a security key was asked to sign: the challenge, at which site."""

    challenge: bytes
    site: Site


def confirmed(person_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Whether somebody has a factor that was proven once, as a column of another query."""
    return (
        select(SecondFactor.id)
        .where(SecondFactor.person_id == person_id, SecondFactor.confirmed_at.is_not(None))
        .exists()
    )


def keyed(person_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Whether somebody has a security key that was proven once, as a column of another query."""
    mine = (SecondFactor.person_id == person_id) & SecondFactor.confirmed_at.is_not(None) & (SecondFactor.kind == KEY)
    return select(SecondFactor.id).where(mine).exists()


def by_key_alone(tx: Tx, settings: Settings, who: Person) -> bool:
    """Whether the role of ``who`` has to use a security key by now, and they have one that can be asked: codes of an authenticator,
    and what a source of identities says of its own factors, are not enough any more. Who has none comes in by what they have, to enrol one."""
    due = access_rules.in_force(tx).key_due(Role(who.role))
    return due is not None and due <= tx.now and has_key(tx, settings, who.id)


def has_key(tx: Tx, settings: Settings, person_id: int, but: int = 0) -> bool:
    """Whether somebody has a security key, other than the factor numbered ``but``, that opens and is bound to where the house is
    reached now."""
    mine = [row for row in of_person(tx, person_id) if row.kind == KEY and row.id != but]
    return bool(security_keys.usable(_opened(settings, mine), security_keys.bound_to(settings.public_url)))


def with_keys(tx: Tx, roles: Collection[str]) -> Sequence[int]:
    """The people of ``roles`` who may come in and have enrolled security keys, wherever these are bound to."""
    query = select(Person.id).where(Person.role.in_(roles), Person.active, Person.granted, ~Person.service)
    return tx.scalars(query.where(keyed(Person.id))).all()


def of_person(tx: Tx, person_id: int) -> Sequence[SecondFactor]:
    """The factors of a person that were proven."""
    query = select(SecondFactor).where(SecondFactor.person_id == person_id, SecondFactor.confirmed_at.is_not(None))
    return tx.scalars(query.order_by(SecondFactor.id)).all()


def pending(tx: Tx, settings: Settings, who: Person) -> Enrolment | None:
    """What ``who`` is enrolling and has not proven yet."""
    row = _pending(tx, who)
    secret = vault.unseal(row.sealed, settings.factors_key()) if row else None
    if row is None or secret is None:
        return None
    kind = KINDS[row.kind]
    shown = kind.address(secret, who.login, f"{ISSUER} {settings.city}") if isinstance(kind, Totp) else ""
    return Enrolment(row.kind, row.name, secret, shown)


def kept(tx: Tx, settings: Settings, person_id: int, kind: str) -> list[str]:
    """What the factors of one kind keep, as far as it can be read: their key may have been lost."""
    return _opened(settings, [row for row in of_person(tx, person_id) if row.kind == kind])


def _opened(settings: Settings, rows: Sequence[SecondFactor]) -> list[str]:
    opened = [vault.unseal(row.sealed, settings.factors_key()) for row in rows]
    return [one for one in opened if one is not None]


def _pending(tx: Tx, who: Person) -> SecondFactor | None:
    return tx.scalar(
        select(SecondFactor)
        .where(
            SecondFactor.person_id == who.id,
            SecondFactor.confirmed_at.is_(None),
            SecondFactor.created_at > tx.now - timedelta(minutes=PENDING_MINUTES),
        )
        .order_by(SecondFactor.id.desc())
        .limit(1)
    )


def begin(tx: Tx, settings: Settings, who: Person, kind: str = TOTP, name: str = "") -> None:
    """Begin to enrol a factor for the own account; those that are there hold until the new one was proven. Raises Invalid where
    one of several has no name, or one that is taken; WrongState where there are enough."""
    _own(tx, who)
    name = name.strip()[:64]
    if KINDS[kind].several:
        mine = of_person(tx, who.id)
        if not name:
            raise Invalid("factor.unnamed", N_("请给这把密钥起个名字，以便日后辨认"), field="name")
        if any(one.name == name for one in mine):
            raise Invalid("factor.name_taken", N_("您已有一把叫“%(name)s”的密钥"), name=name, field="name")
        if len(mine) >= MOST:
            raise WrongState("factor.many", N_("最多登记%(most)s个；请先删除不用的"), most=MOST)
    drop_pending(tx, who)
    sealed = vault.seal(KINDS[kind].new(), settings.factors_key())
    tx.add(SecondFactor(person_id=who.id, kind=kind, name=name, sealed=sealed, state=0, created_at=tx.now))
    tx.audit("factor.begin", f"person:{who.id}", after=_said(kind, name))


def _said(kind: str, name: str) -> dict[str, str]:
    return {"kind": kind} | ({"name": name} if name else {})


def drop_pending(tx: Tx, who: Person) -> None:
    """Forget what was begun and not proven."""
    _own(tx, who)
    tx.execute(delete(SecondFactor).where(SecondFactor.person_id == who.id, SecondFactor.confirmed_at.is_(None)))


def confirm(tx: Tx, settings: Settings, who: Person, answer: str, site: Site | None = None) -> list[str]:
    """Prove the factor that was begun; the open sessions end. It takes the place of the former one of its kind, or joins them where
    there may be several. New recovery codes, kept nowhere; none where the former ones hold on. ``site``: where a security key
    was asked. Raises WrongState where nothing was begun, Invalid for a wrong answer."""
    _own(tx, who)
    row = _pending(tx, who)
    begun = vault.unseal(row.sealed, settings.factors_key()) if row else None
    if row is None or begun is None:
        raise WrongState("factor.none_begun", N_("登记已过期，请重新开始"))
    tx.lock(row)
    kind = KINDS[row.kind]
    found = kind.enrolled(begun, FactorAnswer(answer, tx.now, site=site))
    if found is None and row.kind == KEY:
        raise Invalid("factor.key_wrong", N_("没有登记成这把密钥；请再试一次"), field="credential")
    if found is None:
        raise Invalid("factor.wrong", N_("验证码不对；请确认手机时间准确，再输入现在显示的6位数字"), field="passcode")
    others = of_person(tx, who.id)
    gone = (SecondFactor.kind == row.kind) if not kind.several else SecondFactor.confirmed_at.is_(None)
    tx.execute(delete(SecondFactor).where(SecondFactor.person_id == who.id, SecondFactor.id != row.id, gone))
    secret, row.state = found
    row.sealed = vault.seal(secret, settings.factors_key())
    row.confirmed_at = row.used_at = tx.now
    who.session_epoch += 1
    tx.audit("factor.enrol", f"person:{who.id}", after=_said(row.kind, row.name))
    replaced = not kind.several and any(one.kind == row.kind for one in others)
    return [] if others and not replaced and codes_left(tx, who.id) else renew_codes(tx, who)


def renew_codes(tx: Tx, who: Person) -> list[str]:
    """New recovery codes for the own account in place of all former ones, to be shown once."""
    _own(tx, who)
    tx.execute(delete(RecoveryCode).where(RecoveryCode.person_id == who.id))
    made = ["".join(secrets.choice(ALPHABET) for _ in range(16)) for _ in range(CODES)]
    tx.add_all(RecoveryCode(person_id=who.id, digest=_digest(one), made_at=tx.now) for one in made)
    tx.audit("factor.codes", f"person:{who.id}", after={"codes": CODES})
    return ["-".join(one[n : n + 4] for n in range(0, 16, 4)) for one in made]


def codes_left(tx: Tx, person_id: int) -> int:
    """How many recovery codes were not used yet."""
    query = select(func.count(RecoveryCode.id))
    return tx.scalar(query.where(RecoveryCode.person_id == person_id, RecoveryCode.used_at.is_(None))) or 0


def prove(
    book: Book, settings: Settings, person_id: int, answer: str, origin: Origin, asked: KeyChallenge | None = None
) -> str:
    """Take ``answer`` as the second proof of somebody who is known by a first one; the kind that it proved. ``asked``: what a
    security key was asked to sign. Raises NotAllowed, the failure having been counted; TooOften where it has to wait."""
    gauges = throttle.of_proof(settings, person_id, "second")
    refusal: NotAllowed | TooOften
    with book.transaction(nobody(origin.address, origin.request_id)) as tx:
        waiting = throttle.take(tx, gauges)
        who = tx.get_one(Person, person_id)
        tx.actor = who.actor(origin.address, origin.request_id)
        if waiting:
            refusal = throttle.too_often(waiting)
        elif kind := _taken(tx, settings, who, answer, asked):
            throttle.give_back(tx, gauges)
            return kind
        else:
            tx.audit("login.second_fail", f"person:{who.id}")
            by_key = security_keys.is_answer(answer)
            said = KEY_WRONG if by_key else KEY_ONLY if by_key_alone(tx, settings, who) else WRONG
            refusal = NotAllowed("factor.wrong", said, field="passcode")
    raise refusal


def _taken(tx: Tx, settings: Settings, who: Person, answer: str, asked: KeyChallenge | None) -> str:
    """The kind of factor that ``answer`` proves; empty for none. What was taken is not taken again."""
    by_key = security_keys.is_answer(answer)
    given = FactorAnswer(answer, tx.now, asked.challenge, asked.site) if asked else FactorAnswer(answer, tx.now)
    key_alone = by_key_alone(tx, settings, who)
    for row in of_person(tx, who.id):
        if (row.kind == KEY) != by_key or (key_alone and row.kind != KEY):
            continue
        tx.lock(row)
        secret = vault.unseal(row.sealed, settings.factors_key())
        state = KINDS[row.kind].verify(secret, row.state, given) if secret else None
        if state is not None and (not asked or not by_key or throttle.once(tx, "challenge", asked.challenge.hex())):
            row.state, row.used_at = state, tx.now
            return row.kind
    if by_key:
        return ""
    code = tx.scalar(
        select(RecoveryCode)
        .where(
            RecoveryCode.person_id == who.id,
            RecoveryCode.digest == _digest(normal(answer).replace("-", "").upper()),
            RecoveryCode.used_at.is_(None),
        )
        .with_for_update()
    )
    if code is None:
        return ""
    code.used_at = tx.now
    tx.audit("factor.code_used", f"person:{who.id}", after={"left": codes_left(tx, who.id)})
    return RECOVERY


def remove(tx: Tx, who: Person) -> None:
    """Do without a second factor again, for the own account; the open sessions end. Whether the role may is asked before."""
    _own(tx, who)
    if not _forgotten(tx, who):
        raise WrongState("factor.none", N_("没有登记两步验证"))
    tx.audit("factor.remove", f"person:{who.id}")


def one(tx: Tx, who_id: int, factor_id: int) -> SecondFactor:
    """A factor of a person that was proven. Raises NotFound."""
    found = next((row for row in of_person(tx, who_id) if row.id == factor_id), None)
    if found is None:
        raise NotFound("factor.no_such", N_("没有编号为 %(id)s 的两步验证方式"), id=factor_id)
    return found


def remove_one(tx: Tx, settings: Settings, who: Person, factor_id: int) -> None:
    """Take one of several factors away, for the own account; the open sessions end. Raises NotFound; WrongState for the last one,
    which ``remove`` takes away together with the recovery codes."""
    _own(tx, who)
    tx.lock(who)
    row = one(tx, who.id, factor_id)
    mine = of_person(tx, who.id)
    last = has_key(tx, settings, who.id) and not has_key(tx, settings, who.id, but=row.id)
    if last and access_rules.in_force(tx).key_due(Role(who.role)):
        raise WrongState("factor.key_needed", N_("您的角色必须使用安全密钥，这是最后一把；请先登记另一把"))
    if len(mine) == 1:
        raise WrongState("factor.last", N_("这是最后一个两步验证方式；不再使用时请选“停用两步验证”"))
    tx.execute(delete(SecondFactor).where(SecondFactor.id == row.id))
    who.session_epoch += 1
    tx.audit("factor.remove_one", f"person:{who.id}", before=_said(row.kind, row.name))


# -- lost


def report_loss(tx: Tx, who: Person, reason: str) -> FactorLoss:
    """The system administrator says that ``who`` lost factor and recovery codes. The security administrator decides."""
    tx.actor.must_be(Role.SYSADMIN)
    _not_oneself(tx, who)
    reason = stated(reason)
    tx.lock(who)
    if not of_person(tx, who.id):
        raise WrongState("factor.none", N_("没有登记两步验证"))
    if open_loss(tx, who.id):
        raise WrongState("factor.loss_open", N_("遗失已报告，等待安全管理员处理"))
    row = FactorLoss(person_id=who.id, reason=reason, asked_by=tx.actor.login, asked_at=tx.now)
    tx.add(row)
    tx.flush()
    tx.audit("factor.lost", f"person:{who.id}", after={"loss": row.id}, reason=reason)
    return row


def open_loss(tx: Tx, person_id: int) -> FactorLoss | None:
    """The loss of somebody that waits to be decided."""
    return tx.scalar(
        select(FactorLoss).where(FactorLoss.person_id == person_id, FactorLoss.state == LossState.OPEN.value)
    )


def decide_loss(tx: Tx, loss_id: int, grant: bool) -> FactorLoss:
    """The security administrator lets somebody enrol anew, the factor forgotten and the open sessions ended, or declines.
    Raises NotFound, WrongState; NotAllowed for the own account and for who reported it."""
    tx.actor.must_be(Role.SECADMIN)
    row = tx.get(FactorLoss, loss_id)
    if row is None:
        raise NotFound("factor.no_loss", N_("没有编号为 %(id)s 的遗失报告"), id=loss_id)
    tx.lock(row)
    _not_oneself(tx, row.person)
    if row.asked_by == tx.actor.login:
        raise NotAllowed("factor.two_persons", N_("报告遗失的人不能自己批准，须由另一位管理员处理"))
    if row.state != LossState.OPEN.value:
        raise WrongState("factor.loss_decided", N_("该遗失报告已处理"))
    row.state = (LossState.GRANTED if grant else LossState.DECLINED).value
    row.decided_by, row.decided_at = tx.actor.login, tx.now
    if grant:
        _forgotten(tx, row.person)
    tx.audit("factor.forget" if grant else "factor.keep", f"person:{row.person_id}", after={"loss": row.id})
    return row


def forget_on_machine(tx: Tx, who: Person) -> None:
    """Who has the machine itself lets somebody enrol anew. Raises WrongState where there is nothing to forget."""
    tx.actor.must_be(Role.SYSTEM)
    if not _forgotten(tx, who):
        raise WrongState("factor.none", N_("没有登记两步验证"))
    tx.audit("factor.forget", f"person:{who.id}")


def _forgotten(tx: Tx, who: Person) -> bool:
    """Take away the factors and recovery codes of ``who`` and end the sessions; whether there were any."""
    tx.lock(who)
    found = bool(of_person(tx, who.id))
    for table in (SecondFactor, RecoveryCode):
        tx.execute(delete(table).where(table.person_id == who.id))
    who.session_epoch += 1
    return found


def _digest(code: str) -> str:
    return hashlib.sha256(b"guanjia recovery\n" + code.encode()).hexdigest()


def _own(tx: Tx, who: Person) -> None:
    if tx.actor.login != who.login:
        raise NotAllowed("factor.others", N_("两步验证只能由本人登记"))


def _not_oneself(tx: Tx, who: Person) -> None:
    if tx.actor.login == who.login:
        raise NotAllowed("person.self", N_("不能对自己的账号做这件事，请另一位管理员来做"))
