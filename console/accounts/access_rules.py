"""By which rules people come in: who needs a second factor, from which networks, how old a password may be, and how fresh a
proof must be for acts that weigh (登录安全规则). Enacted by the security administrator, a version each; where nobody ever
enacted any, nothing of it is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from sqlalchemy import ScalarSelect, select

from console.accounts.tables import AccessRule
from quota.actors import HELD, ROLE_LABELS, Role
from quota.db import Tx
from quota.errors import N_, Invalid, NotAllowed, WrongState, stated

LIMITS = {"grace_days": (0, 90), "proof_minutes": (0, 24 * 60), "password_days": (0, 3650)}
"""Least and most of the figures. 0: at once; never asked; never too old."""
NETWORKS = 50


@dataclass(frozen=True, slots=True)
class AccessRules:
    """``second``: role → since when it needs a second factor, ``grace_days`` after which nothing else opens without one.
    ``keys``: role → since when that factor has to be a security key, by the same grace. ``proof_minutes``: how long a proof of being there is good for acts that weigh. ``password_days``: after which a password
    has to be changed. ``networks``: role → where it may come from; a role that is not named, from anywhere."""

    second: Mapping[str, datetime] = field(default_factory=dict)
    grace_days: int = 14
    proof_minutes: int = 0
    password_days: int = 0
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keys: Mapping[str, datetime] = field(default_factory=dict)

    def due(self, role: Role) -> datetime | None:
        """From when on nothing opens to ``role`` without a second factor; None: it needs none."""
        since = [one[role.value] for one in (self.second, self.keys) if role.value in one]
        return min(since) + timedelta(days=self.grace_days) if since else None

    def key_due(self, role: Role) -> datetime | None:
        """From when on nothing opens to ``role`` without a security key; None: a code will do."""
        since = self.keys.get(role.value)
        return None if since is None else since + timedelta(days=self.grace_days)

    def lets_in(self, role: Role, address: str) -> bool:
        """Whether ``role`` may come from ``address``."""
        allowed = self.networks.get(role.value)
        return not allowed or any(_holds(ip_network(one), address) for one in allowed)

    def too_old(self, changed_at: datetime | None, now: datetime) -> bool:
        """Whether a password that was changed then has to be changed now."""
        return bool(self.password_days and changed_at and now - changed_at > timedelta(days=self.password_days))

    def to_json(self) -> dict[str, Any]:
        return {
            "second": {role: at.isoformat() for role, at in self.second.items()},
            "grace_days": self.grace_days,
            "proof_minutes": self.proof_minutes,
            "password_days": self.password_days,
            "networks": {role: list(allowed) for role, allowed in self.networks.items()},
            "keys": {role: at.isoformat() for role, at in self.keys.items()},
        }


NONE = AccessRules()


def of(row: Mapping[str, Any] | None) -> AccessRules:
    """The rules of a kept version; of no version, none."""
    if not row:
        return NONE
    return AccessRules(
        {role: datetime.fromisoformat(at) for role, at in row["second"].items()},
        row["grace_days"],
        row["proof_minutes"],
        row["password_days"],
        {role: tuple(allowed) for role, allowed in row["networks"].items()},
        {role: datetime.fromisoformat(at) for role, at in row.get("keys", {}).items()},
    )


def newest() -> ScalarSelect[Any]:
    """The rules in force, as a column of another query."""
    return select(AccessRule.rules).order_by(AccessRule.id.desc()).limit(1).scalar_subquery()


def in_force(tx: Tx) -> AccessRules:
    return of(tx.scalar(select(AccessRule.rules).order_by(AccessRule.id.desc()).limit(1)))


def history(tx: Tx, limit: int = 20) -> list[AccessRule]:
    """Versions, the newest first."""
    return list(tx.scalars(select(AccessRule).order_by(AccessRule.id.desc()).limit(limit)))


def networks(text: str, name: str) -> tuple[str, ...]:
    """Networks as they were typed, one a line or split by commas. Raises Invalid naming ``name`` and what is none."""
    found: list[str] = []
    for part in text.replace(",", "\n").replace(",", "\n").split("\n"):
        if not (typed := part.strip()):
            continue
        try:
            one = str(ip_network(typed, strict=False))
        except ValueError:
            raise Invalid(
                "network.wrong",
                N_("“%(typed)s”不是网段，写法如 10.1.0.0/16 或 2001:db8::/48"),
                typed=typed[:64],
                field=name,
            ) from None
        if one not in found:
            found.append(one)
    if len(found) > NETWORKS:
        raise Invalid("network.many", N_("一个角色最多%(most)s个网段"), most=NETWORKS, field=name)
    return tuple(found)


def enact(
    tx: Tx,
    *,
    second: set[Role],
    grace_days: int,
    proof_minutes: int,
    password_days: int,
    allowed: Mapping[Role, tuple[str, ...]],
    reason: str,
    keys: Collection[Role] = (),
) -> AccessRules:
    """Put new rules into force. Raises Invalid for what makes no sense, NotAllowed where they would keep out who enacts
    them, WrongState where nothing changes."""
    tx.actor.must_be(Role.SECADMIN, Role.SYSTEM)
    tx.alone("access_rules")
    reason = stated(reason)
    figures = {"grace_days": grace_days, "proof_minutes": proof_minutes, "password_days": password_days}
    for name, (least, most) in LIMITS.items():
        if not least <= figures[name] <= most:
            raise Invalid("rules.range", N_("须在%(least)s到%(most)s之间"), least=least, most=most, field=name)
    before = in_force(tx)
    since = {role.value: before.second.get(role.value, tx.now) for role in HELD if role in second}
    keyed = {role.value: before.keys.get(role.value, tx.now) for role in HELD if role in keys}
    made = AccessRules(
        since, **figures, networks={role.value: allowed[role] for role in HELD if allowed.get(role)}, keys=keyed
    )
    if made == before:
        raise WrongState("rules.same", N_("规则没有变化"))
    role = tx.actor.role
    if role is not Role.SYSTEM and not made.lets_in(role, tx.actor.address):
        raise NotAllowed(
            "network.oneself",
            N_("您现在的地址 %(address)s 不在为%(role)s规定的网段内，启用后您将无法登录"),
            address=tx.actor.address,
            role=ROLE_LABELS[role],
            field=f"networks_{role.value}",
        )
    row = AccessRule(rules=made.to_json(), reason=reason, enacted_by=tx.actor.login, enacted_at=tx.now)
    tx.add(row)
    tx.flush()
    tx.audit("access.enact", f"access_rule:{row.id}", before=before.to_json(), after=made.to_json(), reason=reason)
    return made


def begin(tx: Tx) -> None:
    """The rules that a house begins with: administrators and the authority by two factors, after two weeks."""
    enact(
        tx,
        second={Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUTHORITY},
        grace_days=14,
        proof_minutes=15,
        password_days=90,
        allowed={},
        reason=N_("建立时的规则"),
    )


def open_networks(tx: Tx) -> AccessRules:
    """Let every role come from anywhere again: for the machine, where nobody can come in any more."""
    rules = in_force(tx)
    return enact(
        tx,
        second={Role(one) for one in rules.second},
        grace_days=rules.grace_days,
        proof_minutes=rules.proof_minutes,
        password_days=rules.password_days,
        allowed={},
        reason="guanjia account open-networks",
        keys={Role(one) for one in rules.keys},
    )


def _holds(network: IPv4Network | IPv6Network, address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found) in network
