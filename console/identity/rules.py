"""What the claims of a source mean here: which login, which department, and which rights they allow at most. Pure.

A rule is one document, enacted as a whole. It gives nobody anything: an account that it makes waits for the security
administrator's grant, and what it allows is compared with what somebody holds each time they come. As JSON:

    {"login": "preferred_username",                       the claim that is the login here
     "name": "name",                                      the claim that is the person's name
     "link": true,                                        whether who comes first is linked to the account of that login
     "create": true,                                      whether who has no account is given one that waits for a grant
     "department": "org_code",                            the claim that is the code of a department
     "roles": [{"claim": "groups", "value": "cloud-approvers", "role": "authority"},
               {"claim": "groups", "value": "staff", "role": "tenant"},
               {"claim": "org", "value": "JY", "role": "provider", "company": "JIAYUN"}],
     "second": [{"claim": "amr", "value": "otp"}],        who has one of these was asked for two factors there, and is not again here
     "anew": 60,                                          minutes after which it is asked whether it still knows somebody who works here; 0: never
     "tokens": 30,                                        days after which personal tokens of who did not come by it rest; 0: never
     "lost": "ask",                                       what becomes of rights that are not allowed any more: ask, remove
     "required": ["authority", "tenant"]}                 roles that come in by this source alone

A claim is named by its path (``address.region``); one that is a list holds if any of its values does. E-mail addresses are
no logins: whoever can choose an address at the source could choose somebody else's account here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.identity.sources import Claims
from quota.actors import HELD, Role
from quota.errors import N_, Invalid

ASK, REMOVE = "ask", "remove"
LOST = {ASK: N_("保留权限,请安全管理员核对"), REMOVE: N_("收回权限,待重新授权")}
MOST_ROLES = 50
OF_A_LOGIN = ("amr", "acr")
"""Claims that tell how somebody logged in, not who they are."""
LONGEST = 200
ANEW_MINUTES = (10, 24 * 60)
"""Least and most, where a source is asked anew at all."""
TOKEN_DAYS = 365
"""The most after which tokens may rest."""
MAILS = ("email", "mail", "emails")
_CLAIM = re.compile(r"[^\s\x00-\x1f]{1,100}")
_LOGIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Who has ``value`` among the values of ``claim`` may hold ``role``; of provider staff, in the company of that code."""

    claim: str
    value: str
    role: Role
    company: str = ""

    def to_json(self) -> dict[str, str]:
        told = {"claim": self.claim, "value": self.value, "role": self.role.value}
        return {**told, "company": self.company} if self.company else told


@dataclass(frozen=True, slots=True)
class Rules:
    """A rule as it is applied; see the module for what each part means."""

    login: str
    name: str = "name"
    link: bool = False
    create: bool = False
    department: str = ""
    roles: tuple[RoleRule, ...] = ()
    lost: str = ASK
    required: frozenset[Role] = frozenset()
    second: tuple[tuple[str, str], ...] = ()
    anew: int = 0
    tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "login": self.login,
            "name": self.name,
            "link": self.link,
            "create": self.create,
            "department": self.department,
            "roles": [one.to_json() for one in self.roles],
            "lost": self.lost,
            "required": sorted(one.value for one in self.required),
            "second": [{"claim": claim, "value": value} for claim, value in self.second],
            "anew": self.anew,
            "tokens": self.tokens,
        }


@dataclass(frozen=True, slots=True, order=True)
class Allowed:
    """A right that claims allow: a role, and whose (codes of a department or company; "" for neither)."""

    role: str
    department: str = ""
    company: str = ""

    def to_json(self) -> dict[str, str]:
        return {"role": self.role, "department": self.department, "company": self.company}


@dataclass(frozen=True, slots=True)
class ClaimMeaning:
    """What claims mean under a rule: the login ("" where the claim is missing or is none), the name, and the rights that
    they allow at most, in the rule's order. ``missing``: claims that the rule asked for and that were not there. ``second``: whether
    they say that the source asked for two factors."""

    login: str
    name: str
    allowed: tuple[Allowed, ...]
    missing: tuple[str, ...]
    second: bool = False


def read(content: Any) -> Rules:
    """The rule that ``content`` (JSON) is. Raises Invalid with the field that makes no sense."""
    if not isinstance(content, Mapping):
        raise _bad("rules", N_("须为一个 JSON 对象"))
    known = {"login", "name", "link", "create", "department", "roles", "lost", "required", "second", "anew", "tokens"}
    if unknown := sorted(map(str, set(content) - known)):
        raise _bad("rules", N_("无法识别的字段"), unknown[0])
    login = _claim(content.get("login"), "login")
    if login.rpartition(".")[2].lower() in MAILS:
        raise _bad("login", N_("邮箱地址不能作登录名"))
    for name in ("link", "create"):
        if not isinstance(content.get(name, False), bool):
            raise _bad(name, N_("须为 true 或 false"))
    lost = content.get("lost", ASK)
    if lost not in LOST:
        raise _bad("lost", N_("只能是 ask 或 remove"))
    roles = content.get("roles", [])
    if not isinstance(roles, list) or len(roles) > MOST_ROLES:
        raise _bad("roles", N_("须为列表,至多 50 条"))
    found = Rules(
        login=login,
        name=_claim(content.get("name") or "name", "name"),
        link=content.get("link", False),
        create=content.get("create", False),
        department=_claim(content["department"], "department") if content.get("department") else "",
        roles=tuple(_role_rule(one) for one in roles),
        lost=str(lost),
        required=frozenset(_role(one, "required") for one in _list(content.get("required", []), "required")),
        second=_second(content.get("second", [])),
        anew=_minutes(content.get("anew", 0)),
        tokens=_token_days(content.get("tokens", 0)),
    )
    if any(one.role is Role.TENANT for one in found.roles) and not found.department:
        raise _bad("department", N_("有使用单位的规则,须写明哪个声明是单位编码"))
    if found.create and not found.roles:
        raise _bad("roles", N_("要自动建账号,须至少有一条角色规则"))
    return found


def meaning(rules: Rules, claims: Claims) -> ClaimMeaning:
    """What ``claims`` mean. Never raises, whatever a source says."""
    login = _one(claims, rules.login)
    name = _one(claims, rules.name) or login
    department = _one(claims, rules.department) if rules.department else ""
    allowed: list[Allowed] = []
    for one in rules.roles:
        if one.value not in values(claims, one.claim):
            continue
        if one.role is Role.TENANT and not department:
            continue
        right = Allowed(one.role.value, department if one.role is Role.TENANT else "", one.company)
        if right not in allowed:
            allowed.append(right)
    asked = dict.fromkeys(filter(None, (rules.login, rules.department, *(one.claim for one in rules.roles))))
    missing = tuple(one for one in asked if not values(claims, one))
    second = any(value in values(claims, claim) for claim, value in rules.second)
    return ClaimMeaning(login if _LOGIN.fullmatch(login) else "", name[:64], tuple(allowed), missing, second)


def values(claims: Claims, path: str) -> list[str]:
    """The values of the claim at ``path`` as texts. A name with dots in it is found as it stands, too."""
    found: Any = claims.get(path)
    if found is None and "." in path:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    many = found if isinstance(found, Sequence) and not isinstance(found, str) else [found]
    return [_text(one) for one in many[:1000] if isinstance(one, str | int) and _text(one)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "".join(one for one in str(value).strip()[:LONGEST] if ord(one) >= 32)


def _one(claims: Claims, path: str) -> str:
    """The value of a claim that has one; "" where it has none or several."""
    found = values(claims, path)
    return found[0] if len(found) == 1 else ""


def _role_rule(raw: Any) -> RoleRule:
    if not isinstance(raw, Mapping) or set(raw) - {"claim", "value", "role", "company"}:
        raise _bad("roles", N_("每条须写明 claim、value、role,云服务商的另写 company"))
    role = _role(raw.get("role"), "roles")
    value, company = raw.get("value"), raw.get("company") or ""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise _bad("roles", N_("每条须写明声明的值"))
    if not isinstance(company, str) or (role is Role.PROVIDER) != bool(company.strip()):
        raise _bad("roles", N_("云服务商的角色须写明公司编码,其他角色不写"))
    return RoleRule(_claim(raw.get("claim"), "roles"), value.strip(), role, company.strip())


def _role(raw: Any, field: str) -> Role:
    if raw not in {one.value for one in HELD}:
        raise _bad(field, N_("没有这个角色"), str(raw)[:40])
    return Role(raw)


def _second(raw: Any) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for one in _list(raw, "second"):
        value = one.get("value") if isinstance(one, Mapping) and set(one) == {"claim", "value"} else None
        if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
            raise _bad("second", N_("每行须写明声明和它的值，如 amr=otp"))
        pair = (_claim(one["claim"], "second"), value.strip())
        if pair[0] not in OF_A_LOGIN:
            raise _bad("second", N_("只能写 amr 或 acr：其他声明说的是账号，不是这一次登录"))
        if pair not in found:
            found.append(pair)
    if len(found) > MOST_ROLES:
        raise _bad("second", N_("须为列表,至多 50 条"))
    return tuple(found)


def _minutes(raw: Any) -> int:
    least, most = ANEW_MINUTES
    if isinstance(raw, bool) or not isinstance(raw, int) or not (raw == 0 or least <= raw <= most):
        raise _bad("anew", N_("须为 0 或 10 至 1440 的整数"))
    return raw


def _token_days(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= TOKEN_DAYS:
        raise _bad("tokens", N_("须为 0 至 365 的整数"))
    return raw


def _list(raw: Any, field: str) -> list[Any]:
    if not isinstance(raw, list):
        raise _bad(field, N_("须为列表"))
    return raw


def _claim(raw: Any, field: str) -> str:
    if not isinstance(raw, str) or not _CLAIM.fullmatch(raw.strip()):
        raise _bad(field, N_("须为声明的名称"))
    return raw.strip()


def _bad(field: str, why: str, what: str = "") -> Invalid:
    return Invalid("identity.rules", N_("身份源规则无效:%(why)s %(what)s"), why=why, what=what, field=field)
