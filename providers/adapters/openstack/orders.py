"""Orders as calls of Nova, Cinder and Glance: what would be called, what was, what takes it back. Carried out by providers.hands.

Recycled is a server that is shelved and locked by us: OpenStack has no delete that can be taken back. A delete is sent for
``Verb.DELETE`` alone, and refused where it would take other volumes along.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from providers.adapters.openstack import flavors as sizes
from providers.adapters.openstack import limits, words
from providers.adapters.openstack.acts import CloudActs
from providers.adapters.openstack.listing import CloudScope
from providers.adapters.openstack.session import COMPUTE, IDENTITY, IMAGES, NETWORK, ROUND, VOLUMES, CloudSession
from providers.base import (
    BUSY,
    NEVER,
    CallRecord,
    CallState,
    Order,
    Outcome,
    PlannedCall,
    ProviderFault,
    ServiceKind,
    Verb,
)
from providers.hands import Seen
from quota.units import BLOCK, CLASSES, MEMORY, VCPU, Amount

KEY = "guanjia_key"
"""The name of the metadata by which what we made is found again."""

QUEUED_S, UPLOADS_S = 2 * 3600.0, 24 * 3600.0
"""How long a picture may wait for its host to begin with it, and how long it may then take."""

LOCK_REASON = (2, 73)
NO_NETWORK = "none"

SIZE = frozenset({VCPU, MEMORY})
SERVERS = frozenset({ServiceKind.VM})
CAPABILITIES = frozenset(Verb)
RELEASES = {**dict.fromkeys(Verb, frozenset()), Verb.RESIZE: SIZE, Verb.DELETE: frozenset(CLASSES)}

UNDER_WAY = frozenset({"BUILD", "RESIZE", "MIGRATING", "REVERT_RESIZE", "REBOOT", "HARD_REBOOT", "REBUILD", "PASSWORD"})
FROM: Mapping[Verb, frozenset[str]] = {
    Verb.RESIZE: frozenset({"ACTIVE", "SHUTOFF"}),
    Verb.STOP: frozenset({"ACTIVE", "SHUTOFF"}),
    Verb.START: frozenset({"ACTIVE", "SHUTOFF"}),
    Verb.SNAPSHOT: frozenset({"ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED"}),
    Verb.RECYCLE: frozenset({"ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED"}),
    Verb.RESTORE: frozenset({"SHELVED", "SHELVED_OFFLOADED"}),
}
"""Of what state a server must be for a verb; it may be deleted from any."""

_SETTLED = frozenset({"ACTIVE", "SHUTOFF"})
_ACTIONS = {"resize": "resize", "confirm": "confirmResize", "revert": "revertResize", "stop": "stop", "start": "start",
            "shelve": "shelve", "unshelve": "unshelve", "lock": "lock", "unlock": "unlock"}  # fmt: skip


class OrderCalls:
    """Implements providers.hands.Caller. ``named``: flavors for sizes; ``image`` and ``network``: of what new servers are made,
    by name or id ("": none is made); ``volume_type``: of new volumes ("": the cloud's own default)."""

    def __init__(
        self, session: CloudSession, scope: CloudScope, *, named: Mapping[sizes.Size, str], image: str, network: str,
        volume_type: str = "",
    ) -> None:  # fmt: skip
        self.session, self.scope, self.named = session, scope, named
        self.image, self.network, self.volume_type = image, network, volume_type
        self.acts = CloudActs(session)
        self.quotas = limits.QuotaCalls(self.acts)

    # ----------------------------------------------------------------------------------------------------------- plans

    def plan(self, order: Order, now: datetime) -> tuple[PlannedCall, ...]:
        """As providers.base.Planning: one reading of what it is about, and of the flavors where a size is ordered."""
        del now
        if order.verb is Verb.SET_QUOTA:
            return self.quotas.plan(order)
        if order.kind is ServiceKind.VOLUME:
            return self._plan_volume(order)
        if order.kind not in SERVERS:
            raise _never(f"{order.kind}: is not made or changed here")
        if order.verb is Verb.CREATE:
            return self._plan_create(order)
        row = self._must_be(order)
        about = f"/servers/{row['id']}"
        if order.verb is Verb.DELETE:
            self._takes_nothing_along(row)
            return (PlannedCall("delete", f"DELETE {about} ({row['name']})", frozenset(CLASSES), final=True),)
        if order.verb is Verb.RESIZE:
            if self._stands(order, row):  # each call finds it so, and none is sent
                said = f"{about} is {sizes.written(sizes.size_of(row['flavor']))} already"
                return PlannedCall("resize", said), PlannedCall("confirm", said, SIZE, final=True)
            flavor = self._flavor(order, row)
            text = f"POST {about}/action resize → {flavor['name']}"
            return (
                PlannedCall("resize", text, stops=row["status"] == "ACTIVE"),  # it is moved while it is off
                PlannedCall("confirm", f"POST {about}/action confirmResize", SIZE, final=True),
            )
        if order.verb is Verb.SNAPSHOT:
            return (PlannedCall("snapshot", f"POST {about}/action createImage"),)
        calls = {
            Verb.STOP: ("stop",), Verb.START: ("start",), Verb.RECYCLE: ("shelve", "lock"),
            Verb.RESTORE: ("unlock", "unshelve", "stop"),
        }[order.verb]  # fmt: skip
        return tuple(PlannedCall(name, f"POST {about}/action {name}") for name in calls)

    def _plan_create(self, order: Order) -> tuple[PlannedCall, ...]:
        if not self.image or not self.network:
            raise _never("new servers need an image and a network in the options of the pool")
        flavor = sizes.choose(order.amounts, self.flavors(), self.named, self.scope)
        project = self._project(order)
        self._image()
        self._networks()
        text = f"POST /servers {order.name} {flavor['name']} {self.image} {self.network} → {project['name']}"
        return (PlannedCall("create", text),)

    def _plan_volume(self, order: Order) -> tuple[PlannedCall, ...]:
        size = order.amounts.get(BLOCK, 0)
        if order.verb is Verb.CREATE:
            if size <= 0:
                raise _never("a volume of no size")
            return (
                PlannedCall("create_volume", f"POST /volumes {order.name} {size} GB → {self._project(order)['name']}"),
            )
        row = self._volume(order)
        if row is None:
            raise _never(f"no volume {order.external_id}")
        about = f"/volumes/{row['id']}"
        if order.verb is Verb.RESIZE:
            if size < int(row["size"]):
                raise _never(f"a volume of {row['size']} GB can't shrink to {size} GB")
            if size == int(row["size"]):
                return (PlannedCall("extend", f"{about} is {size} GB already"),)
            return (PlannedCall("extend", f"POST {about}/action os-extend {row['size']} → {size} GB"),)
        if order.verb is Verb.SNAPSHOT:
            return (PlannedCall("snapshot_volume", f"POST /snapshots of {row['id']}"),)
        if order.verb is Verb.DELETE:
            if row.get("attachments"):
                raise _never(f"the volume hangs on server {row['attachments'][0].get('server_id')}")
            return (
                PlannedCall(
                    "delete_volume", f"DELETE {about} ({row.get('name') or ''})", frozenset({BLOCK}), final=True
                ),
            )
        raise _never(f"{order.verb}: not of a volume")

    def _must_be(self, order: Order) -> dict[str, Any]:
        """The server of an order, in a state that it can be begun from. Raises ProviderFault: BUSY where it is under way, NEVER
        where it is not there or not in such a state."""
        row = self._server(order.external_id)
        if row is None:
            raise _never(f"no server {order.external_id}")
        status, wanted = str(row["status"]), FROM.get(order.verb)
        if wanted is None or (status in wanted and not row.get("OS-EXT-STS:task_state")):
            return row
        if status in UNDER_WAY or row.get("OS-EXT-STS:task_state"):
            raise ProviderFault(
                f"{row['id']}: {status} {row.get('OS-EXT-STS:task_state') or ''}", transient=True, code=BUSY
            )
        raise _never(f"{row['id']} is {status}: no {order.verb} from there")

    def _takes_nothing_along(self, row: Mapping[str, Any]) -> None:
        root = str(row.get("OS-EXT-SRV-ATTR:root_device_name") or "/dev/vda")
        attached = self._read(f"/servers/{row['id']}/os-volume_attachments")["volumeAttachments"]
        along = [
            str(one["volumeId"]) for one in attached if one.get("delete_on_termination") and one.get("device") != root
        ]
        if along:
            raise _never(f"volumes that would be deleted with it: {', '.join(along)}; have them detached first")

    def _flavor(self, order: Order, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The flavor that a server is resized to: what the order leaves out stays."""
        now = row["flavor"]
        wanted = Amount(words.amounts(row, local_disks=False, accelerators=self.scope.accelerators)) | order.amounts
        former = {**now, "OS-FLV-EXT-DATA:ephemeral": now.get("ephemeral")}
        found = sizes.choose(
            wanted, self.flavors(), self.named, self.scope, now=former, disk=int(now["disk"]) if row.get("image") else 0
        )
        if sizes.size_of(found) == sizes.size_of(now):
            raise _never(f"{row['id']} is {sizes.written(sizes.size_of(now))} already")
        return found

    def _stands(self, order: Order, row: Mapping[str, Any]) -> bool:
        """Whether a server has already what a resize is to give it."""
        has = words.amounts(row, local_disks=self.scope.local_disks, accelerators=self.scope.accelerators)
        return all(has.get(kind, 0) == figure for kind, figure in order.amounts.items())

    def flavors(self) -> list[dict[str, Any]]:
        """All flavors, with their extra specs. Raises ProviderFault where they can't be read to their end."""
        rows = self._rows(COMPUTE, "/flavors/detail", "flavors", microversion=self.session.nova(), is_public="None")
        return [one for one in rows if not one.get("OS-FLV-DISABLED:disabled")]

    def _project(self, order: Order) -> dict[str, Any]:
        """In which project a new thing is made: as the order says, or the only one that is called like its department."""
        rows = self._rows(IDENTITY, "/projects", "projects", page=ROUND)
        names = (order.project,) if order.project else ()
        found = [one for one in rows if one["id"] in names]
        if not order.project and order.department_code:
            found = [one for one in rows if str(one["name"]).casefold() == order.department_code.casefold()]
        if len(found) != 1:
            raise _never(f"no one project for department {order.department_code}: say whose the cloud's projects are")
        domains = self._rows(IDENTITY, "/domains", "domains", page=ROUND)
        names_ = {one["id"]: one["name"] for one in domains}
        return {**found[0], "domain": names_.get(found[0].get("domain_id"), "Default")}

    def _image(self) -> str:
        rows = self._rows(IMAGES, "/images", "images")
        found = [one["id"] for one in rows if self.image in (one["id"], one["name"])]
        if len(found) != 1:
            raise _never(f"{len(found)} images are called {self.image}")
        return str(found[0])

    def _networks(self) -> object:
        """What a new server is put on; NO_NETWORK where somebody else does so."""
        if self.network == NO_NETWORK:
            return NO_NETWORK
        rows = self._rows(NETWORK, "/networks", "networks")
        found = [one["id"] for one in rows if self.network in (one["id"], one["name"])]
        if len(found) != 1:
            raise _never(f"{len(found)} networks are called {self.network}")
        return [{"uuid": str(found[0])}]

    # ----------------------------------------------------------------------------------------------------------- calls

    def mark(self, order: Order, call: CallRecord) -> Mapping[str, Any]:
        """The actions that Nova has on record of the server, by which a new one is told."""
        if call.call.name in _ACTIONS and order.external_id:
            return {"actions": [one["request_id"] for one in self._actions(order.external_id)]}
        return {}

    def send(self, order: Order, call: CallRecord, calls: Sequence[CallRecord]) -> Seen:
        """As providers.hands.Caller; where the cloud shows already what is wanted, nothing is sent."""
        name, about = call.call.name, order.external_id or ""
        if order.verb is Verb.SET_QUOTA:
            return self.quotas.send(order, call)
        if name in _ACTIONS:
            return self._act(order, call)
        if name == "create":
            return self._create(order)
        if name == "create_volume":
            body: dict[str, Any] = {
                "size": order.amounts[BLOCK],
                "name": order.name or order.key,
                "metadata": {KEY: order.key},
            }
            if self.volume_type:
                body["volume_type"] = self.volume_type
            made = self.acts.act(VOLUMES, "POST", "/volumes", {"volume": body}, project=self._project(order))
            return Seen(CallState.SENT, {"volume": made["volume"]["id"]}, wait_s=5)
        if name == "snapshot":
            title = f"{order.name or about}-{order.key}"[:250]
            self._action(about, "createImage", {"name": title, "metadata": {KEY: order.key}})
            return Seen(CallState.SENT, wait_s=10)
        if name == "snapshot_volume":
            self.acts.act(VOLUMES, "POST", "/snapshots", {"snapshot": {
                "volume_id": about, "name": f"{order.name or about}-{order.key}"[:250], "force": True,
                "metadata": {KEY: order.key},
            }})  # fmt: skip
            return Seen(CallState.SENT, wait_s=10)
        if name == "extend":
            if (seen := self.look(order, call, calls)).state is CallState.DONE:
                return seen
            path, body = f"/volumes/{about}/action", {"os-extend": {"new_size": order.amounts[BLOCK]}}
            self.acts.act(VOLUMES, "POST", path, body, microversion="3.42")
            return Seen(CallState.SENT, wait_s=5)
        gone = {"delete": (COMPUTE, f"/servers/{about}"), "delete_volume": (VOLUMES, f"/volumes/{about}")}
        if name == "discard":
            made_id = _fact(calls, "server")
            gone = {"discard": (COMPUTE, f"/servers/{made_id}")}
        elif order.verb is not Verb.DELETE:
            raise _never(f"{order.verb} deletes nothing")
        service, path = gone[name]
        seen = self.look(order, call, calls)
        if seen.state is CallState.WAITING:
            self.acts.act(service, "DELETE", path, microversion=self.session.nova() if service == COMPUTE else None)
        return Seen(CallState.SENT, wait_s=5) if seen.state is not CallState.DONE else seen

    def _create(self, order: Order) -> Seen:
        flavor = sizes.choose(order.amounts, self.flavors(), self.named, self.scope)
        whose = {self.scope.department_key: order.department_code, self.scope.system_key: order.system_code}
        metadata = {KEY: order.key, **{name: value for name, value in whose.items() if name and value}}
        body: dict[str, Any] = {
            "name": order.name or order.key, "flavorRef": flavor["id"], "imageRef": self._image(),
            "networks": self._networks(), "metadata": metadata,
        }  # fmt: skip
        if len(self.scope.zones) == 1:
            body["availability_zone"] = self.scope.zones[0]
        made = self.acts.act(
            COMPUTE,
            "POST",
            "/servers",
            {"server": body},
            microversion=self.session.nova(),
            project=self._project(order),
        )
        return Seen(CallState.SENT, {"server": made["server"]["id"]}, wait_s=5)

    def _act(self, order: Order, call: CallRecord) -> Seen:
        name, about = call.call.name, order.external_id or ""
        row = self._server(about)
        if row is None:
            raise _never(f"no server {about}")
        if self._reached(order, name, row):
            return Seen(CallState.DONE, self._had(row))
        if name == "resize":
            self._action(about, "resize", {"flavorRef": self._flavor(order, row)["id"]})
        elif name == "confirm":
            if sizes.size_of(row["flavor"]) != self._ordered(order, row):
                said = f"{about} became {sizes.written(sizes.size_of(row['flavor']))}, which was not ordered"
                return Seen(CallState.FAILED, said=said, code=NEVER)
            self._action(about, "confirmResize", None)
        elif name == "lock":
            reason = {"locked_reason": words.LOCKED_BY_US} if _version(self.session.nova()) >= LOCK_REASON else None
            self._action(about, "lock", reason)
        else:
            self._action(
                about, {"revert": "revertResize", "stop": "os-stop", "start": "os-start"}.get(name, name), None
            )
        return Seen(CallState.SENT, wait_s=5)

    def look(self, order: Order, call: CallRecord, calls: Sequence[CallRecord]) -> Seen:
        """As providers.hands.Caller: by the state of the thing, and by Nova's record of actions where that does not tell."""
        name, about = call.call.name, order.external_id or ""
        if order.verb is Verb.SET_QUOTA:
            return self.quotas.look(order, call)
        if name in _ACTIONS:
            return self._look_action(order, call)
        if name == "create":
            return self._look_created(order, call)
        if name == "create_volume":
            return self._look_volume(self._made_volume(order, call), {"available"})
        if name == "snapshot":
            return self._look_picture(order)
        if name == "snapshot_volume":
            rows = self._rows(VOLUMES, "/snapshots/detail", "snapshots", all_tenants=1)
            found = [one for one in rows if (one.get("metadata") or {}).get(KEY) == order.key]
            return _thing(found[0] if found else None, {"available"}, {"snapshot": found[0]["id"]} if found else {})
        if name == "extend":
            row = self._volume(order)
            if row is not None and int(row["size"]) < order.amounts[BLOCK] and row["status"] in ("available", "in-use"):
                return Seen(CallState.WAITING)
            return self._look_volume(row, {"available", "in-use"})
        row = self._volume(order) if name == "delete_volume" else self._server(
            str(_fact(calls, "server")) if name == "discard" else about
        )  # fmt: skip
        if row is None or row["status"] in ("DELETED", "SOFT_DELETED"):
            return Seen(CallState.DONE)
        if row["status"] == "deleting" or row.get("OS-EXT-STS:task_state") == "deleting":
            return Seen(CallState.SENT, wait_s=5)
        if str(row["status"]).startswith("error_"):
            return Seen(CallState.FAILED, said=f"{row['id']}: {row['status']}")
        return Seen(CallState.WAITING)

    def _look_picture(self, order: Order) -> Seen:
        """A server's picture: queued in Glance until its host begins to put it there. Where Nova has nothing of it under way any more,
        it will stay so."""
        rows = self.session.get(IMAGES, "/images", **{KEY: order.key})["images"]
        seen = _thing(rows[0] if rows else None, {"active"}, {"snapshot": rows[0]["id"]} if rows else {})
        if seen.state is not CallState.SENT:
            return seen
        row = self._server(order.external_id) or {}
        doing = str(row.get("OS-EXT-STS:task_state") or "")
        alive = rows[0]["status"] != "queued" or doing.startswith("image_")
        said = f"image {rows[0]['id']} is {rows[0]['status']}, {doing or 'nothing is under way'} at server {order.external_id}"
        return replace(seen, said=said, stalls_s=UPLOADS_S if alive else QUEUED_S)

    def _look_action(self, order: Order, call: CallRecord) -> Seen:
        row = self._server(order.external_id)
        if row is None:
            return Seen(CallState.FAILED, said=f"{order.external_id} is gone", code=NEVER)
        if self._reached(order, call.call.name, row):
            return Seen(CallState.DONE, self._had(row))
        if row.get("OS-EXT-STS:task_state") or row["status"] in UNDER_WAY:
            return Seen(CallState.SENT, wait_s=10)
        before = set(call.facts.get("actions", ()))
        new = [
            one
            for one in self._actions(str(order.external_id))
            if one["request_id"] not in before and one["action"] == _ACTIONS[call.call.name]
        ]
        if not new:
            if row["status"] == "ERROR":
                return Seen(CallState.FAILED, said=_why(row), code=NEVER)
            return Seen(CallState.WAITING)
        if call.call.name == "resize" and row["status"] == "VERIFY_RESIZE":
            return Seen(CallState.DONE, self._had(row))  # to another size than was ordered: it is not confirmed
        if row["status"] == "ERROR" or any(one.get("message") for one in new):
            said = _why(row) or str(new[0].get("message"))
            return Seen(CallState.FAILED, said=f"{order.external_id} {call.call.name}: {said}")
        return Seen(CallState.SENT, wait_s=10)

    def _look_created(self, order: Order, call: CallRecord) -> Seen:
        row = self._server(str(call.facts["server"])) if call.facts.get("server") else None
        if row is None:
            name = f"^{re.escape(order.name or order.key)}$"
            rows = self._rows(
                COMPUTE, "/servers/detail", "servers", microversion=self.session.nova(), all_tenants=1, name=name
            )
            row = next((one for one in rows if (one.get("metadata") or {}).get(KEY) == order.key), None)
        if row is None:
            return Seen(CallState.WAITING)
        facts = {"server": row["id"], **self._had(row)}
        if row["status"] == "ERROR":
            return Seen(CallState.FAILED, facts, _why(row))
        if row["status"] == "ACTIVE":
            return Seen(CallState.DONE, facts)
        return Seen(CallState.SENT, facts, wait_s=5)

    def _reached(self, order: Order, name: str, row: Mapping[str, Any]) -> bool:
        """Whether the server is where the call was to take it."""
        status = str(row["status"])
        if row.get("OS-EXT-STS:task_state"):
            return False
        size = sizes.size_of(row["flavor"])
        reached: Mapping[str, Callable[[], bool]] = {
            # Where the cloud confirms by itself, a resized server never waits for it.
            "resize": lambda: (status == "VERIFY_RESIZE" or status in _SETTLED) and size == self._ordered(order, row),
            "confirm": lambda: status in _SETTLED and size == self._ordered(order, row),
            "revert": lambda: status in _SETTLED and size != self._ordered(order, row),
            "stop": lambda: status == "SHUTOFF",
            "start": lambda: status == "ACTIVE",
            "shelve": lambda: status in words.SHELVED,
            "unshelve": lambda: status in _SETTLED,
            "lock": lambda: bool(row.get("locked")),
            "unlock": lambda: not row.get("locked"),
        }
        return reached[name]()

    @staticmethod
    def _ordered(order: Order, row: Mapping[str, Any]) -> sizes.Size:
        """The size that was ordered; what the order leaves out is as the server has it."""
        vcpus, ram = sizes.size_of(row["flavor"])
        return order.amounts.get(VCPU, vcpus), order.amounts.get(MEMORY, ram)

    def back(self, order: Order, calls: Sequence[CallRecord]) -> PlannedCall | None:
        """A resize that can't be confirmed is reverted while it can be; a server that never ran is deleted, which nobody had."""
        done = {one.call.name for one in calls if one.state is CallState.DONE}
        failed = {one.call.name for one in calls if one.state is CallState.FAILED}
        about = order.external_id
        if "resize" in done and "confirm" in failed:
            row = self._server(about)
            if row is not None and row["status"] == "VERIFY_RESIZE":
                return PlannedCall("revert", f"POST /servers/{about}/action revertResize")
        if "create" in failed and _fact(calls, "server"):
            return PlannedCall("discard", f"DELETE /servers/{_fact(calls, 'server')} ({order.name}, never ran)")
        if "shelve" in done and "lock" in failed:
            return PlannedCall("unshelve", f"POST /servers/{about}/action unshelve")
        return None

    def result(self, order: Order, calls: Sequence[CallRecord], outcome: Outcome) -> Outcome:
        """What was noted when it was done."""
        amounts: dict[str, Any] = _fact(calls, "amounts") or {}
        made = _fact(calls, "server") or _fact(calls, "volume") or order.external_id
        return replace(
            outcome, external_id=made, amounts=Amount.from_json(amounts), message=str(_fact(calls, "snapshot") or "")
        )

    # ------------------------------------------------------------------------------------------------------- mechanism

    def _read(self, path: str, **params: object) -> Any:
        return self.session.get(COMPUTE, path, microversion=self.session.nova(), **params)

    def _action(self, server: str, name: str, body: object) -> None:
        self.acts.act(COMPUTE, "POST", f"/servers/{server}/action", {name: body}, microversion=self.session.nova())

    def _rows(self, service: str, path: str, key: str, **more: Any) -> list[dict[str, Any]]:
        found = self.session.all(service, path, key, **more)
        if found.why:
            raise ProviderFault(found.why, transient=True, code=found.code or "partial")
        return found.rows

    def _server(self, id_: str | None) -> dict[str, Any] | None:
        return self._one(COMPUTE, f"/servers/{id_}", "server")

    def _volume(self, order: Order) -> dict[str, Any] | None:
        return self._one(VOLUMES, f"/volumes/{order.external_id}", "volume")

    def _one(self, service: str, path: str, key: str) -> dict[str, Any] | None:
        """What is there, None where the service says that nothing is. Raises ProviderFault."""
        found = self.session.found(service, path, microversion=self.session.nova() if service == COMPUTE else None)
        return None if found is None else found[key]

    def _actions(self, server: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._read(f"/servers/{server}/os-instance-actions")["instanceActions"]
        return found

    def _made_volume(self, order: Order, call: CallRecord) -> dict[str, Any] | None:
        if call.facts.get("volume"):
            return self._one(VOLUMES, f"/volumes/{call.facts['volume']}", "volume")
        rows = self._rows(VOLUMES, "/volumes/detail", "volumes", all_tenants=1)
        return next((one for one in rows if (one.get("metadata") or {}).get(KEY) == order.key), None)

    @staticmethod
    def _look_volume(row: dict[str, Any] | None, done: set[str]) -> Seen:
        facts = {} if row is None else {"volume": row["id"], "amounts": {BLOCK: int(row["size"])}}
        return _thing(row, done, facts)

    def _had(self, row: Mapping[str, Any]) -> dict[str, Any]:
        has = words.amounts(row, local_disks=self.scope.local_disks, accelerators=self.scope.accelerators)
        return {"amounts": Amount(has).to_json()}


def _thing(row: Mapping[str, Any] | None, done: set[str], facts: Mapping[str, Any]) -> Seen:
    """What became of a volume, a snapshot or an image by its status."""
    if row is None:
        return Seen(CallState.WAITING)
    status = str(row["status"])
    if status in done:
        return Seen(CallState.DONE, facts)
    if status.startswith("error") or status in ("killed", "deleted"):
        return Seen(CallState.FAILED, facts, f"{row['id']}: {status}")
    return Seen(CallState.SENT, facts, wait_s=5)


def _fact(calls: Sequence[CallRecord], name: str) -> Any:
    return next((one.facts[name] for one in reversed(calls) if name in one.facts), None)


def _why(row: Mapping[str, Any]) -> str:
    return str((row.get("fault") or {}).get("message") or "")[:500]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _never(message: str) -> ProviderFault:
    return ProviderFault(message, transient=False, code=NEVER)
