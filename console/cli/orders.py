"""``guanjia orders``: what would be called for work orders, before anything is."""

from __future__ import annotations

import sys
from typing import Any

import click
from sqlalchemy import select

from console.cli.terminal import data_option, emit, json_option, refusals, workbench_of
from providers import orders
from providers.base import PlannedCall, ProviderFault
from providers.orders import WorkOrder
from quota.directory import Pool
from quota.errors import Refused


@click.group("orders")
def orders_group() -> None:
    """Work orders."""


@orders_group.command("plan")
@click.option("--pool", "code", metavar="CODE", help="Only orders of this pool.")
@click.option("--order", "number", metavar="NUMBER", help="Only this order (GD-2026-000123), also one that failed.")
@data_option
@json_option
def plan(code: str | None, number: str | None, data: str | None, as_json: bool) -> None:
    """A dry run: ask the clouds what would be called for the orders that wait; nothing is sent, nothing kept.

    Exit 1 where an order can't be planned, with the reason."""
    with workbench_of(data) as workbench, refusals():
        with workbench.book.reading() as tx:
            query = select(WorkOrder).join(Pool, Pool.id == WorkOrder.pool_id).order_by(WorkOrder.id)
            if number is not None:
                query = query.where(WorkOrder.number == number)
            else:
                query = query.where(WorkOrder.state == orders.OrderState.PENDING.value, WorkOrder.by_hand.is_(False))
            if code is not None:
                query = query.where(Pool.code == code)
            found = [(one.id, one.number, one.verb, one.name, one.pool) for one in tx.scalars(query)]
        if number is not None and not found:
            click.echo(f"refused: no order {number}", err=True)
            sys.exit(1)
        done: list[dict[str, Any]] = []
        for order_id, own, verb, name, pool in found:
            calls: tuple[PlannedCall, ...] = ()
            fault = ""
            try:
                calls = orders.rehearse(workbench.book, order_id, workbench.provider(pool))
            except (ProviderFault, Refused) as error:
                fault = str(error)
            done.append({
                "order": own, "verb": verb, "name": name, "pool": pool.code, "fault": fault,
                "calls": [
                    {"name": one.name, "text": one.text, "frees": sorted(one.frees), "final": one.final} for one in calls
                ],
            })  # fmt: skip
    _tell(done, as_json)
    sys.exit(1 if any(one["fault"] for one in done) else 0)


def _tell(done: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        emit({"orders": done})
        return
    for one in done:
        click.echo(f"{one['order']} {one['verb']} {one['name']} ({one['pool']})")
        if one["fault"]:
            click.echo(f"  refused: {one['fault']}")
        for place, call in enumerate(one["calls"], 1):
            frees = f"  frees {', '.join(call['frees'])}" if call["frees"] else ""
            said = "by the company's staff" if call["name"] == orders.plans.BY_HAND else call["text"]
            click.echo(f"  {place}. {said}{frees}{'  (final)' if call['final'] else ''}")
    click.echo(f"{len(done)} orders")
