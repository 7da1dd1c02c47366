"""Whatever is started knows every indicator: a formula must not depend on what happened to be imported before it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ASK = "import json, {}; from providers.assessment import registry; print(json.dumps([one.code for one in registry.indicators()]))"


@pytest.mark.parametrize(
    "module",
    ["console.scoring", "console.app", "console.cli.providers", "console.verification", "console.schema.models"],
)
def test_every_way_in_registers_all_of_them(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", ASK.format(module)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        "availability", "delivery", "sizes", "cpu_time", "incidents", "security", "optimisation", "rectification", "tickets", "capacity", "satisfaction", "backup",
        "metering", "xinchuang", "reporting", "compliance",
    ]  # fmt: skip
