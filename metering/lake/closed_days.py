"""The closed days of a lake, read-only, wherever they lie: on this machine, on S3-like storage, on HDFS.

    Shelf("var/guanjia/lake")    Shelf("s3://bucket/lake?endpoint_override=https://…")    Shelf("hdfs://name:8020/lake")

Deliveries need a disk that renames and syncs; closed days don't change but whole, so that object storage holds them as
well. `publish` copies there what is new. Keys for S3 come from the environment or the machine's role, as everywhere.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pyarrow import fs

from metering.lake import readings
from metering.lake.closing import KINDS
from metering.lake.files import Reader, dated

if TYPE_CHECKING:
    from metering.lake.store import Lake

MANIFEST = "published.json"


class ClosedDays:
    """Reads only. Files once opened stay open in their thread, so that one pass over many blocks opens each once."""

    def __init__(self, place: str | Path) -> None:
        """FileNotFoundError if there is no lake at the place."""
        self.place = str(place)
        self.filesystem, root = _opened(self.place)
        self.root = PurePosixPath(root)
        with self.filesystem.open_input_stream(f"{root}/lake.json") as stream:
            about = json.loads(stream.read())
        self.step_s: int = about["step_s"]
        self.utc_offset_s: int = about["utc_offset_s"]
        self.slots = 86_400 // self.step_s
        self._open = threading.local()

    def days(self) -> list[date]:
        """The closed days that have samples."""
        found = self.filesystem.get_file_info(fs.FileSelector(f"{self.root}/days", allow_not_found=True))
        names = [one.base_name for one in found if one.base_name.endswith(".parquet") and one.base_name[0] != "."]
        return sorted(date.fromisoformat(name[:10]) for name in names)

    def open(self, kind: str, day: date) -> Reader:
        """The file of a closed day. Raises FileNotFoundError, Damaged. Closed with the shelf, not by its reader."""
        kept: dict[tuple[str, date], Reader | None] = self._open.__dict__.setdefault("readers", {})
        if (kind, day) not in kept:
            path = Path(self.root / kind / f"{day.isoformat()}.parquet")
            try:
                # Read, not mapped: what was mapped stays in memory for as long as the file is open.
                kept[kind, day] = Reader(path, self.filesystem)
            except FileNotFoundError:
                kept[kind, day] = None
        reader = kept[kind, day]
        if reader is None:
            raise FileNotFoundError(f"{self.place}: {kind} of {day}")
        return reader

    def windows(
        self, resources: Iterable[int] | None, first_day: date, last_day: date, metrics: Sequence[str]
    ) -> Iterator[readings.SampleMatrix]:
        """Blocks of resources with every slot of the closed days; see metering.lake.readings."""
        return readings.blocks(self, resources, first_day, last_day, metrics)


def _opened(place: str) -> tuple[Any, str]:
    if "://" in place:
        filesystem, root = fs.FileSystem.from_uri(place)
        return filesystem, root.rstrip("/")
    return fs.LocalFileSystem(), str(Path(place).absolute())


@dataclass(frozen=True, slots=True)
class PublishedDays:
    """Files copied now, their bytes, and how many were there already."""

    copied: int
    bytes: int
    there: int


def publish(lake: Lake, place: str) -> PublishedDays:
    """Copy the lake's closed days to `place`; what lies there unchanged since it was copied is left.

    The list of what was copied is written last: a copy that was cut off is simply done again.
    """
    filesystem, root = _opened(place)
    filesystem.create_dir(root, recursive=True)
    try:
        with filesystem.open_input_stream(f"{root}/{MANIFEST}") as stream:
            before: dict[str, list[int]] = json.loads(stream.read())
    except FileNotFoundError:
        before = {}
    now: dict[str, list[int]] = {}
    copied = size = 0
    for name in ["lake.json", *_names(lake)]:
        path = lake.root / name
        found = path.stat()
        now[name] = [found.st_size, found.st_mtime_ns]
        if before.get(name) == now[name]:
            continue
        filesystem.create_dir(f"{root}/{PurePosixPath(name).parent}", recursive=True)
        with path.open("rb") as source, filesystem.open_output_stream(f"{root}/{name}") as sink:
            while part := source.read(8 << 20):
                sink.write(part)
        copied, size = copied + 1, size + found.st_size
    for name in before.keys() - now.keys():  # deleted by the rule of retention, here too
        if filesystem.get_file_info(f"{root}/{name}").type != fs.FileType.NotFound:
            filesystem.delete_file(f"{root}/{name}")
    with filesystem.open_output_stream(f"{root}/{MANIFEST}") as sink:
        sink.write(json.dumps(now, indent=1, sort_keys=True).encode())
    return PublishedDays(copied, size, len(now) - copied)


def _names(lake: Lake) -> Iterator[str]:
    for kind in KINDS:
        for day in dated(lake.root / kind, ".parquet"):
            yield f"{kind}/{day.isoformat()}.parquet"
