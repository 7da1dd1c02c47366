"""A Nova that takes orders, over the replies of a recorded one: its servers begin as they were recorded, and change as the real
one changes them (as seen on Nova 34.0.0); and a Gnocchi that goes on measuring them.

As seen there: an action is refused with 409 in a state that it can't begin from; a resize ends in VERIFY_RESIZE, which holds
until it is confirmed; after a confirm the state is not at once another; a smaller root disk is 400, cores over the quota 403.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

from providers.adapters.openstack import OpenStackCloud
from tests.clouds.filling import FLAVORS
from tests.clouds.recordings import AGGREGATES, Ask, Recording, Reply

_PATH = re.compile(
    r"^compute/v2\.1/servers(?:/(?P<id>[^/]+))?(?:/(?P<rest>action|os-instance-actions|os-volume_attachments))?$"
)
_FROM = {
    "resize": {"ACTIVE", "SHUTOFF"}, "confirmResize": {"VERIFY_RESIZE"}, "revertResize": {"VERIFY_RESIZE"}, "os-stop": {"ACTIVE"},
    "os-start": {"SHUTOFF"}, "shelve": {"ACTIVE", "SHUTOFF"}, "unshelve": {"SHELVED_OFFLOADED"},
    "createImage": {"ACTIVE", "SHUTOFF"},
}  # fmt: skip
_ENDS = {"os-stop": "SHUTOFF", "os-start": "ACTIVE", "shelve": "SHELVED_OFFLOADED", "unshelve": "ACTIVE"}


def rested(cloud: object) -> None:
    """The minute is over for which a service that did not answer is left alone."""
    assert isinstance(cloud, OpenStackCloud)
    for breaker in cloud.session.breakers.values():
        breaker._until = 0.0


class LivingNova:
    """A change of a recording. ``takes``: looks that a change takes to be seen; ``trouble``: what the next actions of a name
    (an action's, "create" or "delete") meet, each once: "down" (nobody answers, nothing done), "lost" (done, and the answer
    is a 500), "fails" (it goes wrong on the host), or a status with which it is refused. ``cores``: the limit of
    every project, Keystone's where ``unified``. ``pictured``: the state of new pictures. ``taken``: what was done, in order."""

    def __init__(self, recording: Recording, *, takes: int = 1, cores: int = 10_000) -> None:
        self.servers: dict[str, dict[str, Any]] = {
            one["id"]: copy.deepcopy(one)
            for ask, reply in recording.exchanges
            if ask.path.endswith("servers/detail") and ("status", "SOFT_DELETED") not in ask.query
            for one in reply.answer["servers"]
        }
        self.takes, self.cores, self.unified, self.pictured = takes, cores, False, "active"
        self.trouble: dict[str, list[str | int]] = {}
        self.taken: list[str] = []
        self.actions: dict[str, list[dict[str, Any]]] = {}
        self.images: list[dict[str, Any]] = []
        self._later: dict[str, tuple[int, dict[str, Any]]] = {}

    def __call__(self, ask: Ask, reply: Reply) -> Reply:
        if ask.path == "compute/v2.1/flavors/detail":
            return Reply(200, {"flavors": [self.flavor(name) for name in FLAVORS]})
        if ask.path.endswith("v2/images") and dict(ask.query).get("guanjia_key"):
            key = dict(ask.query)["guanjia_key"]
            return Reply(200, {"images": [one for one in self.images if one["guanjia_key"] == key]})
        found = _PATH.match(ask.path)
        if ask.path == "compute/v2.1/servers/detail":
            return self._listed(ask, reply)
        if found is None:
            return reply
        id_, rest = found["id"], found["rest"]
        if ask.method == "POST" and id_ is None:
            return self._met("create", lambda: self._create(json.loads(ask.body)["server"]))
        row = self._now(str(id_))
        if row is None:
            return Reply(404, {"itemNotFound": {"code": 404, "message": f"Instance {id_} could not be found."}})
        if rest == "os-instance-actions":
            return Reply(200, {"instanceActions": list(reversed(self.actions.get(row["id"], [])))})
        if rest == "os-volume_attachments":
            return Reply(200, {"volumeAttachments": []})
        if rest == "action":
            [(name, body)] = json.loads(ask.body).items()
            return self._met(name, lambda: self._act(row, name, body))
        if ask.method == "DELETE":
            return self._met("delete", lambda: self._delete(row))
        return Reply(200, {"server": row})

    def flavor(self, name: str) -> dict[str, Any]:
        vcpus, ram, disk = FLAVORS[name]
        return {
            "id": f"id-{name}", "name": name, "vcpus": vcpus, "ram": ram, "disk": disk, "swap": 0, "extra_specs": {},
            "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": False,
        }  # fmt: skip

    def of(self, name: str) -> dict[str, Any]:
        """The server called so, as it will be."""
        return next(one for one in self.servers.values() if one["name"] == name)

    # ------------------------------------------------------------------------------------------------------- mechanism

    def _met(self, name: str, act: Any) -> Reply:
        trouble = self.trouble.get(name, []).pop(0) if self.trouble.get(name) else ""
        if trouble == "down":
            return Reply(502, "<html>Bad Gateway</html>", {"content-type": "text/html"})
        if isinstance(trouble, int):
            retry = {"retry-after": "7"} if trouble in (429, 503) else {}
            return Reply(trouble, {"conflictingRequest": {"code": trouble, "message": f"declared {trouble}"}}, retry)
        answer: Reply = act()
        if answer.status < 300:
            self.taken.append(name)
            if trouble == "fails":
                self._fail(name)
        return Reply(500, {"computeFault": {"code": 500, "message": "declared"}}) if trouble == "lost" else answer

    def _fail(self, name: str) -> None:
        """What was begun goes wrong: a new server is in ERROR, a change is undone, and the action says so."""
        id_ = next(reversed(self._later))
        looks, _change = self._later[id_]
        if name == "create":
            fault = {"message": "No valid host was found. ", "code": 500}
            self._later[id_] = looks, {"status": "ERROR", "fault": fault, "OS-EXT-STS:task_state": None}
        else:
            self._later[id_] = looks, {"status": self.servers[id_]["was"], "OS-EXT-STS:task_state": None}
            self.actions[id_][-1]["message"] = "Error"

    def _now(self, id_: str) -> dict[str, Any] | None:
        row = self.servers.get(id_)
        looks, change = self._later.get(id_, (0, {}))
        if row is not None and change:
            if looks > 0:
                self._later[id_] = looks - 1, change
            else:
                del self._later[id_]
                if change.get("status") == "DELETED":
                    del self.servers[id_]
                    return None
                row.update(change)
        return row

    def _listed(self, ask: Ask, reply: Reply) -> Reply:
        told = dict(ask.query)
        if told.get("status") == "SOFT_DELETED" or told.get("marker"):
            return replace(reply, status=200, answer={"servers": []})
        rows = [row for id_ in list(self.servers) if (row := self._now(id_)) is not None]
        if "name" in told:
            rows = [one for one in rows if re.search(told["name"], one["name"])]
        return Reply(200, {"servers": rows})

    def _create(self, body: Mapping[str, Any]) -> Reply:
        name = str(body["flavorRef"]).removeprefix("id-")
        vcpus, ram, disk = FLAVORS[name]
        made_of = {
            "vcpus": vcpus,
            "ram": ram,
            "disk": disk,
            "ephemeral": 0,
            "swap": 0,
            "original_name": name,
            "extra_specs": {},
        }
        if vcpus > self.cores:
            said = f"Quota exceeded for cores: Requested {vcpus}, but already used 0 of {self.cores} cores"
            if self.unified:
                over = f"Resource class:VCPU is over limit of {self.cores} due to current usage 0 and delta {vcpus}"
                said = f"Project {uuid4().hex} is over a limit for [{over}]"
            return Reply(403, {"forbidden": {"code": 403, "message": said}})
        like = next(iter(self.servers.values()))
        id_ = str(uuid4())
        self.servers[id_] = {
            **copy.deepcopy(like), "id": id_, "name": body["name"], "status": "BUILD", "metadata": dict(body["metadata"]),
            "flavor": made_of, "locked": False, "locked_reason": None, "OS-EXT-STS:task_state": "spawning",
        }  # fmt: skip
        self._later[id_] = self.takes, {"status": "ACTIVE", "OS-EXT-STS:task_state": None}
        return Reply(202, {"server": {"id": id_}})

    def _act(self, row: dict[str, Any], name: str, body: Any) -> Reply:
        if name in ("lock", "unlock"):
            row["locked"], row["locked_reason"] = name == "lock", (body or {}).get("locked_reason")
            self._note(row["id"], name)
            return Reply(202, "")
        if row["status"] not in _FROM[name] or row.get("OS-EXT-STS:task_state"):
            said = f"Cannot '{name}' instance {row['id']} while it is in vm_state {row['status'].lower()}"
            return Reply(409, {"conflictingRequest": {"code": 409, "message": said}})
        row["was"] = row["status"]
        if name == "createImage":
            self.images.append({"id": str(uuid4()), "status": self.pictured, **body["metadata"]})
            return Reply(202, {"image_id": self.images[-1]["id"]})
        if name == "resize":
            wanted = str(body["flavorRef"]).removeprefix("id-")
            vcpus, ram, disk = FLAVORS[wanted]
            if disk < row["flavor"]["disk"]:
                return Reply(
                    400, {"badRequest": {"code": 400, "message": "Resize to zero disk flavor is not allowed."}}
                )
            became = {**row["flavor"], "vcpus": vcpus, "ram": ram, "disk": disk, "original_name": wanted}
            row.update({"OS-EXT-STS:task_state": "resize_prep", "before": row["flavor"]})
            change = {"status": "VERIFY_RESIZE", "flavor": became}
        elif name in ("confirmResize", "revertResize"):
            change = {"status": "ACTIVE"}  # and until then it stays in VERIFY_RESIZE, with nothing under way to be seen
            if name == "revertResize":
                change["flavor"] = row["before"]
        else:
            row["OS-EXT-STS:task_state"] = f"{name}-ing"
            change = {"status": _ENDS[name]}
        self._note(row["id"], name.removeprefix("os-"))
        self._later[row["id"]] = self.takes, {**change, "OS-EXT-STS:task_state": None}
        return Reply(204 if name == "confirmResize" else 202, "")

    def _delete(self, row: dict[str, Any]) -> Reply:
        row["OS-EXT-STS:task_state"] = "deleting"
        self._later[row["id"]] = self.takes, {"status": "DELETED"}
        return Reply(204, "")

    def _note(self, id_: str, action: str) -> None:
        self.actions.setdefault(id_, []).append({"request_id": f"req-{uuid4()}", "action": action, "message": None})


class LivingGnocchi:
    """A change of a recording: some servers are measured at whatever time is asked about, as in the hours that were recorded and
    once more from the beginning where these end, all others never; the cloud's time is that of ``clock``.

    ``shares``: server → what its CPU and its memory in use are multiplied by. A server is as large as ``nova`` has it, and one
    that is off is not measured."""

    def __init__(
        self,
        recording: Recording,
        nova: LivingNova,
        clock: Callable[[], datetime],
        shares: Mapping[str, tuple[float, float]],
    ) -> None:
        self.nova, self.clock, self.shares = nova, clock, shares
        fine = next(
            (reply.answer["measures"] for ask, reply in recording.exchanges
             if ask.path == AGGREGATES and dict(ask.query)["granularity"] == "300"), {},
        )  # fmt: skip
        self.kept = {
            id_: {name: [row[2] for row in fine[id_][name][way]] for name, way in (("cpu", "rate:mean"), ("memory.usage", "mean"))}
            for id_ in shares
        }  # fmt: skip

    def __call__(self, ask: Ask, reply: Reply) -> Reply:
        reply = replace(reply, headers={**reply.headers, "date": format_datetime(self.clock(), usegmt=True)})
        if ask.path != AGGREGATES or reply.status != 200:
            return reply
        on = [id_ for id_ in self.shares if self.nova.servers.get(id_, {}).get("status") in ("ACTIVE", "VERIFY_RESIZE")]
        measures = {id_: self._measured(id_, dict(ask.query)) for id_ in on}
        return replace(reply, answer={**reply.answer, "measures": measures})

    def _measured(self, id_: str, asked: Mapping[str, str]) -> dict[str, dict[str, list[list[Any]]]]:
        step = int(asked["granularity"])
        start, stop = (
            int(datetime.fromisoformat(asked[name]).replace(tzinfo=UTC).timestamp()) for name in ("start", "stop")
        )
        moments = range(start // step * step, min(stop, int(self.clock().timestamp())), step)
        flavor = self.nova.servers[id_]["flavor"]
        cpu, memory = (
            [value * share for value in kept]
            for kept, share in zip(self.kept[id_].values(), self.shares[id_], strict=True)
        )
        told: dict[str, tuple[str, Callable[[int], float]]] = {
            "cpu": ("rate:mean", lambda at: cpu[at // step % len(cpu)]),
            "memory.usage": ("mean", lambda at: memory[at // step % len(memory)]),
            "vcpus": ("mean", lambda _at: flavor["vcpus"]),
            "memory": ("mean", lambda _at: flavor["ram"]),
        }
        times = [datetime.fromtimestamp(at, UTC).isoformat() for at in moments]
        return {
            name: {way: [[time, float(step), of(at)] for time, at in zip(times, moments, strict=True)]}
            for name, (way, of) in told.items()
        }
