"""Journeys go through the console on the small city of tests/city.py."""

from tests.console.conftest import (  # noqa: F401
    _catalog,
    app,
    city,
    client,
    client_of,
    founded,
    house,
    settings,
)
