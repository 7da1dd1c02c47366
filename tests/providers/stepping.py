"""A cloud without keys whose resizing is two calls, as real ones are: what it has stands in a file, each call that it took
is counted, and it can be told to be busy, to refuse, or to lose the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from providers.base import (
    BUSY,
    NEVER,
    OVER_QUOTA,
    REST,
    CallRecord,
    CallState,
    Inventory,
    Order,
    OrderJournal,
    Outcome,
    PlannedCall,
    ProviderFault,
    ResourceFact,
    ResourceState,
    Samples,
    ServiceKind,
    Verb,
)
from providers.hands import Hands, Seen
from providers.options import option
from quota.units import CLASSES, MEMORY, VCPU, Amount, Arch

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = frozenset({VCPU, MEMORY})


@dataclass(frozen=True, kw_only=True)
class SteppingOptions:
    file: str = option("状态文件")
    arch: str = option("架构", default=Arch.AARCH64.value)


class SteppingCloud:
    """``trouble``: what the next calls of a name meet, each once: "busy", "rest", "over_quota", "never", "lost" (done, no answer),
    "deaf" (not done, no answer), "fails" (it goes wrong in the cloud)."""

    Options = SteppingOptions
    name = "stepping"
    capabilities = frozenset({Verb.CREATE, Verb.RESIZE, Verb.STOP})
    live_resize = False
    releases = {Verb.RESIZE: SIZE, Verb.DELETE: CLASSES}  # noqa: RUF012

    def __init__(self, file: str | Path, arch: str = Arch.AARCH64.value) -> None:
        self.file, self.arch = Path(file), Arch(arch)
        self.trouble: dict[str, list[str]] = {}
        self._hands: Hands | None = None

    # ------------------------------------------------------------------------------------------------------- the cloud

    @property
    def state(self) -> dict[str, Any]:
        if not self.file.exists():
            return {"machines": {"m-1": {"size": {"vcpu": 4, "memory": 8192}, "status": "running"}}, "taken": []}
        return json.loads(self.file.read_text())

    def _call(self, name: str, about: str, change: Any) -> None:
        """Take a call, as the trouble that waits for it has it."""
        trouble = self.trouble.get(name, []).pop(0) if self.trouble.get(name) else ""
        refusals = {"busy": BUSY, "rest": REST, "over_quota": OVER_QUOTA, "never": NEVER}
        if trouble in refusals:
            code = refusals[trouble]
            later = trouble in ("busy", "rest")
            raise ProviderFault(f"{name}: {trouble}", transient=later, code=code, wait_s=90 if later else None)
        if trouble != "deaf":
            state = self.state
            state["taken"].append(f"{name} {about}")
            change(state)
            if trouble == "fails":
                state["machines"][about]["status"] = "error"
            self.file.write_text(json.dumps(state))
        if trouble in ("lost", "deaf"):
            raise ProviderFault("connection reset", transient=True, code="unreachable")

    # ----------------------------------------------------------------------------------------------------- the contract

    def inventory(self, now: datetime) -> Inventory:
        facts = [
            ResourceFact(
                id_, id_, ServiceKind.VM, self.arch, Amount.from_json(one["size"]),
                ResourceState.STOPPED if one["status"] == "stopped" else ResourceState.RUNNING, created_at=BEGAN,
            )
            for id_, one in sorted(self.state["machines"].items())
        ]  # fmt: skip
        return Inventory(now, facts)

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        return iter(())

    def keep_journal(self, journal: OrderJournal) -> None:
        self._hands = Hands(journal, self)

    @property
    def hands(self) -> Hands:
        if self._hands is None:
            raise ProviderFault("no journal", transient=False, code=NEVER)
        return self._hands

    def deliver(self, order: Order, now: datetime) -> Outcome:
        if order.verb not in self.capabilities:
            raise ProviderFault(f"{order.verb}: not here", transient=False, code=NEVER)
        return self.hands.deliver(order, now)

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        return self.hands.inquire(key, now)

    def advance(self, key: str, now: datetime) -> Outcome:
        return self.hands.advance(key, now)

    def plan(self, order: Order, now: datetime) -> tuple[PlannedCall, ...]:
        if order.amounts.get(VCPU, 0) > 64:
            raise ProviderFault("no flavor of 65 vCPU", transient=False, code=NEVER)
        about = order.external_id or order.name
        if order.verb is Verb.RESIZE:
            return (
                PlannedCall("resize", f"POST /{about}/resize"),
                PlannedCall("confirm", f"POST /{about}/confirm", SIZE, final=True),
            )
        return (PlannedCall(order.verb.value, f"POST /{about}/{order.verb}"),)

    # --------------------------------------------------------------------------------------------------------- the hands

    def mark(self, order: Order, call: CallRecord) -> dict[str, Any]:
        return {}

    def send(self, order: Order, call: CallRecord, calls: Sequence[CallRecord]) -> Seen:
        name = call.call.name
        about = order.external_id or f"made-{order.key}"

        def change(state: dict[str, Any]) -> None:
            machines = state["machines"]
            if name == "create":  # twice would be two of them: the cloud knows no key
                made = about if about not in machines else f"{about}-again"
                machines[made] = {"size": dict(order.amounts), "status": "running"}
                return
            one = machines[about]
            if name == "resize":
                one.update(former=one["size"], size={**one["size"], **order.amounts}, status="verify")
            elif name == "revert":
                one.update(size=one.pop("former"), status="running")
            elif name == "confirm":
                one.pop("former")
                one["status"] = "running"
            elif name == "stop":
                one["status"] = "stopped"

        self._call(name, about, change)
        return self._seen(order, name)

    def look(self, order: Order, call: CallRecord, calls: Sequence[CallRecord]) -> Seen:
        return self._seen(order, call.call.name)

    def _seen(self, order: Order, name: str) -> Seen:
        one = self.state["machines"].get(order.external_id or f"made-{order.key}")
        if one is None:
            return Seen(CallState.WAITING)
        if one["status"] == "error":
            return Seen(CallState.FAILED, said=f"{name}: went wrong", code=NEVER)
        done = {
            "create": True,
            "resize": one["status"] == "verify",
            "confirm": "former" not in one,
            "revert": "former" not in one,
            "stop": one["status"] == "stopped",
        }[name]
        return Seen(CallState.DONE if done else CallState.WAITING, wait_s=30)

    def back(self, order: Order, calls: Sequence[CallRecord]) -> PlannedCall | None:
        done = [one for one in calls if one.call.name == "resize" and one.state is CallState.DONE]
        return PlannedCall("revert", f"POST /{order.external_id}/revert") if done else None

    def result(self, order: Order, calls: Sequence[CallRecord], outcome: Outcome) -> Outcome:
        about = order.external_id or f"made-{order.key}"
        return replace(outcome, external_id=about, amounts=Amount.from_json(self.state["machines"][about]["size"]))
