"""Room: how full the disks are that the house writes to, and what agents pushed that no fold has taken up yet. Read from the disks
themselves at each scrape, so that it is told while the book or the lake is in trouble."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from console.settings import Settings
from metering.intake import spool


class DiskCollector(Collector):
    """``clock``: what the age of a delivery is reckoned by."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.settings, self.clock = settings, clock

    def collect(self) -> Iterator[Metric]:
        yield from self._disks()
        yield from self._spool()

    def _disks(self) -> Iterator[Metric]:
        size = GaugeMetricFamily("guanjia_disk_size_bytes", "Size of the disk on which a folder lies.", labels=["of"])
        free = GaugeMetricFamily("guanjia_disk_free_bytes", "What is free of it to the house.", labels=["of"])
        folders = {"data": self.settings.data, "lake": self.settings.lake_dir, "trail": self.settings.trail_folder}
        for of, folder in folders.items():
            with suppress(OSError):  # not there yet, or not any more: unknown is left out
                found = shutil.disk_usage(folder)
                size.add_metric([of], found.total)
                free.add_metric([of], found.free)
        yield from (size, free)

    def _spool(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "guanjia_spool_bytes", "Deliveries of a push source that no fold has taken up yet.", labels=["source"]
        )
        oldest = GaugeMetricFamily(
            "guanjia_spool_oldest_seconds",
            "Age of the oldest delivery that no fold has taken up yet.",
            labels=["source"],
        )
        for source, (size, came) in spool.waiting(self.settings.lake_dir).items():
            waiting.add_metric([source], size)
            oldest.add_metric([source], max(0.0, (self.clock() - came).total_seconds()))
        yield from (waiting, oldest)
