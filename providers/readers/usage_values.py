"""Columns as they were written → numbers and moments, with a mark on every cell that is neither."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from providers.metrics import Array

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
NOT_FINITE = r"^[+-]?(nan|inf|infinity)$"
DAY = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
MOMENT = re.compile(
    r"(\d{4})([-/.年])(\d{1,2})[-/.月](\d{1,2})日?(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?"
    r"\s*(Z|z|[+-]\d{2}:?\d{2})?"
)

EARLIEST, LATEST = 946_684_800, 4_102_444_800
"""2000-01-01 and 2100-01-01 UTC: sample times outside are not believed."""

EPOCH_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Numbers:
    """float64 [n]; ``empty``: nothing was written; ``text``: something that is no number."""

    values: Array
    empty: Array
    text: Array


def numbers(column: pa.Array, decimal: str = ".") -> Numbers:
    """A column of numbers or of texts → Numbers. NaN where empty or text; literal NaN and infinities
    stay."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        empty = _mask(column.is_null()) if column.null_count else np.zeros(len(column), bool)
        return Numbers(values, empty, np.zeros(len(column), bool))
    trimmed = pc.fill_null(pc.utf8_trim_whitespace(column), "")
    empty = _mask(pc.equal(trimmed, ""))
    if decimal == ",":
        pointed = pc.replace_substring(trimmed, ",", ".")
        trimmed = pc.if_else(pc.match_substring(trimmed, "."), "?", pointed)  # a point would mean thousands here
    written = pc.or_(
        pc.match_substring_regex(trimmed, NUMBER),
        pc.match_substring_regex(trimmed, NOT_FINITE, ignore_case=True),
    )
    values = pc.if_else(written, trimmed, "nan").cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Numbers(values, empty, ~_mask(written) & ~empty)


def _mask(column: pa.Array) -> Array:
    return np.asarray(column.to_numpy(zero_copy_only=False), bool)


def epoch_unit(values: Array) -> str | None:
    """The unit in which most of these epoch times are believable, whatever a header says; None if in
    none."""
    counts = {
        unit: int(((values >= EARLIEST * factor) & (values < LATEST * factor)).sum())
        for unit, factor in EPOCH_UNITS.items()
    }
    best = max(counts, key=lambda unit: counts[unit])
    return best if counts[best] else None


@dataclass(slots=True)
class Times:
    """float64 [n] epoch figures as written; ``naive`` seconds without a zone; ``bad``: unreadable.

    ``epoch`` marks plain numbers, whose unit is still to be judged.
    """

    values: Array
    epoch: Array
    naive: Array
    bad: Array


def times(column: pa.Array) -> Times:
    """A column of epoch numbers, timestamps or texts (ISO 8601, also 2014/5/4 1:02 and 2014年5月4日) →
    Times."""
    n = len(column)
    if pa.types.is_timestamp(column.type):
        seconds = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        values = pc.divide(seconds.cast(pa.float64()), 1e6).to_numpy(zero_copy_only=False)
        bad = _mask(column.is_null())
        return Times(values, np.zeros(n, bool), np.full(n, column.type.tz is None) & ~bad, bad)
    inner = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner)):
        got = numbers(column)
        return Times(got.values, np.ones(n, bool), np.zeros(n, bool), ~np.isfinite(got.values))
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    one = _spelled(pc.utf8_trim_whitespace(coded.dictionary.cast(pa.string())))
    if coded.indices.null_count:
        at = pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy(zero_copy_only=False)
        one = Times(
            np.append(one.values, np.nan),
            *(np.append(x, y) for x, y in ((one.epoch, False), (one.naive, False), (one.bad, True))),
        )
    else:
        at = coded.indices.to_numpy(zero_copy_only=False)
    return Times(one.values[at], one.epoch[at], one.naive[at], one.bad[at])


def _spelled(texts: pa.Array) -> Times:
    """Distinct texts → Times: in bulk where they are regular, one by one where not."""
    n = len(texts)
    got = numbers(texts)
    epoch = ~got.text & ~got.empty & np.isfinite(got.values)
    values = np.where(epoch, got.values, np.nan)
    naive = np.zeros(n, bool)
    for pattern, zone in ((DAY + r"(Z|[+-]\d{2}:?\d{2})$", "UTC"), (DAY + "$", None)):
        fits = _mask(pc.match_substring_regex(texts, pattern))
        if fits.any():
            try:
                moments = texts.filter(pa.array(fits)).cast(pa.timestamp("us", zone)).cast(pa.int64())
            except pa.ArrowInvalid:
                continue  # a 30th of February among them
            values[fits] = moments.to_numpy(zero_copy_only=False) / 1e6
            naive[fits] = zone is None
    for at in np.flatnonzero(np.isnan(values)):
        if (found := moment(texts[int(at)].as_py())) is not None:
            values[at] = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
            naive[at] = found.tzinfo is None
    return Times(values, epoch, naive, np.isnan(values))


def moment(text: str) -> datetime | None:
    """One written moment, aware if it carries a zone, or None if it is none."""
    found = MOMENT.fullmatch(text.strip())
    if not found:
        return None
    year, _, month, day, hour, minute, second, zone = found.groups()
    tz = None
    try:
        if zone:
            sign = -1 if zone[0] == "-" else 1
            tz = UTC if zone in "Zz" else timezone(sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:])))
        return datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=tz)
    except ValueError:
        return None
