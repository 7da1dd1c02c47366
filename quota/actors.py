"""Who acts: the roles of the trade, and the person (or job) behind a change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from quota.errors import N_, NotAllowed


class Role(StrEnum):
    """Nobody holds two. The three administrators are the separation of duties (三员分立): none of them has business rights.
    The last two are nobody's to hold."""

    AUTHORITY = "authority"
    SUPERVISOR = "supervisor"
    TENANT = "tenant"
    PROVIDER = "provider"
    AUDITOR = "auditor"
    SYSADMIN = "sysadmin"
    SECADMIN = "secadmin"
    AUDADMIN = "audadmin"
    SYSTEM = "system"  # the steward's own jobs and the command line; nobody can log in as it
    NOBODY = "nobody"  # who has not logged in: no rule names it


ROLE_LABELS = {
    Role.AUTHORITY: N_("主管部门"),
    Role.SUPERVISOR: N_("运营监督方"),
    Role.TENANT: N_("使用单位"),
    Role.PROVIDER: N_("云服务商"),
    Role.AUDITOR: N_("审计观察员"),
    Role.SYSADMIN: N_("系统管理员"),
    Role.SECADMIN: N_("安全管理员"),
    Role.AUDADMIN: N_("审计管理员"),
    Role.SYSTEM: N_("系统任务"),
    Role.NOBODY: N_("未登录者"),
}

HELD = tuple(role for role in Role if role not in (Role.SYSTEM, Role.NOBODY))
"""Roles that a person may hold."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it and from where. Tenants act for a department, provider staff for a company."""

    login: str
    name: str
    role: Role
    department_id: int | None = None
    provider_id: int | None = None
    address: str = ""
    request_id: str = ""
    program: bool = False  # a service, behind which nobody is in person

    def must_be(self, *roles: Role) -> None:
        """Raise NotAllowed unless this actor holds one of ``roles``."""
        if self.role not in roles:
            raise NotAllowed(
                "role.missing", N_("这需要%(roles)s的权限"), roles=_joined(ROLE_LABELS[role] for role in roles)
            )

    def must_sign(self) -> None:
        """Raise NotAllowed for a service: where the city wants a person's word, or two persons', a program is none of them."""
        if self.program:
            raise NotAllowed("sign.person", N_("这需要人员本人签字,服务账号不能代签"))


def _joined(labels: Iterable[str]) -> str:
    return "、".join(labels)


def steward(task: str = "steward", address: str = "") -> Actor:
    """The steward itself, doing ``task`` (a job's or a command's name)."""
    return Actor(login=task, name=N_("运营监督管家"), role=Role.SYSTEM, address=address)


def nobody(address: str = "", request_id: str = "") -> Actor:
    """Who has not logged in: may read what says nothing of the city, and do nothing."""
    return Actor(login="-", name="-", role=Role.NOBODY, address=address, request_id=request_id)
