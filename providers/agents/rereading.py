"""How far an agent has read the days before a second time, in a file that a restart goes on from."""

from __future__ import annotations

import json
import os
from datetime import date, datetime
from pathlib import Path
from typing import Any

from providers.paces import SecondReading, day_of_second_reading, read_once_since, second_reading


class KeptRereading:
    """``done``: the day of the last second reading; ``kept``: how far the next one came. One process holds ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done: date | None = None
        self.kept: dict[str, Any] = {}
        try:
            told = json.loads(path.read_text("utf-8"))
            done, kept = date.fromisoformat(told["done"]) if told["done"] else None, told["kept"]
            if kept:  # that it can be read is known now, not when it is needed
                SecondReading(
                    date.fromisoformat(kept["day"]),
                    datetime.fromisoformat(kept["since"]),
                    int(kept["tries"]),
                    str(kept["said"]),
                )
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or no file of ours: a day is read twice more
            return
        self.done, self.kept = done, kept

    @property
    def wrong(self) -> dict[str, str]:
        """What is told of a second reading that failed, as a part of a round."""
        said = str(self.kept.get("said", ""))
        return {"second": said[:500]} if said else {}

    def due(self, now: datetime, oldest: datetime) -> SecondReading | None:
        """As providers.paces.second_reading."""
        return second_reading(now, self.done, self.kept, oldest)

    def since(self, now: datetime) -> datetime:
        """From when on nothing was read twice yet."""
        if self.kept:
            return datetime.fromisoformat(self.kept["since"])
        return read_once_since(now, self.done)

    def note(self, now: datetime, left: SecondReading | None) -> None:
        """Write down what is left of it; None: it is done for the day."""
        if left is None:
            self.done = day_of_second_reading(now)
        self.kept = left.to_json() if left else {}
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(
                {"done": self.done.isoformat() if self.done else None, "kept": self.kept}, stream, ensure_ascii=False
            )
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self._path)
