"""Whom and what a page names: people instead of logins, numbers and names instead of rows of the book."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import g
from sqlalchemy import select

from console.book import reading
from console.texts import UNKNOWN, _
from metering.case_files import Case
from providers.orders import WorkOrder
from quota.actors import ROLE_LABELS, Role
from quota.agencies import Department
from quota.dossier import Request
from quota.errors import N_
from quota.people import Person
from quota.pools import Pool

TASKS = frozenset({"bills", "delivery", "import", "incidents", "init", "inventory", "replay", "statements", "steward"})
"""What the steward signs with besides ``job:…``; see quota.actors.steward."""
POLICIES = {"default": N_("默认策略")}
KINDS: dict[str, tuple[str, Any, Callable[[Any], str]]] = {
    "case": (N_("案件"), Case, lambda one: str(one.number)),
    "request": (N_("申请"), Request, lambda one: str(one.number)),
    "order": (N_("工单"), WorkOrder, lambda one: str(one.number)),
    "pool": (N_("资源池"), Pool, lambda one: str(one.name)),
    "department": (N_("使用单位"), Department, lambda one: str(one.name)),
}
"""Name in the book → its word, its model, what it is called by."""
BASES = {"adopted": N_("上线时接管")}


def who(login: str | None) -> str:
    """The name of the person behind ``login``; 系统任务 for the steward's own tasks; anything else as it stands."""
    if not login:
        return UNKNOWN
    known: dict[str, str] = g.setdefault("names", {})
    if login not in known:
        name = reading().scalar(select(Person.name).where(Person.login == login))
        task = login in TASKS or login.startswith("job:")
        known[login] = name or (_(ROLE_LABELS[Role.SYSTEM]) if task else login)
    return known[login]


def who_exactly(login: str | None) -> str:
    """Name and login, for those who must tell two people of one name apart."""
    name = who(login)
    return name if name == login or not login else f"{name} ({login})"


def subject(ref: str | None) -> str:
    """``case:62`` → 案件 AJ2026-00062. What has no name of its own, or is gone, stays as the book has it."""
    if not ref:
        return UNKNOWN
    if ref in BASES:
        return _(BASES[ref])
    kind, _colon, number = ref.partition(":")
    if kind not in KINDS or not number.isdigit():
        return ref
    word, model, called = KINDS[kind]
    one = reading().get(model, int(number))
    return ref if one is None else f"{_(word)} {called(one)}"


def policy(name: str) -> str:
    """The name of a policy; the one that every city begins with has a word."""
    return _(POLICIES[name]) if name in POLICIES else name


FILTERS = {"who": who, "who_exactly": who_exactly, "subject": subject, "policy": policy}
