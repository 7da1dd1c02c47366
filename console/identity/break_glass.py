"""应急账号: who may come in by password whatever the rules ask of a role, so that a dead source shuts out nobody who could mend
it; each use is told.

Whether a role has to come by a source is looked up when somebody is at the door. The security administrators' own way in never
depends on what was set up well: where no emergency account of theirs is open any more (it was closed, its holder has another
role), their passwords open the door again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from console.accounts import admission, factors, proofs
from console.identity import rulebook
from console.identity.tables import BreakGlass, BreakGlassUse, IdentitySource
from quota.actors import Role
from quota.db import Tx
from quota.directory import Person
from quota.errors import N_, NotAllowed, WrongState, stated


def accounts(tx: Tx) -> Sequence[BreakGlass]:
    """Those that were named, the first named first."""
    query = (
        select(BreakGlass).options(joinedload(BreakGlass.person)).order_by(BreakGlass.named_at, BreakGlass.person_id)
    )
    return tx.scalars(query).all()


def uses(tx: Tx, limit: int = 20) -> Sequence[BreakGlassUse]:
    """The newest first."""
    query = select(BreakGlassUse).options(joinedload(BreakGlassUse.person)).order_by(BreakGlassUse.id.desc())
    return tx.scalars(query.limit(limit)).all()


def name(tx: Tx, who: Person, reason: str) -> BreakGlass:
    """Name an emergency account. The security administrator's right. Raises WrongState, Invalid."""
    tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    said = stated(reason)
    if tx.get(BreakGlass, who.id) is not None:
        raise WrongState("break_glass.named", N_("%(name)s已是应急账号"), name=who.name)
    if not who.active or not who.granted:
        raise WrongState("break_glass.closed", N_("%(name)s的账号未启用或未授权,不能作应急账号"), name=who.name)
    row = BreakGlass(person_id=who.id, reason=said, named_by=tx.actor.login, named_at=tx.now)
    tx.add(row)
    tx.flush()
    tx.audit("break_glass.name", f"person:{who.id}", after={"login": who.login}, reason=said)
    return row


def release(tx: Tx, who: Person, reason: str) -> None:
    """It is none any more. Raises WrongState where it is the last by which the rules could be changed."""
    tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    said = stated(reason)
    tx.alone("rights")
    row = tx.get(BreakGlass, who.id)
    if row is None:
        raise WrongState("break_glass.none", N_("%(name)s不是应急账号"), name=who.name)
    if Role.SECADMIN in _required(tx) and not rulebook.keepers(tx, without=who.id):
        raise WrongState("break_glass.last", N_("规则要求安全管理员从身份源登录,这是最后一个可用的应急账号,不能取消"))
    tx.delete(row)
    tx.audit("break_glass.release", f"person:{who.id}", before={"login": who.login}, reason=said)


def _required(tx: Tx) -> frozenset[Role]:
    """Roles that come in by a source alone. A source that is out of use, or whose rules were never enacted, asks nothing."""
    found: frozenset[Role] = frozenset()
    for number in tx.scalars(select(IdentitySource.id).where(IdentitySource.active)):
        in_force = rulebook.in_force(tx, number)
        found |= in_force.required if in_force else frozenset()
    return found


@admission.bar
def by_source_alone(tx: Tx, who: Person, proof: proofs.Proof) -> NotAllowed | None:
    """Refuse a password where the person's role comes in by a source."""
    role = Role(who.role)
    if proof.method != proofs.PASSWORD or role not in _required(tx):
        return None
    if tx.get(BreakGlass, who.id) is not None:
        if not proof.factor and factors.of_person(tx, who.id):
            return None  # nobody is in yet
        use = BreakGlassUse(person_id=who.id, at=tx.now, address=tx.actor.address[:64])
        tx.add(use)
        tx.flush()
        tx.audit("break_glass.use", f"person:{who.id}", after={"use": use.id})
        return None
    if role is Role.SECADMIN and not rulebook.keepers(tx):
        tx.audit("break_glass.fallback", f"person:{who.id}")
        return None
    tx.audit("login.source", f"person:{who.id}")
    return NotAllowed("login.source", N_("按规定,您的角色须从身份源登录,请用上面的按钮"))
