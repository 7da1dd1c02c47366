"""Accounts: what the administrators, and who has one, may do to it. Each verb is audited.

三员分立: the system administrator enters people and takes care of their passwords; the security administrator grants
the role; neither acts on his own account, and one account holds one role. Passwords never reach the audit trail.
"""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from console.accounts import passwords, throttle
from quota.actors import HELD, ROLE_LABELS, Actor, Role
from quota.db import Tx
from quota.directory import CloudProvider, Department, Person, must_be_open
from quota.errors import N_, Conflict, Invalid, NotAllowed, NotFound, WrongState


def person(tx: Tx, person_id: int) -> Person:
    """The person with department and company at hand, or NotFound."""
    found = tx.scalar(
        select(Person).where(Person.id == person_id).options(joinedload(Person.department), joinedload(Person.provider))
    )
    if found is None:
        raise NotFound("person.none", N_("没有编号为 %(id)s 的人员"), id=person_id)
    return found


def person_of(tx: Tx, login: str) -> Person:
    """The person with this login, or NotFound."""
    found = tx.scalar(select(Person).where(Person.login == login))
    if found is None:
        raise NotFound("person.none", N_("没有编号为 %(id)s 的人员"), id=login)
    return found


def service(tx: Tx, person_id: int) -> Person:
    """The service (a person that is a program), or NotFound."""
    found = person(tx, person_id)
    if not found.service:
        raise NotFound("service.none", N_("没有编号为 %(id)s 的服务账号"), id=person_id)
    return found


def enrol_service(
    tx: Tx, login: str, name: str, role: Role, *, department: Department | None, provider: CloudProvider | None
) -> Person:
    """Enter a program: it has no password, is never logged in, and acts by tokens once its role was granted. Raises Invalid,
    Conflict."""
    if role not in SERVED:
        raise Invalid("service.role", N_("服务账号不能担任管理员"), field="role")
    who, _first = enrol(tx, login, name, role, department=department, provider=provider, must_change=False)
    who.service, who.password_hash, who.password_history = True, "", []
    tx.audit("service.enrol", f"person:{who.id}", after={"service": True})
    return who


SERVED = (Role.AUTHORITY, Role.SUPERVISOR, Role.TENANT, Role.PROVIDER, Role.AUDITOR)
"""Roles that a service may be granted: no program is an administrator."""


def change_password(tx: Tx, who: Person, old: str, new: str) -> None:
    """The person's own change. Raises Invalid; ends the person's other sessions."""
    if not passwords.matches(who.password_hash, old):
        raise Invalid("password.old", N_("现在的密码不对"), field="old")
    passwords.check(new, who.login, [who.password_hash, *who.password_history])
    _set(tx, who, new)
    who.must_change = False
    tx.audit("person.password", f"person:{who.id}")


def enrol(
    tx: Tx,
    login: str,
    name: str,
    role: Role,
    *,
    department: Department | None = None,
    provider: CloudProvider | None = None,
    granted: bool = False,
    must_change: bool = True,
    email: str = "",
    secret: tuple[str, str] | None = None,
) -> tuple[Person, str]:
    """Enter somebody; (the person, the first password, which is kept nowhere).

    The role is a proposal until the security administrator grants it, unless ``granted`` (a new installation's first
    accounts). ``email`` is an address that was checked; ``secret``: a first password and its hash, made before the
    transaction where many are entered. Raises Invalid or Conflict.
    """
    login, name = login.strip(), name.strip()
    if not login or not name:
        raise Invalid("person.empty", N_("登录名和姓名都不能为空"), field="login" if not login else "name")
    if not login.isascii() or not login.replace(".", "").replace("-", "").replace("_", "").isalnum():
        raise Invalid("person.login", N_("登录名只能用字母、数字和 . - _"), field="login")
    if tx.scalar(select(Person.id).where(func.lower(Person.login) == login.lower())):
        raise Conflict("person.taken", N_("登录名 %(login)s 已被使用"), login=login, field="login")
    belongs(role, department, provider)
    first, hashed = secret or (passwords.random(), "")
    who = Person(
        login=login,
        name=name,
        role=role.value,
        department_id=department.id if department else None,
        provider_id=provider.id if provider else None,
        granted=granted,
        email=email,
    )
    _set(tx, who, first, hashed)
    who.must_change = must_change
    tx.add(who)
    tx.flush()
    tx.audit(
        "person.enrol",
        f"person:{who.id}",
        after={**_rights(who), "login": login, "name": name, **({"email": email} if email else {})},
    )
    return who, first


def grant(
    tx: Tx,
    who: Person,
    role: Role,
    *,
    department: Department | None = None,
    provider: CloudProvider | None = None,
    quota_manager: bool = False,
) -> None:
    """Give ``who`` the role ``role`` and no other; the open sessions end. ``quota_manager``: of a department's people, who share out
    its quota to those below it. Raises NotAllowed for the own account,
    WrongState where it would take a role that the house cannot do without from the last who holds it."""
    _not_oneself(tx.actor, who)
    belongs(role, department, provider)
    if who.service and role not in SERVED:
        raise Invalid("service.role", N_("服务账号不能担任管理员"), field="role")
    if quota_manager and role is not Role.TENANT:
        raise Invalid("person.quota_manager", N_("只有使用单位的人员可以统筹本单位的配额"), field="quota_manager")
    if role != who.role:
        must_not_be_the_last(tx, who)
    before = _rights(who)
    who.role = role.value
    who.department_id = department.id if department else None
    who.provider_id = provider.id if provider else None
    who.granted, who.quota_manager = True, quota_manager
    if _rights(who) == before:
        raise WrongState("person.same", N_("授权没有变化"))
    who.session_epoch += 1
    tx.audit("person.grant", f"person:{who.id}", before=before, after=_rights(who))


def activate(tx: Tx, who: Person, active: bool) -> None:
    """Open or close an account. Closing ends its sessions. Raises NotAllowed for the own account, WrongState where it is
    so already or the house cannot do without it."""
    _not_oneself(tx.actor, who)
    if not active:
        must_not_be_the_last(tx, who)
    if who.active == active:
        raise WrongState("person.active", N_("账号已启用") if active else N_("账号已停用"))
    who.active = active
    if not active:
        who.session_epoch += 1
    tx.audit(
        "person.activate" if active else "person.deactivate",
        f"person:{who.id}",
        before={"active": not active},
        after={"active": active},
    )


def reset_password(tx: Tx, who: Person) -> str:
    """A new first password, to be changed at the next login; the open sessions end. NotAllowed for the own account.

    Whoever resets a password knows it: the account's rights rest until the security administrator grants them again.
    On the machine itself (the system) they stay, which is how the last security administrator gets back in; raises
    WrongState for that account elsewhere.
    """
    _not_oneself(tx.actor, who)
    if who.service:
        raise WrongState("service.password", N_("服务账号没有密码,凭令牌使用接口"))
    on_machine = tx.actor.role is Role.SYSTEM
    if not on_machine and who.role == Role.SECADMIN and who.granted and not _others_like(tx, who):
        raise WrongState(
            "person.last",
            N_("这是唯一可用的安全管理员,其密码须在主机上重置:guanjia account reset %(login)s"),
            login=who.login,
        )
    first = passwords.random()
    _set(tx, who, first)
    who.must_change = True
    throttle.forget(tx, who.login)
    before, who.granted = who.granted, who.granted and on_machine
    tx.audit("person.reset", f"person:{who.id}", before={"granted": before}, after={"granted": who.granted})
    return first


NEEDED = (Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUTHORITY)
"""Without somebody in each of these roles nobody could enter people, grant rights, watch the trail, or decide."""


def must_not_be_the_last(tx: Tx, who: Person) -> None:
    """Raise WrongState where nobody else could do what ``who`` does and somebody must. One change of rights at a time, or
    two administrators could take the role from each other."""
    tx.alone("rights")
    if who.role in NEEDED and who.active and who.granted and not _others_like(tx, who):
        raise WrongState(
            "person.only",
            N_("%(name)s 是唯一可用的%(role)s,不能停用或改任;请先启用并授权另一位%(role)s"),
            name=who.name,
            role=ROLE_LABELS[Role(who.role)],
        )


def _others_like(tx: Tx, who: Person) -> int:
    """How many others can log in with the same role."""
    query = select(func.count(Person.id)).where(
        Person.role == who.role, Person.id != who.id, Person.active, Person.granted, ~Person.service
    )
    return tx.scalar(query) or 0


def unlock(tx: Tx, who: Person) -> None:
    """Let the account be tried anew from everywhere, before its waits are over. Raises WrongState where nobody waits."""
    _not_oneself(tx.actor, who)
    if throttle.waits(tx, who.login) is None:
        raise WrongState("person.unlocked", N_("没有来源因输错密码被限制登录此账号"))
    throttle.forget(tx, who.login)
    tx.audit("person.unlock", f"person:{who.id}")


def belongs(role: Role, department: Department | None, provider: CloudProvider | None) -> None:
    """Raise Invalid unless a tenant has a department, provider staff a company, and nobody else either."""
    if role not in HELD:
        raise Invalid("person.role", N_("没有人可以系统任务的身份登录"), field="role")
    if (role is Role.TENANT) != (department is not None):
        raise Invalid("person.department", N_("使用单位的人员须选一个单位，其他角色不选"), field="department")
    if department is not None:
        must_be_open(department, "department")
    if provider is not None and not provider.active:
        raise Invalid("provider.closed", N_("%(name)s已停用"), name=provider.name, field="provider")
    if (role is Role.PROVIDER) != (provider is not None):
        raise Invalid("person.provider", N_("云服务商的人员须选一家公司，其他角色不选"), field="provider")


def _not_oneself(actor: Actor, who: Person) -> None:
    if actor.login == who.login:
        raise NotAllowed("person.self", N_("不能对自己的账号做这件事，请另一位管理员来做"))


def _rights(who: Person) -> dict[str, object]:
    return {
        "role": who.role,
        "department_id": who.department_id,
        "provider_id": who.provider_id,
        "granted": who.granted,
        "quota_manager": who.quota_manager,
    }


def _set(tx: Tx, who: Person, password: str, hashed: str = "") -> None:
    """Keep ``password`` (``hashed`` where that was done before); remember the ones before; end the open sessions."""
    if who.password_hash:
        who.password_history = [who.password_hash, *(who.password_history or [])][: passwords.REMEMBERED - 1]
    who.password_hash = hashed or passwords.hashed(password)
    who.password_changed_at = tx.now
    who.session_epoch = (who.session_epoch or 0) + 1
