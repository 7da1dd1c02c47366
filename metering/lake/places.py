"""The places of a lake: where its files lie, and what its own notes say of them. Everything that reads or closes days stands on
this; ``metering.lake`` puts the verbs on top."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import date
from pathlib import Path

import numpy as np

from metering.lake.dayblock import Edges
from metering.lake.files import Reader, dated, hot_days, hot_names, make_folder, write_json

_FORMAT = 1
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class Places:
    """A lake's folder: samples of any number of resources at steps of `step_s` seconds, in days of UTC + `utc_offset_s`."""

    def __init__(self, root: Path | str, step_s: int = 300, utc_offset_s: int = 28_800) -> None:
        """Opens the lake at `root`, or makes it. ValueError if it was made with another step or offset."""
        if step_s < 15 or 3600 % step_s or utc_offset_s % step_s:
            raise ValueError("the step divides an hour and the UTC offset, and is no shorter than 15 s")
        self.root = Path(root)
        self.step_s, self.utc_offset_s = step_s, utc_offset_s
        self.slots = 86_400 // step_s
        ours = {"format": _FORMAT, "step_s": step_s, "utc_offset_s": utc_offset_s}
        about = self.root / "lake.json"
        try:
            found = json.loads(about.read_text())
        except FileNotFoundError:
            make_folder(self.root)
            write_json(about, ours)
        except ValueError as error:
            raise ValueError(f"{about} cannot be read: {error}") from None
        else:
            if found != ours:
                raise ValueError(f"{self.root} is a lake of {found}, not of {ours}")

    def hot_days(self) -> list[date]:
        """Days with deliveries that no roll has closed yet."""
        return hot_days(self.root)

    def days(self) -> list[date]:
        """The closed days."""
        return dated(self.root / "days", ".parquet")

    def sealed(self) -> frozenset[str]:
        """The months that are settled."""
        return sealed(self.root)

    def kept_from(self, kind: str) -> date | None:
        """The first day of which samples ("days") or hourly figures ("hours") are kept; None = nothing was deleted."""
        return cut(self.root, kind)

    def path(self, kind: str, day: date) -> Path:
        """The file of a closed day: kind days, hours or daily."""
        return self.root / kind / f"{day.isoformat()}.parquet"

    def hot_folder(self, day: date) -> Path:
        """Where a day's deliveries wait."""
        return self.root / "hot" / day.isoformat()

    def correction_folder(self, day: date) -> Path:
        """Where what came for a day of a sealed month is kept."""
        return self.root / "corrections" / day.isoformat()

    def hot_files(self, day: date) -> list[Path]:
        """The day's deliveries that no roll has taken up yet, in the order in which they came."""
        return [self.hot_folder(day) / name.source / str(name) for name in hot_names(self.hot_folder(day))]

    def edges(self, day: date) -> Edges:
        """The first and last runs of each resource on a closed day; none where it isn't closed."""
        try:
            with Reader(self.path("daily", day)) as reader:
                found = reader.read(range(len(reader.ranges)), [f.name for f in fields(Edges)])
        except FileNotFoundError:
            return Edges.none(np.zeros(0, np.int32))
        return Edges(**found)


def sealed(root: Path) -> frozenset[str]:
    """Months ("2026-10") that are settled."""
    try:
        return frozenset(json.loads((root / "sealed.json").read_text()))
    except FileNotFoundError:
        return frozenset()


def seal(root: Path, month: str) -> None:
    """Under the roll's lock. ValueError for what is no month."""
    if not _MONTH.fullmatch(month):
        raise ValueError(f"a month is written 2026-10, not {month!r}")
    write_json(root / "sealed.json", sorted(sealed(root) | {month}))


def cut(root: Path, kind: str) -> date | None:
    """The first day of which files of a kind ("days", "hours") are kept; None = all."""
    try:
        found = json.loads((root / "retention.json").read_text()).get(kind)
    except FileNotFoundError:
        return None
    return date.fromisoformat(found) if found else None
