"""The house of the console's tests, beside a real cloud; and the cloud's own services, where they are ours to stop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.clouds.services import PORTS, Services
from tests.console.conftest import city, founded, house, settings  # noqa: F401 - fixtures


@pytest.fixture
def services(real_cloud: dict[str, Any]) -> Iterator[Services]:
    """Of the cloud that make test-clouds brought up; all of them run when the test is over."""
    port = urlsplit(real_cloud["auth_url"]).port or 0
    found = Services(Path(os.environ["OS_CLIENT_CONFIG_FILE"]).parent, port - PORTS["keystone"])
    if not found.alive("nova-api"):
        pytest.skip("this cloud was brought up by somebody else, whose services are not ours to stop")
    yield found
    found.services()
