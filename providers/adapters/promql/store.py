"""A store that answers PromQL over HTTP: Prometheus, VictoriaMetrics, Thanos, Mimir. What each of them does in its own way
is known here alone.

* A range query has at most 11,000 points a series in Prometheus (30,000 in VictoriaMetrics): longer ones are split.
* VictoriaMetrics moves ranges to multiples of their step unless told not to (``nocache``).
* ``x[5m]`` holds the sample at its left end in Prometheus before 3.0, and does not elsewhere: the store is asked which.
* A store that had to leave something out says so (``isPartial``, ``warnings``): such an answer is a fault, never taken for
  the whole. Thanos and VictoriaMetrics are asked to fail instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.base import ProviderFault
from providers.connection import Connection

MOST_POINTS = 11_000
WHOLE = {"nocache": 1, "partial_response": "false", "deny_partial_response": 1}
_ADVICE = re.compile(r"PromQL (info|warning)")


@dataclass(slots=True)
class SeriesLine:
    """One series of an answer: its labels, times in ms, values; sorted by time."""

    labels: Mapping[str, str]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(slots=True)
class Store:
    """The store behind ``connection``. ``notes``: what it said beside its answers, in its own words."""

    connection: Connection
    notes: dict[str, None] = field(default_factory=dict)
    _closed: bool | None = None

    def over(self, query: str, first_ms: int, last_ms: int, step_ms: int) -> list[SeriesLine]:
        """``query`` at first, first + step, … up to last, asked for in as many pieces as the store needs."""
        found: dict[tuple[tuple[str, str], ...], list[SeriesLine]] = {}
        at = first_ms
        while at <= last_ms:
            end = min(last_ms, at + (MOST_POINTS - 1) * step_ms)
            answer = self._asked(
                "/api/v1/query_range", query=query, start=_s(at), end=_s(end), step=_s(step_ms), **WHOLE
            )
            for one in _series(answer, "matrix"):
                found.setdefault(tuple(sorted(one.labels.items())), []).append(one)
            at = end + step_ms
        return [_joined(parts) for parts in found.values()]

    def at(self, query: str, ms: int) -> list[SeriesLine]:
        """``query`` at one moment."""
        return _series(self._asked("/api/v1/query", query=query, time=_s(ms), **WHOLE), "vector")

    def samples(self, selector: str, ms: int, back_ms: int) -> list[SeriesLine]:
        """The samples themselves of ``selector`` in the last ``back_ms`` before a moment."""
        return _series(self._asked("/api/v1/query", query=f"{selector}[{back_ms}ms]", time=_s(ms), **WHOLE), "matrix")

    def window(self, step_ms: int) -> str:
        """The range that, asked for a millisecond before a slot's end, holds the slot's samples and no other."""
        if self._closed is None:
            found = self.at("count_over_time(vector(1)[4s:1s])", 1_000_000_000_000)
            if len(found) != 1 or found[0].value[0] not in (4, 5):
                raise ProviderFault("vector(1) has no four seconds there: no PromQL", transient=False, code="kind")
            self._closed = bool(found[0].value[0] == 5)
        return f"{step_ms - 1 if self._closed else step_ms}ms"

    def clock(self) -> datetime:
        """What time the store believes that it is."""
        answer = self._asked("/api/v1/query", query="time()")
        try:
            found = answer["result"]  # VictoriaMetrics gives a vector, of half a minute ago, stamped as of now
            return datetime.fromtimestamp(
                float(found[0]["value"][0] if answer["resultType"] == "vector" else found[0]), UTC
            )
        except (KeyError, IndexError, TypeError, ValueError):
            raise ProviderFault(f"time() gives {str(answer)[:100]}", transient=False, code="kind") from None

    def version(self) -> str:
        """Its kind and version, as far as it tells them."""
        try:
            data = self.connection.get("/api/v1/status/buildinfo").get("data") or {}
        except (ProviderFault, AttributeError):
            return "PromQL"
        return " ".join(str(data[name]) for name in ("application", "version") if data.get(name)) or "PromQL"

    def _asked(self, path: str, **params: object) -> Any:
        answer = self.connection.post(path, **params)
        if (
            not isinstance(answer, dict)
            or answer.get("status") != "success"
            or not isinstance(answer.get("data"), dict)
        ):
            raise ProviderFault(f"{path}: {str(answer)[:200]}", transient=False, code="kind")
        if answer.get("isPartial"):
            raise ProviderFault(f"{path}: isPartial", transient=True, code="partial")
        for said in answer.get("warnings") or []:
            if not _ADVICE.match(str(said)):
                raise ProviderFault(f"{path}: {str(said)[:300]}", transient=True, code="partial")
        for said in [*(answer.get("infos") or []), *(answer.get("warnings") or [])]:
            if len(self.notes) < 20:
                self.notes[str(said)[:200]] = None
        return answer["data"]


def _s(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"


def _series(data: Any, kind: str) -> list[SeriesLine]:
    if data.get("resultType") != kind or not isinstance(data.get("result"), list):
        raise ProviderFault(f"a {data.get('resultType')} where a {kind} was due", transient=False, code="query")
    try:
        found = []
        for one in data["result"]:
            pairs = one["values"] if kind == "matrix" else [one["value"]]
            ts = np.rint(np.array([pair[0] for pair in pairs], np.float64) * 1000).astype(np.int64)
            value = np.array([pair[1] for pair in pairs], np.float64)
            found.append(SeriesLine({str(k): str(v) for k, v in one["metric"].items()}, ts, value))
        return found
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ProviderFault(f"an answer that can't be read: {error}", transient=False, code="kind") from error


def _joined(parts: list[SeriesLine]) -> SeriesLine:
    if len(parts) == 1:
        return parts[0]
    return SeriesLine(parts[0].labels, np.concatenate([p.ts for p in parts]), np.concatenate([p.value for p in parts]))
