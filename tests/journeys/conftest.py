"""Stories over HTTP: the console of tests.console.conftest, with a pool in its city."""

from __future__ import annotations

import pytest

from tests.city import CONSOLE_POOL, City
from tests.console.conftest import (  # noqa: F401 - fixtures of every story
    _catalog,
    app,
    city,
    client,
    client_of,
    founded,
    house,
    settings,
)


@pytest.fixture
def place(house, city) -> City:  # noqa: F811
    """The city with a pool, its catalogue and the default rules, in the book of the console."""
    found = city.copied(house)
    found.add(CONSOLE_POOL)
    return found
