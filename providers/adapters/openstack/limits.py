"""A project's quota set to what an order says: in Nova, Cinder and Neutron, and in Keystone where it has limits of these.

Setting is asked for once more without harm: what stands there already is not sent. It is never forced: where more is in use than
is to be allowed, the services refuse, and so does the plan. A shrink that waits for its confirmation is counted by Nova at its
new size; were the quota lowered to that, the way back would be shut: meanwhile nothing is lowered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.adapters.openstack import books, words
from providers.adapters.openstack.acts import CloudActs
from providers.adapters.openstack.session import COMPUTE, IDENTITY, NETWORK, VOLUMES
from providers.base import BUSY, NEVER, CallRecord, CallState, Order, PlannedCall, ProviderFault
from providers.hands import Seen
from quota.units import BLOCK, EIP, MEMORY, VCPU, ClassCode

UNIFIED = "quota_unified"
SETS: Mapping[str, tuple[str, Mapping[str, ClassCode]]] = {
    "quota_compute": (COMPUTE, {"cores": VCPU, "ram": MEMORY}),
    "quota_volumes": (VOLUMES, {"gigabytes": BLOCK}),
    "quota_network": (NETWORK, {"floatingip": EIP}),
}
"""Calls by name → the service, and its words for our classes (all in our base units)."""


class QuotaCalls:
    """The calls of an order that sets a quota, for ``orders.OrderCalls``."""

    def __init__(self, acts: CloudActs) -> None:
        self.acts, self.session = acts, acts.session

    def plan(self, order: Order) -> tuple[PlannedCall, ...]:
        """As providers.base.Planning. Raises ProviderFault: NEVER for classes that the cloud keeps no quota of, or less than is in
        use; BUSY while something of the project is being resized."""
        project = self._project(order)
        strange = order.limits.keys() - {kind for _service, kinds in SETS.values() for kind in kinds.values()}
        if strange or not order.limits:
            raise _never(f"no quota of {', '.join(sorted(strange)) or 'nothing'}")
        calls = []
        if wanted := self._unified(order):
            self._still_may(order, UNIFIED, project)
            text = ", ".join(f"{one['resource_name']} {_said(now)} → {most}" for one, now, most in wanted.values())
            calls.append(PlannedCall(UNIFIED, f"Keystone /limits of {project}: {text}"))
        lowers = False
        for name in SETS:
            changes = []
            for word, (now, used, most) in self._differing(order, name).items():
                if most < used:
                    raise _never(f"{word}: {used} are in use, {most} are to be allowed")
                lowers |= name == "quota_compute" and (now < 0 or most < now)
                changes.append(f"{word} {_said(now)} → {most}")
            if changes:
                calls.append(PlannedCall(name, f"PUT {self._place(name, project)} {', '.join(changes)}"))
        if not calls:
            raise _never(f"{project} has these limits already")
        if lowers:
            self._nothing_waits(project)
        return tuple(calls)

    def send(self, order: Order, call: CallRecord) -> Seen:
        """As providers.hands.Caller; what came up since it was planned refuses it as the plan would have."""
        seen = self.look(order, call)
        if seen.state is CallState.DONE:
            return seen
        name, project = call.call.name, self._project(order)
        self._still_may(order, name, project)
        if name == UNIFIED:
            self._set_unified(order, project)
        else:
            service, kinds = SETS[name]
            values = {word: order.limits[kind] for word, kind in kinds.items() if kind in order.limits}
            self.acts.act(
                service, "PUT", self._place(name, project), {"quota" if service == NETWORK else "quota_set": values},
                microversion=self.session.nova() if service == COMPUTE else None,
            )  # fmt: skip
        return self.look(order, call)

    def look(self, order: Order, call: CallRecord) -> Seen:
        """As providers.hands.Caller: done is what stands there."""
        left = self._unified(order) if call.call.name == UNIFIED else self._differing(order, call.call.name)
        return Seen(CallState.WAITING if left else CallState.DONE)

    # ------------------------------------------------------------------------------------------------------- mechanism

    def _still_may(self, order: Order, name: str, project: str) -> None:
        """Raise ProviderFault where less than is in use by now would be allowed (NEVER), or what a resize that waits may need would
        be taken away (BUSY). Keystone itself looks at neither."""
        told = self._told(order, "quota_compute" if name == UNIFIED else name)
        for word, (now, used, most) in told.items():
            if most < used and (now != most or name == UNIFIED):
                raise _never(f"{word}: {used} are in use, {most} are to be allowed")
        wanted = [(now, most) for now, _used, most in told.values()] if name == "quota_compute" else []
        if name == UNIFIED:
            wanted = [(now, most) for _row, now, most in self._unified(order).values()]
        if any(now < 0 or most < now for now, most in wanted):
            self._nothing_waits(project)

    def _differing(self, order: Order, name: str) -> dict[str, tuple[int, int, int]]:
        """What ``_told`` tells of those whose limit differs."""
        return {word: one for word, one in self._told(order, name).items() if one[0] != one[2]}

    def _told(self, order: Order, name: str) -> dict[str, tuple[int, int, int]]:
        """The service's word → its limit now, what is in use, the limit that is ordered."""
        service, kinds = SETS[name]
        wanted = {word: order.limits[kind] for word, kind in kinds.items() if kind in order.limits}
        if not wanted:
            return {}
        project = self._project(order)
        if service == COMPUTE:
            told = self.session.get(COMPUTE, f"/os-quota-sets/{project}/detail", microversion=self.session.nova())[
                "quota_set"
            ]
        elif service == VOLUMES:
            told = self.session.get(VOLUMES, f"/os-quota-sets/{project}", usage="True")["quota_set"]
        else:
            told = self.session.get(NETWORK, f"/quotas/{project}/details")["quota"]
        found = {}
        for word, most in wanted.items():
            if not isinstance(told.get(word), Mapping):
                raise _never(f"{service} tells no quota of {word}")
            row = told[word]
            used = max(int(row.get("in_use", row.get("used", 0))), 0) + max(int(row.get("reserved", 0)), 0)
            found[word] = int(row["limit"]), used, most
        return found

    def _unified(self, order: Order) -> dict[str, tuple[Mapping[str, Any], int, int]]:
        """Resource name → (Keystone's row of the limit, its own or the registered one; the limit now; the one that is ordered),
        where it has such limits and they differ."""
        classes = {name: kind for name, kind in words.LIMIT_CLASSES.items() if kind in order.limits}
        if not classes:
            return {}
        limits = books.keystone_limits(self.session)
        mine = limits.own.get(str(order.project), {})
        found: dict[str, tuple[Mapping[str, Any], int, int]] = {}
        for name, row in limits.registered.items():
            if name not in classes:
                continue
            now = int(mine[name]["resource_limit"] if name in mine else row["default_limit"])
            most = order.limits[classes[name]]
            if now != most:
                found[name] = mine.get(name, row), now, most
        return found

    def _set_unified(self, order: Order, project: str) -> None:
        for name, (row, _now, most) in self._unified(order).items():
            if "resource_limit" in row:
                self.acts.act(IDENTITY, "PATCH", f"/limits/{row['id']}", {"limit": {"resource_limit": most}})
                continue
            new = {
                "service_id": row["service_id"], "project_id": project, "resource_name": name, "resource_limit": most,
                **({"region_id": row["region_id"]} if row.get("region_id") else {}),
            }  # fmt: skip
            self.acts.act(IDENTITY, "POST", "/limits", {"limits": [new]})

    def _nothing_waits(self, project: str) -> None:
        rows = self.session.all(
            COMPUTE, "/servers/detail", "servers", microversion=self.session.nova(), all_tenants=1, project_id=project
        )
        if rows.why:
            raise ProviderFault(rows.why, transient=True, code=rows.code or "partial")
        resized = [
            one["id"] for one in rows.rows
            if one["tenant_id"] == project and one["status"] in ("RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE")
        ]  # fmt: skip
        if resized:
            raise ProviderFault(f"being resized: {', '.join(resized)}", transient=True, code=BUSY)

    @staticmethod
    def _place(name: str, project: str) -> str:
        return f"/quotas/{project}" if SETS[name][0] == NETWORK else f"/os-quota-sets/{project}"

    @staticmethod
    def _project(order: Order) -> str:
        if not order.project:
            raise _never("no project")
        return order.project


def _said(limit: int) -> str:
    return "unlimited" if limit < 0 else str(limit)


def _never(message: str) -> ProviderFault:
    return ProviderFault(message, transient=False, code=NEVER)
