"""A real VictoriaMetrics, as it is delivered, is asked for usage, and says what remote-write said of the same samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.journeys.test_feeds import agree, door  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, pytest.mark.clouds]

LATE_S = 40
"""For the newest half minute it repeats what it had before (-search.latencyOffset)."""


def test_victoria_metrics_pulled_says_what_is_pushed(door: Any, tmp_path: Path) -> None:  # noqa: F811
    def victoria(port: int) -> tuple[tuple[str, ...], str]:
        where = f"127.0.0.1:{port}"
        command = "victoria-metrics", f"-storageDataPath={tmp_path / 'victoria'}", f"-httpListenAddr={where}"
        return command, f"http://{where}/api/v1/write"

    agree(door, tmp_path, victoria, LATE_S)
