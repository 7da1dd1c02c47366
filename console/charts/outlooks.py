"""Forecasts in words: when what is used will reach what the machines have."""

from __future__ import annotations

from collections.abc import Iterable

from flask import url_for
from sqlalchemy import ColumnElement, select

from console.words import _
from metering.forecasting import DemandForecast, forecasts
from metering.judging import MACHINES
from quota import inventory
from quota.actors import Actor
from quota.db import Tx
from quota.inventory import Resource

FULL = 0.7
"""Of the cores that are there, in the mean of a day: the level that sizes are advised by. Our default."""


def when_full(of: DemandForecast | None) -> str | None:
    """In a sentence: when what is used will reach what the machines have; None where nothing is forecast."""
    if of is None or of.has is None or all(one is None for one in of.mean):
        return None
    level = f"{100 * FULL:.0f}%"
    expected, perhaps = of.runs_out(FULL)
    if expected:
        return _("预计 %(day)s 起日均用量达到主机规格的%(level)s", day=expected.isoformat(), level=level)
    if perhaps:
        return _("预计四周内不会,但最早可能在 %(day)s 达到主机规格的%(level)s", day=perhaps.isoformat(), level=level)
    return _("预计四周内日均用量不会达到主机规格的%(level)s", level=level)


def told(tx: Tx, of: Iterable[tuple[str, int, str]]) -> list[tuple[str, str, str]]:
    """(name, sentence, address of the forecast) of each ("system", its id, its name) that the last night forecast."""
    found = []
    for scope, scope_id, name in of:
        sentence = when_full(forecasts.kept(tx, scope, scope_id))
        if sentence:
            found.append((name, sentence, url_for("forecasts.index", of=f"{scope}:{scope_id}")))
    return found


def has_machines(tx: Tx, actor: Actor, where: ColumnElement[bool]) -> bool:
    """Whether ``actor`` sees a machine there: without one there is nothing to forecast."""
    query = select(Resource.id).where(
        inventory.visible(tx, actor), Resource.gone_at.is_(None), Resource.kind.in_(MACHINES), where
    )
    return tx.scalar(query.limit(1)) is not None
