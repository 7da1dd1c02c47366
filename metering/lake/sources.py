"""Who delivered into the lake: noted as days are closed, and what still waits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from metering.lake.files import Damaged, HotName, Reader, dated, hot_names, write_json

if TYPE_CHECKING:
    from metering.lake.places import Places


@dataclass(slots=True)
class Source:
    """Who delivers. last: the newest sample, seconds since 1970; rows: closed day -> samples that came for it
    (one delivered twice counts twice); hot_files: deliveries that wait to be closed."""

    last: int = 0
    rows: dict[date, int] = field(default_factory=dict)
    hot_files: int = 0


def closed_days(root: Path) -> list[date]:
    """The days that were closed, by the lake's own list."""
    path = root / "days.json"
    try:
        return [date.fromisoformat(one) for one in json.loads(path.read_text())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise Damaged(path, f"not a list of days ({error})") from error


def note_sources(lake: Places, day: date, names: Sequence[HotName]) -> None:
    """Note whose deliveries a closing day took up; doing it twice counts once, since numbers only rise."""
    path = lake.root / "sources" / f"{day.isoformat()}.json"
    known = _noted(path)
    for name in names:
        entry = known.setdefault(name.source, {"last": 0, "rows": 0, "number": 0})
        if name.number > entry["number"]:
            with Reader(lake.hot_folder(day) / name.source / str(name)) as reader:
                entry["rows"] += reader.file.metadata.num_rows
            entry["number"] = name.number
            entry["last"] = max(entry["last"], name.last)
    if names:
        write_json(path, known)


def _noted(path: Path) -> dict[str, dict[str, int]]:
    try:
        found: dict[str, dict[str, int]] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found


def sources(lake: Places, since: date | None = None, until: date = date.max) -> dict[str, Source]:
    """Every source of closed days from `since` to `until` and of hot files, by name."""
    found: dict[str, Source] = {}
    for day in dated(lake.root / "sources", ".json"):
        if (since is None or day >= since) and day <= until:
            for name, entry in _noted(lake.root / "sources" / f"{day.isoformat()}.json").items():
                one = found.setdefault(name, Source())
                one.last = max(one.last, entry["last"])
                one.rows[day] = entry["rows"]
    for day in lake.hot_days():
        for hot in hot_names(lake.hot_folder(day)):
            one = found.setdefault(hot.source, Source())
            one.last = max(one.last, hot.last)
            one.hot_files += 1
    return dict(sorted(found.items()))
