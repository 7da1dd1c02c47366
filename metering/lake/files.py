"""The lake's files: how they are named, laid out, written so that a crash leaves old or new, and read.

    lake.json                                  step, UTC offset, format
    days.json                                  the days that are closed
    hot/<day>/<source>/<first>-<last>-<number>-<digest>.parquet
    days/<day>.parquet                         dense: 288 slots a resource, sorted by (resource, slot)
    hours/<day>.parquet  daily/<day>.parquet   rollups
    sources/<day>.json                         which sources a closed day came from
    closing.json                               the day being closed, while it is
    sealed.json                                months that were settled: what comes later goes to corrections/
    corrections/<day>/<source>/…               as hot/, of days of sealed months
    landings/<key>/…                           files of which not all has come, where nobody reads them (lake_landings)
    retention.json                             before which days what was deleted
    findings/<run>-<digest>.parquet            findings that the book no longer keeps (metering.archive)
    quarantine/                                damaged files, as they were found

<number> orders deliveries, <digest> recognises one that comes again. Names with a leading dot are being
written, or were left by a crash, and nobody reads them.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from metering.lake.samples import COLUMNS, Cells
from providers.metrics import METRICS, Array
from quota.errors import N_, NoRoom, out_of_room

BLOCK = 512
"""Resource ids per row group of a dense file: small enough for one chart, large enough for a whole scan."""

_HOT_ROWS = 16_384
_EPOCH = date(1970, 1, 1)
_HOT_NAME = re.compile(r"(\d+)-(\d+)-(\d{19})-([0-9a-f]{16})\.parquet")
_SOURCE = re.compile(r"[\w@:+-][\w.@:+-]{0,119}")


class LakeFull(NoRoom):
    """There is no room for a delivery; nothing of it is acknowledged, and what was taken before stays whole."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or error, "lake.full", N_("数据湖所在磁盘已满,未接收本批采样:%(why)s"))


@contextmanager
def room() -> Iterator[None]:
    """Turns the system's ways of saying that there is no room into LakeFull."""
    try:
        yield
    except OSError as error:
        if out_of_room(error):
            raise LakeFull(error) from error
        raise


class Damaged(Exception):
    """A file of the lake that can't be read, or whose contents contradict its name or themselves."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


def number_of(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days


def day_of(number: int) -> date:
    return _EPOCH + timedelta(days=number)


@dataclass(frozen=True, slots=True, order=True)
class HotName:
    """One delivery's share of one day. Sorted by its number: the order of delivery."""

    number: int
    source: str
    first: int
    last: int
    digest: str

    def __str__(self) -> str:
        return f"{self.first}-{self.last}-{self.number:019d}-{self.digest}.parquet"


def check_source(source: str) -> str:
    """The source's name, if it can be a folder's; ValueError if not."""
    if not _SOURCE.fullmatch(source):
        raise ValueError(f"a source is named by letters, digits and . _ @ : + -: not {source!r}")
    return source


def hot_names(folder: Path) -> list[HotName]:
    """What was delivered to one day's hot folder and isn't closed yet, in order of delivery."""
    names = []
    for source in _listed(folder):
        for file in _listed(folder / source):
            if found := _HOT_NAME.fullmatch(file):
                first, last, number, digest = found.groups()
                names.append(HotName(int(number), source, int(first), int(last), digest))
    return sorted(names)


def hot_days(root: Path) -> list[date]:
    """Days that have hot files, oldest first."""
    return [day for day in dated(root / "hot", "") if hot_names(root / "hot" / day.isoformat())]


def dated(folder: Path, suffix: str) -> list[date]:
    """The days that have an entry `<day><suffix>` in a folder, oldest first."""
    pattern = re.compile(r"\d{4}-\d\d-\d\d" + re.escape(suffix))
    return sorted(date.fromisoformat(name[:10]) for name in _listed(folder) if pattern.fullmatch(name))


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


# --- writing -----------------------------------------------------------------------------------------------


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, so that a power cut does not forget them."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True, parents=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's names durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: Path) -> tuple[int, str]:
    """A new file beside `path`, open for writing, under a name that nobody reads."""
    for attempt in range(10):
        make_folder(path.parent)
        try:
            return tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        except FileNotFoundError:  # a roll has just removed the empty folder
            if attempt == 9:
                raise
    raise AssertionError("not reached")


def write_whole(path: Path, content: bytes | Callable[[Any], object]) -> None:
    """Write a file wholly or not at all: beside it, fsync, rename over it, fsync the folder.

    `content`: what it holds, or what writes that into an open file.
    """
    handle, beside = _beside(path)
    try:
        with os.fdopen(handle, "wb") as sink:
            content(sink) if callable(content) else sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write a small file of settings or lists, wholly or not at all."""
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    write_whole(path, text.encode())


def sweep(folder: Path, older_than_s: float = 0) -> None:
    """Remove what a crashed writer left half-written, in the folder and below it."""
    before = time.time() - older_than_s
    for beside in folder.rglob(".*.tmp"):
        with suppress(FileNotFoundError):
            if older_than_s <= 0 or beside.stat().st_mtime < before:
                beside.unlink()


KEYS = ("resource", "slot", "hour")
ROLLED = ("_mean", "_max", "_sum", "_last", "_mark", "_bins", "_counts")
"""How columns end that a rollup has of a metric, or of a day's ends."""


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Keys as deltas, percentages as byte streams, rolled rates as they are, the rest by dictionary; all by zstd.

    Rates repeat (rounded by their source), so a dictionary beats byte streams by a third on the traces; where they don't,
    Arrow drops the dictionary by itself. What is rolled up hardly repeats: of it a dictionary is a second copy. It is a tenth
    of the samples and stays for years, so that more work is spent on it.
    """
    rolled = {f.name: f.name.rpartition("_")[0] for f in schema if f.name.endswith(ROLLED)}
    numbers = [f.name for f in schema if not pa.types.is_nested(f.type)]
    streams = [name for name in numbers if (of := METRICS.get(rolled.get(name, name))) and of.percent]
    deltas = [name for name in numbers if name in KEYS]
    apart = {*streams, *deltas, *rolled}
    return {
        "compression": "zstd",
        "compression_level": {_path(f): ROLLED_LEVEL if f.name in rolled else RAW_LEVEL for f in schema},
        "use_dictionary": [f.name for f in schema if f.name not in apart],
        "column_encoding": dict.fromkeys(streams, "BYTE_STREAM_SPLIT") | dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
        # What a row group's footer says of these two, a whole scan need not read; see `Reader.dense`.
        "write_statistics": ["resource", "state"],
        "write_page_checksum": True,
        "store_schema": False,
    }


RAW_LEVEL, ROLLED_LEVEL = 1, 6
"""How hard zstd tries. Reading is as fast whatever was written."""


def _path(column: pa.Field) -> str:
    """How Parquet calls what a column holds."""
    return f"{column.name}.list.element" if pa.types.is_list(column.type) else column.name


class Sheet:
    """One Parquet file being written beside its place, row group by row group; `finish` puts it there, durable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beside: Path | None = None
        self._sink: Any = None
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        """One row group more; all are of one schema."""
        if self._writer is None:
            handle, beside = _beside(self.path)
            self._beside, self._sink = Path(beside), os.fdopen(handle, "wb")
            self._writer = pq.ParquetWriter(self._sink, table.schema, **_encodings(table.schema))
        self._writer.write_table(table, row_group_size=len(table) or 1)

    def finish(self, about: Mapping[str, Any] | None = None) -> None:
        """Close, fsync, rename into place. What was never written to leaves what is there."""
        if self._writer is None or self._beside is None:
            return
        for key, value in (about or {}).items():
            self._writer.add_key_value_metadata({key: str(value)})
        self._writer.close()
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()
        os.replace(self._beside, self.path)
        self._writer = self._beside = None
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Leave nothing of what was written, unless it was finished."""
        if self._writer is not None and self._beside is not None:
            with suppress(OSError, pa.ArrowException):
                self._writer.close()
            with suppress(OSError):
                self._sink.close()
            self._beside.unlink(missing_ok=True)
            self._writer = self._beside = None

    def __enter__(self) -> Sheet:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


def write_tables(path: Path, tables: Iterable[pa.Table], about: Mapping[str, Any] | None = None) -> None:
    """Write tables of one schema as the row groups of one Parquet file. None at all: nothing is written."""
    with Sheet(path) as sheet:
        for table in tables:
            sheet.write(table)
        sheet.finish(about)


def table_of(columns: dict[str, Any]) -> pa.Table:
    """A table without nulls: numpy columns, or Arrow arrays as they are."""
    arrays = [pa.array(column) if isinstance(column, np.ndarray) else column for column in columns.values()]
    fields = [pa.field(name, array.type, nullable=False) for name, array in zip(columns, arrays, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def cells_table(cells: Cells) -> pa.Table:
    """Cells as a table: resource, slot, sec, state, the columns that say anything, their lags."""
    columns: dict[str, Array] = {
        "resource": cells.resource,
        "slot": cells.slot,
        "sec": cells.sec,
        "state": cells.state,
    }
    columns |= {name: cells.values[name] for name in COLUMNS if name in cells.values}
    columns |= {f"{name}_lag": cells.lags[name] for name in COLUMNS if name in cells.lags}
    return table_of(columns)


def hot_tables(cells: Cells) -> Iterable[pa.Table]:
    """A delivery as row groups, so that a range of resources can be read alone."""
    return row_groups(cells_table(cells))


def row_groups(table: pa.Table) -> Iterable[pa.Table]:
    """A table cut into row groups of a delivery."""
    return (table.slice(first, _HOT_ROWS) for first in range(0, max(len(table), 1), _HOT_ROWS))


# --- reading -----------------------------------------------------------------------------------------------


Ranges = list[tuple[int, int]]
"""The first and last resource of each row group."""


def _ranges(file: Any) -> Ranges:
    column = file.schema_arrow.get_field_index("resource")
    found = [file.metadata.row_group(group).column(column).statistics for group in range(file.metadata.num_row_groups)]
    return [(one.min, one.max) if one else (0, -1) for one in found]


class Footers:
    """Footers of the `most` files that were opened last, as long as each is the file that it was. For several threads."""

    def __init__(self, most: int = 128) -> None:
        self._most = most
        self._kept: OrderedDict[Path, tuple[tuple[int, ...], Any, Ranges]] = OrderedDict()
        self._guard = Lock()

    def open(self, path: Path) -> tuple[Any, Ranges]:
        """The file, opened, and its ranges. Raises as pyarrow and the system do."""
        before = self._which(path)
        source = pa.memory_map(str(path))
        try:
            same = before == self._which(path)  # else it was replaced while it was opened
            with self._guard:
                which, metadata, ranges = self._kept.get(path, (None, None, []))
            if same and which == before:
                return pq.ParquetFile(source, metadata=metadata, page_checksum_verification=True), ranges
            file = pq.ParquetFile(source, page_checksum_verification=True)
            ranges = _ranges(file)
        except BaseException:
            source.close()
            raise
        if same:
            with self._guard:
                self._kept[path] = before, file.metadata, ranges
                self._kept.move_to_end(path)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return file, ranges

    @staticmethod
    def _which(path: Path) -> tuple[int, ...]:
        found = path.stat()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


class Reader:
    """One open Parquet file whose row groups are sorted by `resource`; replaced or removed, it stays readable.

    `filesystem`: where it lies if not on this machine's disk (S3, HDFS); `known`: footers that were read before, for
    those who come again and again for a little. Raises FileNotFoundError if it isn't there, Damaged if it is no readable
    file.
    """

    def __init__(self, path: Path, filesystem: Any = None, known: Footers | None = None) -> None:
        self.path = path
        try:
            if known is not None:
                self.file, self.ranges = known.open(path)
                self.names: frozenset[str] = frozenset(self.file.schema_arrow.names)
                return
            if filesystem is None:
                self.file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
            else:
                source = filesystem.open_input_file(path.as_posix())
                far = not isinstance(filesystem, fs.LocalFileSystem)
                self.file = pq.ParquetFile(source, pre_buffer=far, page_checksum_verification=True)
            self.names = frozenset(self.file.schema_arrow.names)
            self.ranges = _ranges(self.file)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise Damaged(path, f"not a readable Parquet file of the lake ({error})") from error

    def about(self) -> dict[str, str]:
        """What was written into the file's footer."""
        return {k.decode(): v.decode() for k, v in (self.file.metadata.metadata or {}).items()}

    def groups(self, low: int, high: int) -> list[int]:
        """The row groups that may hold resources low..high-1."""
        return [g for g, (first, last) in enumerate(self.ranges) if first < high and last >= low]

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> dict[str, Array]:
        """The named columns of some row groups as numpy arrays; names the file doesn't have are left out."""
        wanted = [name for name in columns if name in self.names]
        try:
            table = self.file.read_row_groups(list(groups), columns=wanted, use_threads=False)
            return {name: table[name].to_numpy() for name in wanted}
        except Exception as error:
            raise Damaged(self.path, str(error)) from error

    def consecutive(self, group: int, slots: int) -> NDArray[np.int32] | None:
        """The resources of a dense row group, if its footer tells them: their ids have no gap."""
        first, last = self.ranges[group]
        if (last - first + 1) * slots != self.file.metadata.row_group(group).num_rows:
            return None
        return np.arange(first, last + 1, dtype=np.int32)

    def alike(self, group: int) -> int | None:
        """The state of all samples of a row group, if its footer tells it."""
        column = self.file.schema_arrow.get_field_index("state")
        found = self.file.metadata.row_group(group).column(column).statistics
        return int(found.min) if found and found.min == found.max else None

    def dense(
        self, groups: Sequence[int], columns: Sequence[str], slots: int
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8], dict[str, Array]]:
        """Of a dense file: the resources [r], their states [r, slots] and the named columns, [r, slots] each.

        What the footer tells of ids and states (`consecutive`, `alike`) isn't read: usually both.
        """
        ids = [told for group in groups if (told := self.consecutive(group, slots)) is not None]
        states = {self.alike(group) for group in groups}
        unread = ["resource"] if len(ids) < len(groups) else []
        unread += ["state"] if len(states) > 1 or None in states else []
        found = self.read(groups, [*unread, *columns])
        resources = found.pop("resource")[::slots] if "resource" in found else np.concatenate(ids)
        matrices = {name: column.reshape(-1, slots) for name, column in found.items()}
        if "state" in matrices:
            return resources, matrices.pop("state"), matrices
        return resources, np.full((len(resources), slots), states.pop(), np.uint8), matrices

    def row(
        self, resource: int, columns: Sequence[str], slots: int
    ) -> tuple[NDArray[np.uint8], dict[str, Array]] | None:
        """Of a dense file: one resource's states and the named columns, [slots] each; None if it isn't there."""
        for group in self.groups(resource, resource + 1):
            ids = self.consecutive(group, slots)
            if ids is None:
                ids = self.read([group], ["resource"])["resource"][::slots]
            at = int(np.searchsorted(ids, resource))
            if at < len(ids) and ids[at] == resource:
                _, state, found = self.dense([group], columns, slots)
                return state[at], {name: column[at] for name, column in found.items()}
        return None

    def histograms(self, groups: Sequence[int], metrics: Sequence[str], low: int, high: int) -> dict[str, Array]:
        """Of a daily file: `resource`, and per metric _n, _sum, _max, and its sparse histogram as _bins and _counts (of
        all resources one after another) with _lengths (entries a resource); resources low..high-1 alone."""
        names = [f"{name}_{what}" for name in metrics for what in ("n", "sum", "max", "bins", "counts")]
        wanted = ["resource", *(name for name in names if name in self.names)]
        try:
            table = self.file.read_row_groups(list(groups), columns=wanted, use_threads=False)
        except Exception as error:
            raise Damaged(self.path, str(error)) from error
        ids = table["resource"].to_numpy()
        first, end = (int(one) for one in np.searchsorted(ids, [low, high]))
        table = table.slice(first, end - first)
        found: dict[str, Array] = {}
        for name in wanted:
            column = table[name].combine_chunks()
            if not pa.types.is_list(column.type):
                found[name] = column.to_numpy()
                continue
            found[name] = column.flatten().to_numpy()
            if name.endswith("_bins"):
                found[name.removesuffix("_bins") + "_lengths"] = np.diff(column.offsets.to_numpy())
        return found

    def part(self, group: int) -> pa.Table:
        """One row group."""
        try:
            return self.file.read_row_group(group, use_threads=False)
        except Exception as error:
            raise Damaged(self.path, str(error)) from error

    def table(self) -> pa.Table:
        """The whole file."""
        try:
            return self.file.read(use_threads=False)
        except Exception as error:
            raise Damaged(self.path, str(error)) from error

    def cells(self, low: int = 0, high: int = 2**31, columns: Iterable[str] = COLUMNS) -> Cells:
        """The samples of resources low..high-1: of a dense file those slots in which something came."""
        wanted = ["resource", "slot", "sec", "state", *columns, *(f"{name}_lag" for name in columns)]
        found = self.read(self.groups(low, high), wanted)
        try:
            cells = Cells(
                found.pop("resource"),
                found.pop("slot"),
                found.pop("sec"),
                found.pop("state"),
                {name: column for name, column in found.items() if name in COLUMNS},
                {name.removesuffix("_lag"): column for name, column in found.items() if name not in COLUMNS},
            )
        except KeyError as error:
            raise Damaged(self.path, f"the column {error} is not there") from error
        keep = (cells.state != 0) & (cells.resource >= low) & (cells.resource < high)
        return cells if keep.all() else cells.take(keep)

    def close(self) -> None:
        self.file.close(force=True)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
