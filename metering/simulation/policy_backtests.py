"""Backtests of a policy over the city's own lake: asked for, carried out in the background, kept with what they showed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import ForeignKey, Index, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from metering.judging import Policy, policies
from metering.simulation import growth_replays, hindsight, history
from metering.sizing import SizingResult, backtest, frontier, merge, methods, report
from metering.workbench import Progress, Workbench, silent
from quota.actors import Role, steward
from quota.base import Base
from quota.calendar import ZONE
from quota.errors import N_, NotFound, Refused
from quota.seals import canonical, sm3

if TYPE_CHECKING:
    from quota.db import Tx

BESIDE = (
    "p95x1.15",
    "peak14x1.15-daily",
    "vpa-p95-daily",
    "steward-safe",
    "steward-balanced",
    "steward-economy",
    "steward-balanced+fast",
)
"""What a backtest always shows beside the draft, so that its place on the frontier is seen."""

DRAFT, IN_FORCE = "draft", "in-force"
EXECUTED = "executed"
"""The draft with its growth within the day as the look within the day carries it out; where that grows at all."""
STALLED = timedelta(hours=2)


class BacktestState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class PolicyBacktest(Base):
    """One backtest of one document (by digest). ``result``: ``outcome``; progress is ``done`` of ``total`` machines."""

    __tablename__ = "policy_replays"
    __table_args__ = (Index("ix_policy_replays_digest_ended", "digest", "ended_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    document: Mapped[dict[str, Any]]
    in_force_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"))
    state: Mapped[str] = mapped_column(String(8), index=True)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    first_day: Mapped[date | None]
    last_day: Mapped[date | None]
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str] = mapped_column(Text, default="")
    asked_by: Mapped[str] = mapped_column(String(64))
    asked_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


def digest(document: Mapping[str, Any], procedure: Mapping[str, Any]) -> str:
    """What tells one draft from another: SM3 over what resources are judged by and how cases are conducted."""
    return sm3(canonical({"document": document, "procedure": procedure})).hex()


def ask(tx: Tx, document: Mapping[str, Any], digest: str) -> PolicyBacktest:
    """Ask for a backtest; where one of this digest, beside what is in force now, waits or runs already, that one is
    returned."""
    tx.actor.must_be(Role.SUPERVISOR, Role.AUTHORITY)
    beside = policies.in_force(tx, tx.now.astimezone(ZONE).date(), str(document["name"]))
    under_way = tx.scalar(
        select(PolicyBacktest).where(
            PolicyBacktest.digest == digest,
            PolicyBacktest.in_force_id == beside.id,
            PolicyBacktest.state.in_([BacktestState.WAITING.value, BacktestState.RUNNING.value]),
        )
    )
    if under_way is not None:
        return under_way
    row = PolicyBacktest(
        digest=digest,
        document=dict(document),
        in_force_id=beside.id,
        state=BacktestState.WAITING.value,
        asked_by=tx.actor.login,
        asked_at=tx.now,
        result={},
    )
    tx.add(row)
    tx.flush()
    tx.audit("policy.replay", f"policy_replay:{row.id}", after={"digest": digest})
    return row


def of_digest(tx: Tx, digest: str) -> list[PolicyBacktest]:
    """Backtests of a draft, newest first."""
    return list(
        tx.scalars(select(PolicyBacktest).where(PolicyBacktest.digest == digest).order_by(PolicyBacktest.id.desc()))
    )


def kept(tx: Tx, backtest_id: int) -> PolicyBacktest:
    """The backtest, or NotFound."""
    found = tx.get(PolicyBacktest, backtest_id)
    if found is None:
        raise NotFound("replay.none", N_("没有编号为 %(id)s 的回测"), id=backtest_id)
    return found


def carry_out(workbench: Workbench, progress: Progress = silent) -> list[int]:
    """Carry out every backtest that waits (or whose process died); ids of those that ended, well or not."""
    ended = []
    while (claimed := _claim(workbench)) is not None:
        backtest_id, document, in_force = claimed

        def told(stage: str, done: int, of: int, at: int = backtest_id) -> None:
            progress(stage, done, of)
            with workbench.book.transaction(steward("job:replay")) as tx:
                row = kept(tx, at)
                row.done, row.total = done, of

        try:
            first, last, result = outcome(workbench, Policy.from_json(document), Policy.from_json(in_force), told)
        except (Refused, ValueError, OSError) as error:
            _end(workbench, backtest_id, BacktestState.FAILED, error=str(error))
        except Exception as fault:  # a mistake of ours: the draft's page must not wait for it for ever
            _end(workbench, backtest_id, BacktestState.FAILED, error=f"{type(fault).__name__}: {fault}")
            raise
        else:
            _end(workbench, backtest_id, BacktestState.DONE, first=first, last=last, result=result)
        ended.append(backtest_id)
    return ended


def _claim(workbench: Workbench) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
    with workbench.book.transaction(steward("job:replay")) as tx:
        row = tx.scalar(
            select(PolicyBacktest)
            .where(
                (PolicyBacktest.state == BacktestState.WAITING.value)
                | (
                    (PolicyBacktest.state == BacktestState.RUNNING.value)
                    & (PolicyBacktest.started_at < tx.now - STALLED)
                )
            )
            .order_by(PolicyBacktest.id)
            .limit(1)
        )
        if row is None:
            return None
        row.state, row.started_at, row.done = BacktestState.RUNNING.value, tx.now, 0
        return row.id, row.document, policies.version(tx, row.in_force_id).document


def _end(
    workbench: Workbench,
    backtest_id: int,
    state: BacktestState,
    *,
    first: date | None = None,
    last: date | None = None,
    result: dict[str, Any] | None = None,
    error: str = "",
) -> None:
    with workbench.book.transaction(steward("job:replay")) as tx:
        row = kept(tx, backtest_id)
        row.state, row.ended_at = state.value, tx.now
        row.first_day, row.last_day, row.result, row.error = first, last, result or {}, error
        tx.audit("policy.replayed", f"policy_replay:{row.id}", after={"state": row.state, "digest": row.digest})


# ---------------------------------------------------------------------------------------------------------- the backtest


def outcome(
    workbench: Workbench, draft: Policy, in_force: Policy, progress: Progress = silent
) -> tuple[date, date, dict[str, Any]]:
    """First and last day, and what the draft would have done there beside what is in force: plain JSON.

    "sizing": marks of the draft, of what is in force and of the well-known policies (``outcomes.report``), with the
    frontier, the worst ten and the groups of the draft; "verdicts": ``hindsight.compare``; "growths": ``growth_replays.of_policy`` of both.
    """
    past = history.past(workbench)
    needed = {one.sizing_of(i) for one in (draft, in_force) for i in range(-1, len(one.sections))}
    # What cannot be resized within the day gets the same without it: that is shown, too.
    steady = [methods.sizing(name).steady.name for name in sorted(needed)]
    beside = list(dict.fromkeys([*BESIDE, *(name for name in steady if name not in needed)]))
    names = sorted({draft.sizing_of(i) for i in range(-1, len(draft.sections))})
    carried = {name: backtest.carried_out(name) for name in names}
    chosen = list(dict.fromkeys([*sorted(needed), *beside, *carried.values()]))
    results = backtest.run_parts(
        history.parts(workbench, past),
        chosen,
        utc_offset_s=workbench.lake.utc_offset_s,
        progress=lambda done: progress("replay", done, 2 * len(past.cores)),
    )
    ids = [int(one) for one in next(iter(results.values())).names]
    sections = history.sections(workbench, ids, draft), history.sections(workbench, ids, in_force)
    told = {
        DRAFT: _sized(results, draft, sections[0], DRAFT),
        IN_FORCE: _sized(results, in_force, sections[1], IN_FORCE),
        **_carried_out(results, draft, sections[0], carried),
        **{name: results[name] for name in beside},
    }
    groups = past.grouped(told[DRAFT].names)
    sizing = report("lake", told, detail=True, against=IN_FORCE)
    sizing["frontier"] = frontier(told)
    full = report("lake", {DRAFT: told[DRAFT]}, groups, worst=10)["policies"][DRAFT]
    base = report("lake", {IN_FORCE: told[IN_FORCE]}, groups)["policies"][IN_FORCE]
    worst = [{**one, "resource": int(one["name"]), "name": past.names[int(one["name"])]} for one in full["worst"]]
    verdicts = hindsight.compare(workbench, draft, in_force, past, lambda s, d, of: progress(s, of + d, 2 * of))
    return (
        past.first,
        past.last,
        {
            "sizing": sizing,
            "groups": full["groups"],
            "groups_in_force": base["groups"],
            "worst": worst,
            "verdicts": verdicts,
            "growths": _growths(workbench, draft, in_force, past),
        },
    )


def _growths(
    workbench: Workbench, draft: Policy, in_force: Policy, past: history.Past
) -> dict[str, dict[str, dict[str, float]]]:
    """What no CPU is, grown within the day by the draft's terms and by those in force; reckoned once where they are the same."""
    ours = growth_replays.of_policy(workbench, draft, past)
    same = (draft.growths, draft.sections) == (in_force.growths, in_force.sections)
    return {DRAFT: ours, IN_FORCE: ours if same else growth_replays.of_policy(workbench, in_force, past)}


def _sized(
    results: Mapping[str, SizingResult], policy: Policy, section: np.ndarray[Any, Any], name: str
) -> SizingResult:
    """The result of a policy whose sections size differently: each machine's from the sizing that holds for it."""
    names = [policy.sizing_of(int(one)) for one in section]
    return merge(results, names, name)


def _carried_out(
    results: Mapping[str, SizingResult], draft: Policy, section: np.ndarray[Any, Any], carried: Mapping[str, str]
) -> dict[str, SizingResult]:
    """What of the draft is carried out, where that is not the same as what it says."""
    if all(name == one for name, one in carried.items()):
        return {}
    return {EXECUTED: merge(results, [carried[draft.sizing_of(int(one))] for one in section], EXECUTED)}
