"""Debian's VictoriaMetrics as a contender: its server, its import format."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.harness import Run

VICTORIA = "VictoriaMetrics"


def lines(table: pa.Table, names: tuple[str, ...] | list[str]) -> bytes:
    """Samples in VictoriaMetrics' native line format: one line a series, as its own documents advise for bulk."""
    ids = table["resource"].to_numpy()
    order = np.argsort(ids, kind="stable")
    ids, ts = ids[order], table["ts"].to_numpy()[order] * 1000
    cuts = [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]
    found = []
    for name in names:
        values = table[name].to_numpy()[order]
        for first, end in pairwise(cuts):
            some = np.isfinite(values[first:end])
            if some.any():
                found.append(
                    json.dumps(
                        {
                            "metric": {"__name__": name, "r": str(ids[first])},
                            "values": values[first:end][some].tolist(),
                            "timestamps": ts[first:end][some].tolist(),
                        }
                    )
                )
    return "\n".join(found).encode()


class Victoria:
    """Debian's victoria-metrics on a port of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.at = f"127.0.0.1:{probe.getsockname()[1]}"
        self.folder = folder

    def __enter__(self) -> Victoria:
        command = [
            "victoria-metrics",
            f"-storageDataPath={self.folder}",
            f"-httpListenAddr={self.at}",
            "-retentionPeriod=100y",
        ]
        self.process = subprocess.Popen([*command, "-search.latencyOffset=0s"], stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.ask("/health")
                return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("victoria-metrics did not start")

    def ask(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        asked = urllib.request.Request(f"http://{self.at}{path}", body, headers or {})
        with urllib.request.urlopen(asked, timeout=300) as answer:  # noqa: S310 - our own loopback
            return bytes(answer.read())

    def take(self, body: bytes) -> None:
        self.ask("/api/v1/import", body)

    def settle(self) -> None:
        """Everything flushed and merged: as small as it gets."""
        self.ask("/internal/force_flush")
        self.ask("/internal/force_merge")
        time.sleep(5)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def beside(contenders: dict[str, Run], victoria: Run, name: str = VICTORIA) -> dict[str, dict[str, Any]]:
    """The contenders, VictoriaMetrics among them where it is installed (`tests/system_packages bench` does); else the
    table says that it is not."""
    if shutil.which("victoria-metrics"):
        return {"contenders": {**contenders, name: victoria}}
    return {"contenders": contenders, "absent": {name: "victoria-metrics is not installed"}}
