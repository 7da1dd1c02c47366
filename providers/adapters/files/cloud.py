"""A cloud without an interface: its provider puts files into a folder, and its staff carry out orders by
hand.

``usage/`` (a tree of usage files) and ``inventory/`` (listings, the last by name is the current one) lie in
the folder; without either of the two the folder itself is the usage tree. docs/formats.md says what files
may look like.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from providers.adapters.files.orders import OrderFiles
from providers.base import ON_RESOURCES, Inventory, Order, Outcome, ProviderFault, Samples, SheetFault, Verb
from providers.options import Json, option
from providers.readers import (
    CITY_OFFSET_S,
    FORMATS,
    UNMAPPED,
    UNUSABLE,
    ColumnMapping,
    Convention,
    Refusals,
    UsageFile,
    column_mapping,
    find_usage,
    inventory_from_usage,
    read_inventory,
    read_usage_files,
    sheet_purposes,
)
from quota.errors import N_, Invalid, NotFound
from quota.units import BANDWIDTH, CLASSES, MEMORY, OBJECT, VCPU, Arch, ClassCode


@dataclass(frozen=True, kw_only=True)
class FilesOptions:
    """What has to be known of the folder."""

    folder: str = option(N_("目录"), N_("云服务商放文件的目录;{home} 代表数据目录"))
    name: str = option(N_("名称"), default="files")
    format: str | None = option(N_("用量文件格式"), N_("留空则按内容识别"), default=None, choices=FORMATS)
    utc_offset_s: int | None = option(
        N_("时区偏移（秒）"), N_("文件中的时间没有写明时区时"), default=None, least=-16 * 3600, most=16 * 3600
    )
    prefix: str = option(N_("编号前缀"), N_("加在每个资源编号之前"), default="")
    arch: str = option(
        N_("架构"), N_("清单没有写明架构时"), default=Arch.ANY.value, choices=[one.value for one in Arch]
    )
    orders_folder: str | None = option(
        N_("工单目录"), N_("工单写成文件放在这里,由云服务商人员办理;留空则不能办理工单"), default=None
    )
    frees: tuple[str, ...] = option(N_("缩小时一并释放的资源"), N_("用逗号分开,如 block"), default=())
    live_resize: bool = option(N_("不停机调整规格"), default=False)
    sheet_mappings: Json = option(N_("列对照"), default=())


LISTINGS = (".csv", ".txt", ".tsv", ".xlsx", ".xls", ".parquet", ".json", ".gz")


class FilesCloud:
    """One pool whose facts come as files. Implements providers.base.Provider and Asking.

    folder: where the provider's files are put. format, utc_offset_s, prefix: as in
    usage_formats.Convention. arch: the pool's, for listings that name none. orders_folder: where order
    files are written for the provider's staff and their outcome files are read; without it the cloud has no
    hands and refuses every order; live_resize: they change running machines without stopping them. frees: kinds that this cloud gives back, too, when a resource is made smaller
    (block storage, as a rule, is not). sheet_mappings: how files with headings of their own are read
    (``ColumnMapping.to_json``, with ``kept_at``: since when), which the book keeps for the pool.

    ``usage_report`` and ``inventory_report`` tell what the last reading took and refused. Raises Invalid
    for a folder that is not there and for unknown options.
    """

    Options = FilesOptions

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str = "files",
        format: str | None = None,  # noqa: A002 - the option's name
        utc_offset_s: int | None = None,
        prefix: str = "",
        arch: str = Arch.ANY,
        orders_folder: str | Path | None = None,
        frees: Iterable[str] = (),
        live_resize: bool = False,
        sheet_mappings: Any = (),
    ) -> None:
        self.name = name
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise NotFound("file.missing", UNUSABLE["file.missing"], file=str(folder), field="folder")
        try:
            self.arch = Arch(arch)
        except ValueError:
            raise Invalid("arch.unknown", N_("无法识别的芯片架构：%(arch)s"), arch=arch, field="arch") from None
        self.convention = Convention(format=format, utc_offset_s=utc_offset_s, prefix=prefix)
        self.dates_offset_s = CITY_OFFSET_S if utc_offset_s is None else utc_offset_s
        every = [ColumnMapping.from_json(one) for one in sheet_mappings]
        self.sheet_mappings = column_mapping.of_purpose(every, sheet_purposes.INVENTORY)
        of_usage = column_mapping.of_purpose(every, sheet_purposes.USAGE)
        self.convention = replace(self.convention, mappings=tuple(of_usage))
        self._explained_at = max(
            (
                datetime.fromisoformat(one["kept_at"])
                for one in sheet_mappings
                if one.get("purpose") and "kept_at" in one
            ),
            default=None,
        )
        self.orders = OrderFiles(Path(orders_folder)) if orders_folder is not None else None
        self.capabilities = ON_RESOURCES if self.orders is not None else frozenset()
        self.live_resize = bool(live_resize) and self.orders is not None
        try:
            also = frozenset(CLASSES.known(one) for one in frees)
        except Invalid:
            raise Invalid(
                "adapter.options", N_("适配器 %(name)s 的参数不对:%(error)s"), name=name, error="frees", field="frees"
            ) from None
        self.releases: Mapping[Verb, Collection[ClassCode]] = {
            Verb.RESIZE: frozenset({VCPU, MEMORY, OBJECT, BANDWIDTH}) | also,
            Verb.DELETE: CLASSES,
        }
        self.usage_report = Refusals()
        self.inventory_report = Refusals()
        self._spans: dict[tuple[str, int, int], tuple[int, int] | None] = {}
        self._lock = threading.Lock()

    def inventory(self, now: datetime) -> Inventory:
        """The current listing; without any, what the usage files speak of (never complete).

        Raises ProviderFault for a listing that cannot be used: an unreadable listing is no empty pool. SheetFault where
        somebody can say what its columns mean.
        """
        report = Refusals()
        listing = self._listing()
        try:
            if listing is not None:
                found = read_inventory(
                    listing, report, arch=self.arch, utc_offset_s=self.dates_offset_s, mappings=self.sheet_mappings
                )
            else:
                found = inventory_from_usage(self._read(self._usage(report), report), arch=self.arch)
        except (Invalid, NotFound) as error:
            if listing is not None and error.code in UNMAPPED:
                raise SheetFault(str(error), listing) from error
            raise ProviderFault(str(error), transient=False) from error
        finally:
            self.inventory_report = report
        return Inventory(min(found.as_of, now), found.facts, found.complete)

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        """Samples of the usage files with since <= ts < until, and all before ``until`` from files that
        arrived since.

        Files come late as a rule: what arrived after ``since`` is given whole, however old its samples are, and so is
        every file after somebody said what columns mean; taking samples twice does no harm. A file that cannot be used is left out and listed in
        ``usage_report``.
        """
        report = Refusals()
        self.usage_report = report
        first, last = int(np.ceil(since.timestamp())), int(np.ceil(until.timestamp()))
        explained = self._explained_at is not None and self._explained_at >= since
        fresh, old = [], []
        for file in self._usage(report):
            span = self._spans.get(_identity(file.path), (first, last))
            if explained or _arrived(file.path) >= since:
                if span is not None and span[0] < last:
                    fresh.append(file)
            elif span is not None and span[0] < last and span[1] >= first:
                old.append(file)
        for files, lowest in ((fresh, 0), (old, first)):
            for batch in self._read(files, report):
                ts = batch.table["ts"].to_numpy()
                inside = (ts >= lowest) & (ts < last)
                if inside.all():
                    yield batch
                elif inside.any():
                    yield Samples(batch.source, batch.external_ids, batch.table.filter(pa.array(inside)))

    def unexplained(self) -> list[tuple[Path, str]]:
        """As providers.base.Asking."""
        places = {one.name: one.path for one in self._usage(Refusals())}
        return [
            (places[reading.file], str(reading.error))
            for reading in self.usage_report.files
            if reading.error is not None and reading.error.code in UNMAPPED and reading.file in places
        ]

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """Hand the order to the provider's staff as a file; PENDING until their outcome file is there."""
        if self.orders is None:
            raise ProviderFault(f"{self.name}: a folder of files carries out no orders", transient=False)
        if order.verb not in self.capabilities:
            raise ProviderFault(f"{self.name}: the files of orders say nothing of {order.verb.value}", transient=False)
        return self.orders.deliver(order, now)

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """What the staff say of the order with that key: PENDING while they say nothing, None where no file of it was
        ever put there for them."""
        return None if self.orders is None else self.orders.inquire(key, now)

    def _listing(self) -> Path | None:
        folder = self.folder / "inventory"
        if not folder.is_dir():
            return None
        found = [one for one in folder.iterdir() if one.is_file() and not one.is_symlink()]
        names = [one for one in found if one.suffix.lower() in LISTINGS and not one.name.startswith((".", "~$"))]
        return max(names, key=lambda one: one.name, default=None)

    def _usage(self, report: Refusals) -> list[UsageFile]:
        folder = self.folder / "usage"
        if folder.is_dir():
            return find_usage(folder, report)
        return [] if (self.folder / "inventory").is_dir() else find_usage(self.folder, report)

    def _read(self, files: list[UsageFile], report: Refusals) -> Iterator[Samples]:
        """Batches of these files; the span of each is remembered until the file changes."""
        before = len(report.files)
        identities = [_identity(file.path) for file in files]
        yield from read_usage_files(files, report, self.convention)
        with self._lock:
            self._spans.update(
                (identity, reading.span) for identity, reading in zip(identities, report.files[before:], strict=True)
            )


def _identity(path: Path) -> tuple[str, int, int]:
    known = path.stat()
    return str(path), known.st_size, known.st_mtime_ns


def _arrived(path: Path) -> datetime:
    """When the file came to this machine: its inode's change, which copying with old dates does not
    bend."""
    return datetime.fromtimestamp(path.stat().st_ctime, UTC)
