"""What was enacted of a source: versions that are never edited; the newest holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, cast, select

from console.accounts import sessions
from console.identity import rules
from console.identity.kinds import kind
from console.identity.rules import Allowed, ClaimMeaning, Rules
from console.identity.tables import BreakGlass, IdentityRule, IdentitySession, IdentitySource
from quota.actors import Role
from quota.db import Tx
from quota.directory import CloudProvider, Department, Person
from quota.errors import N_, Conflict, Invalid, stated


@dataclass(frozen=True, slots=True)
class RightScope:
    """A right that claims allow, with the rows that it names."""

    right: Allowed
    role: Role
    department: Department | None
    provider: CloudProvider | None


def versions(tx: Tx, source_id: int) -> Sequence[IdentityRule]:
    """Newest first."""
    return tx.scalars(
        select(IdentityRule).where(IdentityRule.source_id == source_id).order_by(IdentityRule.version.desc())
    ).all()


def in_force(tx: Tx, source_id: int) -> Rules | None:
    """What holds of this source; None: nothing was enacted, and nobody comes by it."""
    row = tx.scalar(
        select(IdentityRule).where(IdentityRule.source_id == source_id).order_by(IdentityRule.version.desc()).limit(1)
    )
    return rules.read(row.content) if row is not None else None


def enact(tx: Tx, source: IdentitySource, content: Any, reason: str, *, after: int | None = None) -> IdentityRule:
    """Enact the next version. ``after``: the newest that the page showed (0: none). The security administrator's right.

    Raises Invalid for a rule that can't be applied, or by which nobody who grants rights could come in any more; Conflict
    where ``after`` is not the newest.
    """
    tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    tx.alone("rights")  # whoever keeps the way in is not taken away meanwhile
    found = checked(tx, content)
    if found.second and kind(source.kind).typed:
        raise Invalid("identity.second", N_("目录只认一个密码，不说明登录用了两步验证"), field="second")
    if found.second and not kind(source.kind).second:
        raise Invalid(
            "identity.second",
            N_("这类身份源的应答不区分账号的属性与登录的方式，不能据以认定做过两步验证"),
            field="second",
        )
    if found.anew and kind(source.kind).typed:
        raise Invalid("identity.anew", N_("目录按时自动核对，不经浏览器"), field="anew")
    if found.tokens and kind(source.kind).typed:
        raise Invalid("identity.tokens", N_("目录按时自动核对，令牌随账号的权限失效"), field="tokens")
    said, before = stated(reason), in_force(tx, source.id)
    last = max((one.version for one in versions(tx, source.id)), default=0)
    if after is not None and after != last:
        raise Conflict("identity.stale_rules", N_("规则已有第 %(version)s 版,请核对后再制定"), version=last)
    row = IdentityRule(
        source_id=source.id, version=last + 1, content=found.to_json(), reason=said, enacted_by=tx.actor.login,
        enacted_at=tx.now,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    told: dict[str, Any] = {"version": row.version, "content": row.content}
    came = select(cast(IdentitySession.id, String)).where(IdentitySession.source_id == source.id)
    if found.anew != (before.anew if before is not None else 0):
        sessions.ask_again(tx, came, found.anew)
    if before is not None and set(before.second) - set(found.second):  # nobody stays in by what is believed no more
        told["doubted"] = sessions.doubt_factor(tx, came)
    tx.audit("identity.enact", f"identity_source:{source.id}", after=told, reason=said)
    return row


def checked(tx: Tx, content: Any) -> Rules:
    """The rule of ``content``, which could be enacted now. Raises Invalid."""
    found = rules.read(content)
    codes = {one.company for one in found.roles if one.company}
    known = set(tx.scalars(select(CloudProvider.code).where(CloudProvider.code.in_(codes), CloudProvider.active)))
    if unknown := sorted(codes - known):
        raise Invalid("identity.company", N_("没有编码为 %(code)s 的公司"), code=unknown[0], field="roles")
    if Role.SECADMIN in found.required and not keepers(tx):
        raise Invalid(
            "identity.nobody",
            N_("要求安全管理员从身份源登录之前,先指定一个可用的安全管理员账号为应急账号,否则身份源不通时无人能进来"),
            field="required",
        )
    return found


def keepers(tx: Tx, without: int = 0) -> int:
    """How many may come in by password whatever happens and can change every rule: emergency accounts of security
    administrators that are open (other than the person ``without``)."""
    query = select(Person.id).join(BreakGlass, BreakGlass.person_id == Person.id)
    query = query.where(Person.role == Role.SECADMIN.value, Person.active, Person.granted, Person.password_hash != "")
    return len(tx.scalars(query.where(Person.id != without)).all())


def places(tx: Tx, meaning: ClaimMeaning) -> list[RightScope]:
    """The rights that claims allow, those whose department or company is there and open, in the rule's order."""
    found = []
    for right in meaning.allowed:
        department = _open(tx, Department, right.department)
        provider = _open(tx, CloudProvider, right.company)
        if bool(right.department) == bool(department) and bool(right.company) == bool(provider):
            found.append(RightScope(right, Role(right.role), department, provider))
    return found


def _open(tx: Tx, model: Any, code: str) -> Any:
    return tx.scalar(select(model).where(model.code == code, model.active)) if code else None


def held(who: Person) -> Allowed:
    """What somebody holds, as claims would allow it."""
    return Allowed(
        who.role, who.department.code if who.department else "", who.provider.code if who.provider else ""
    )  # fmt: skip
