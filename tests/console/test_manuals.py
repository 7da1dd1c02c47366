"""The manuals: a word on each page, reached by the help link of that page, served from this house alone."""

from __future__ import annotations

import re

import pytest
from babel.messages.pofile import read_po

from console import frame, manuals
from console.words.texts import LANGUAGES, TRANSLATIONS
from quota.actors import HELD, Role
from tests.console.test_house import ROOT, check_page

SHOWN = re.compile(r'<h3 id="([^"]+)"')


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_page_of_the_navigation_is_spoken_of_once_and_no_other(app, language) -> None:
    told = [entry for section in manuals.entries(language) for entry in section.entries]
    assert sorted(one.anchor for one in told) == sorted(manuals.anchor(one) for one in frame.endpoints())
    assert all(len(one.html.striptags()) > 7 for one in told)
    assert {role for one in manuals.MANUALS.values() for role in one.roles} == set(HELD)


def test_the_manuals_say_as_much_in_each_language(app) -> None:
    """The same sections of the same pages in the same order, the same manuals with as many headings and pictures; no Chinese in English
    but the few words that the trade itself writes so, and what is quoted of a page is what the page is called."""
    zh, en = (
        [[entry.anchor for entry in section.entries] for section in manuals.entries(one)] for one in ("zh_CN", "en")
    )
    assert zh == en
    for name in manuals.MANUALS:
        parts = [[html.count(tag) for tag in ("<h2", "<img", "<li>")] for html in
                 (manuals.narrative(name, one, "/p/") for one in ("zh_CN", "en"))]  # fmt: skip
        assert parts[0] == parts[1], name
    words = {text for one in _english() for text in ([one.string] if isinstance(one.string, str) else one.string)}
    for path in (ROOT / "docs" / "en").glob("*.md"):
        said = path.read_text("utf-8")
        assert set(re.findall(r"[\u3400-\u9fff]+", said)) <= {"等保", "密评", "信创"}, path.name
        quoted = {part for quote in re.findall(r"“([^”]+)”", said) for part in quote.split(" › ")}
        assert quoted <= words, path.name


def _english():
    with (TRANSLATIONS / "en" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return [one for one in read_po(file) if one.id]


@pytest.mark.parametrize(
    ("role", "language"),
    [(Role.TENANT, "zh_CN"), (Role.SUPERVISOR, "en"), (Role.PROVIDER, "zh_CN"), (Role.SYSADMIN, "en")],
)
def test_a_manual_has_what_its_readers_pages_lead_to(client_of, role, language) -> None:
    client = client_of(role)
    client.set_cookie("language", language)
    home = client.get("/", follow_redirects=True).text
    help_of_home = re.search(r'class="gj-lang gj-help" href="(/help/[^"]+)"', home)[1]
    place = client.get("/help/").location
    assert help_of_home.partition("#")[0] == place
    text = client.get(place).text
    check_page(place, text)
    assert f'<html lang="{language.replace("_", "-")}"' in text
    assert ("Every day" in text, "三员分立" in text) == (role is Role.SUPERVISOR, False)
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
