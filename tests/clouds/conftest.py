"""The house of the console's tests, beside a real cloud."""

from __future__ import annotations

from tests.console.conftest import city, founded, house, settings  # noqa: F401 - fixtures
