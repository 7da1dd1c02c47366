"""What OpenTelemetry's senders mean by a unit and by a state of memory, by the version that they tell. Pure; tables are data.

Memory. Whether its states add up to the whole of it depends on who counted them:

* Up to 1.22 of the semantic conventions there was a state ``total``.
* 1.23 to 1.36: "the sum over all states SHOULD equal the total". ``shared`` is counted in ``cached`` (conventions #522),
  and was deprecated with 1.26.
* 1.37 (#2534): ``used`` is MemTotal - MemAvailable on Linux, so states overlap and add up to nothing.
* The Collector's hostmetrics receiver keeps to 1.9 (its metadata.yaml), with states of its own: ``buffered`` for buffers,
  ``slab_reclaimable`` which is in ``cached`` already (gopsutil adds SReclaimable to Cached), ``slab_unreclaimable`` which is
  in ``used``. Since v0.134 a feature gate (receiver.hostmetricsreceiver.UseLinuxMemAvailable, #42223) makes ``used``
  MemTotal - MemAvailable without saying so: from there on its states add up to nothing that can be known.
* ``system.memory.limit`` is the total (since 1.23), and opt-in to this day (1.44).
* What is available: ``system.linux.memory.available`` (1.22 to 1.38), ``system.memory.linux.available`` (since 1.39, #1661);
  ``system.memory.shared`` became ``system.memory.linux.shared`` with 1.40 (#3260), and says nothing of use here.

A sender that tells no version is held to none of these: its total is what the inventory says, or unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNIT = "__unit__"
"""Pseudo-label: the unit that an OTLP metric tells."""

SCHEMA = "__schema__"
"""Pseudo-label: the version of the semantic conventions, from a schema URL."""

SCOPE = "__scope__"
"""Pseudo-label: the instrumentation scope, ``name@version``."""

TOLD = frozenset({UNIT, SCHEMA, SCOPE})
"""What a sender says about a series, and what does not make it another series."""

TOTAL, USED, PART = "total", "used", "part"

_COLLECTOR = "hostmetricsreceiver"


@dataclass(frozen=True, slots=True)
class Memory:
    """States of memory of the versions before ``until`` (None: of all later ones). parts: those that, with ``used``, make
    up the whole; none: they overlap."""

    until: tuple[int, int] | None
    parts: frozenset[str]
    total: str | None = None


CONVENTIONS: Sequence[Memory] = (
    Memory((1, 23), frozenset(), "total"),
    Memory((1, 37), frozenset({"free", "buffers", "cached"})),
    Memory(None, frozenset()),
)
"""By version of the semantic conventions."""

RECEIVER: Sequence[Memory] = (
    Memory((0, 134), frozenset({"free", "buffered", "cached", "inactive"}), "total"),
    Memory(None, frozenset()),
)
"""By version of the Collector. ``inactive`` comes from macOS and BSD alone, where used + free + inactive is all."""

AVAILABLE = ("system.linux.memory.available", "system.memory.linux.available")


def memory(labels: Mapping[str, str], state: str) -> str | None:
    """What a state of memory is to this sender: TOTAL, USED, a PART of the whole beside used, or None: of no use."""
    if state == "used":
        return USED
    row = _row(labels)
    if row is None:
        return None
    if state == row.total:
        return TOTAL
    return PART if state in row.parts else None


def _row(labels: Mapping[str, str]) -> Memory | None:
    name, _at, told = labels.get(SCOPE, "").rpartition("@")
    if _COLLECTOR in name:
        return _of(RECEIVER, told)
    return _of(CONVENTIONS, labels.get(SCHEMA, ""))


def _of(table: Sequence[Memory], told: str) -> Memory | None:
    version = re.match(r"v?(\d+)\.(\d+)", told)
    if version is None:
        return None
    at = (int(version[1]), int(version[2]))
    return next(row for row in table if row.until is None or at < row.until)


def version(schema_url: str) -> str:
    """The version in a schema URL (https://opentelemetry.io/schemas/1.37.0), "" where there is none."""
    found = re.search(r"/schemas/(\d+\.\d+(?:\.\d+)?)$", schema_url)
    return found[1] if found else ""


# --- units, UCUM as OTLP writes them: the factor to what the steward reckons in --------------------------------------

BYTES: Mapping[str, float] = {
    "By": 1, "byte": 1, "bytes": 1, "kBy": 1e3, "MBy": 1e6, "GBy": 1e9, "KiBy": 2**10, "MiBy": 2**20, "GiBy": 2**30,
}  # fmt: skip
SECONDS: Mapping[str, float] = {"s": 1, "seconds": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
MILLISECONDS: Mapping[str, float] = {"s": 1e3, "seconds": 1e3, "ms": 1, "us": 1e-3, "ns": 1e-6}
SHARE: Mapping[str, float] = {"1": 1, "%": 0.01}
PERCENT: Mapping[str, float] = {"%": 1}
"""Of a metric whose name says per cent: ``1`` would contradict the name, and is refused."""
KBPS: Mapping[str, float] = {"bit/s": 1e-3, "kbit/s": 1, "Mbit/s": 1e3, "Gbit/s": 1e6, "By/s": 8e-3, "kBy/s": 8,
                             "KiBy/s": 8.192, "MBy/s": 8e3, "MiBy/s": 8388.608}  # fmt: skip
KBS: Mapping[str, float] = {"By/s": 1 / 1024, "kBy/s": 1e3 / 1024, "KiBy/s": 1, "MBy/s": 1e6 / 1024, "MiBy/s": 1024}
COUNT: Mapping[str, float] = {"1": 1}


def scale(unit: str, known: Mapping[str, float]) -> float | None:
    """The factor of a unit, 1 where none is told; None = a unit that does not fit."""
    if unit in ("", *known):
        return known.get(unit, 1.0)
    return 1.0 if known is COUNT and re.fullmatch(r"\{\w+\}", unit) else None
