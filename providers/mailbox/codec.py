"""Facts, orders, outcomes and samples as JSON, for the way between a cloud's agent and the console, and back.

What an adapter's contract gains travels by itself: each type is written and read by its own fields. Whatever does not fit
is refused with its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from cattrs import transform_error
from cattrs.preconf.json import JsonConverter, make_converter

from providers.base import Samples
from providers.metrics import METRICS
from quota.errors import N_, Invalid

T = TypeVar("T")

CAPACITY = ("vcpu", "mem_mb", "width_s")
"""Columns of samples beside the metrics: what the source saw of the machine's size."""
WHOLE = ("resource", "ts")


def _exactly(*types: type) -> Any:
    """Reads values of these types as they are, and of an enumeration's type as one of its members."""

    def read(value: Any, of: Any) -> Any:
        if isinstance(value, bool) and bool not in types or not isinstance(value, types):
            raise ValueError(f"{value!r:.40} is no {types[0].__name__}")
        return of(value) if isinstance(of, type) and issubclass(of, Enum) else value

    return read


def _moment(value: Any, _type: Any) -> datetime:
    found = datetime.fromisoformat(_exactly(str)(value, str))
    if found.tzinfo is None:
        raise ValueError(f"{value!r:.40} has no zone")
    return found.astimezone(UTC)


def _converter() -> JsonConverter:
    made = make_converter(omit_if_default=True)
    for plain_type, types in ((str, (str,)), (int, (int,)), (float, (float, int)), (bool, (bool,))):
        # By class: cattrs finds what it knows of a class, which for these is to convert, before it asks any predicate.
        made.register_structure_hook(plain_type, _exactly(*types))
    made.register_structure_hook(datetime, _moment)
    made.register_unstructure_hook(datetime, lambda moment: moment.astimezone(UTC).isoformat())
    made.register_structure_hook(Decimal, lambda value, _type: Decimal(_exactly(str)(value, str)))
    made.register_unstructure_hook(Decimal, str)
    return made


_CONVERTER = _converter()


def plain(one: Any) -> Any:
    """``one``, a fact, listing, order or outcome, as JSON holds it."""
    return _CONVERTER.unstructure(one)


def read(raw: Any, of: type[T]) -> T:
    """What ``plain`` made of a ``of``. Raises Invalid naming the places that do not fit."""
    try:
        return _CONVERTER.structure(raw, of)
    except Exception as error:  # whatever a stranger's JSON does to a type's own checks
        places = "; ".join(transform_error(error)[:5])
        raise Invalid("agent.content", N_("内容不合约定:%(places)s"), places=places[:500]) from error


def samples_plain(batch: Samples) -> dict[str, Any]:
    """A batch column by column; what was not reported is null."""
    columns = {}
    for name in batch.table.column_names:
        values = batch.table.column(name).to_pylist()
        columns[name] = [None if isinstance(one, float) and not math.isfinite(one) else one for one in values]
    return {"source": batch.source, "external_ids": batch.external_ids, "columns": columns}


def samples_read(raw: Any) -> Samples:
    """What ``samples_plain`` made. Raises Invalid naming the column that does not fit."""
    if not isinstance(raw, Mapping):
        raise _unfit("$")
    source, ids, columns = raw.get("source"), raw.get("external_ids"), raw.get("columns")
    if not isinstance(source, str) or not source or len(source) > 200:
        raise _unfit("$.source")
    if not isinstance(ids, list) or not all(isinstance(one, str) and 0 < len(one) <= 128 for one in ids):
        raise _unfit("$.external_ids")
    if not isinstance(columns, Mapping) or not set(WHOLE) <= set(columns):
        raise _unfit("$.columns")
    found: dict[str, pa.Array] = {}
    for name, values in columns.items():
        if name not in WHOLE and name not in CAPACITY and name not in METRICS:
            raise _unfit(f"$.columns.{name}")
        found[name] = _column(name, values, len(columns["ts"]) if isinstance(columns["ts"], list) else -1)
    index = found["resource"].to_numpy(zero_copy_only=False)
    if len(index) and (index.min() < 0 or index.max() >= len(ids)):
        raise _unfit("$.columns.resource")
    return Samples(source, list(ids), pa.table(found))


def _column(name: str, values: Any, length: int) -> pa.Array:
    whole = name in WHOLE
    if not isinstance(values, list) or len(values) != length:
        raise _unfit(f"$.columns.{name}")
    if whole:
        good = all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**40 for one in values)
    else:
        good = all(one is None or (isinstance(one, int | float) and not isinstance(one, bool)) for one in values)
    if not good:
        raise _unfit(f"$.columns.{name}")
    if whole:
        return pa.array(values, pa.int32() if name == "resource" else pa.int64())
    return pa.array(np.array([math.nan if one is None else one for one in values], np.float64))


def _unfit(place: str) -> Invalid:
    return Invalid("agent.content", N_("内容不合约定:%(places)s"), places=place)
