"""The manuals: a word on each page, reached by the help link of that page, served from this house alone."""

from __future__ import annotations

import re

import pytest

from console import frame, manuals
from quota.actors import HELD, Role
from tests.console.test_house import check_page

SHOWN = re.compile(r'<h3 id="([^"]+)"')


def test_each_page_of_the_navigation_is_spoken_of_once_and_no_other(app) -> None:
    told = [entry.anchor for section in manuals.entries() for entry in section.entries]
    assert sorted(told) == sorted(manuals.anchor(one) for one in frame.endpoints())
    assert all(len(entry.html.striptags()) > 7 for section in manuals.entries() for entry in section.entries)
    assert {role for one in manuals.MANUALS.values() for role in one.roles} == set(HELD)


@pytest.mark.parametrize("role", [Role.TENANT, Role.SUPERVISOR, Role.PROVIDER, Role.SYSADMIN])
def test_a_manual_has_what_its_readers_pages_lead_to(client_of, role) -> None:
    client = client_of(role)
    home = client.get("/", follow_redirects=True).text
    help_of_home = re.search(r'class="gj-lang gj-help" href="(/help/[^"]+)"', home)[1]
    place = client.get("/help/").location
    assert help_of_home.partition("#")[0] == place
    text = client.get(place).text
    check_page(place, text)
    shown = set(SHOWN.findall(text))
    nav = re.findall(r'<nav class="gj-nav".*?</nav>', home, re.S)[0]
    for address in re.findall(r'<a href="([^"]+)"', nav)[1:]:
        page = client.get(address)
        if page.status_code == 200:
            led = re.search(r'class="gj-lang gj-help" href="(/help/[^"]+)"', page.text)[1]
            assert led.partition("#")[2] in shown, address
    for picture in re.findall(r'<img src="([^"]+)"', text):
        assert client.get(picture).mimetype == "image/png", picture
    other = next(name for name, one in manuals.MANUALS.items() if role not in one.roles)
    assert client.get(f"/help/{other}").status_code == 200


def test_what_is_no_manual_and_no_picture_is_not_found(client_of) -> None:
    client = client_of(Role.TENANT)
    for address in (
        "/help/none",
        "/help/pictures/none.png",
        "/help/pictures/../zh/pages.md",
        "/help/pictures/..%2f..%2fzh%2fpages.md",
    ):
        assert client.get(address).status_code == 404, address
