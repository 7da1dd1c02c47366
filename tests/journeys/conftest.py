"""Stories over HTTP: the console of tests.console.conftest, with a pool in its city."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from console.mail import mails, postman
from quota.actors import steward
from quota.directory import Person
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
from tests.journeys.surging import grown  # noqa: F401


@pytest.fixture
def posted(house, app, settings) -> Callable[[], dict[str, str]]:  # noqa: F811
    """What is written about now, and was not before: whom to → the mail's text. Everybody has an address."""
    sender = replace(settings, mail_from="管家 <guanjia@city.example>", public_url="https://city.example")

    def since_last() -> dict[str, str]:
        with house.transaction(steward("job:mail")) as tx:
            tx.execute(update(Person).values(email=Person.login + "@city.example"))
            made = mails.gather(tx)
            return {one.person.login: postman.written(app, sender, tx, one).get_content() for one in made}

    return since_last


@pytest.fixture
def place(house, city) -> City:  # noqa: F811
    """The city with a pool, its catalogue and the default rules, in the book of the console."""
    found = city.copied(house)
    found.add(CONSOLE_POOL)
    return found
