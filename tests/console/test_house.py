"""The house guarded: every route has a rule, every template a use, every page is valid HTML that obeys its policy."""

from __future__ import annotations

import re
from pathlib import Path

import html5lib
import pytest

from console.access import EVERYBODY, rule
from console.api.operations import PREFIX
from console.frame import SECTIONS
from console.words.states import STATES
from quota import requests

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates"
NAMES = sorted(str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.html"))
SPELLED = re.compile(r">[^<]*(?:[\[({]\(?&#39;|&lt;[\w.]+ object|Decimal\(|datetime\.)[^<]*")
"""What a template shows of a list, a mapping or an object that nobody wrote in words."""
INLINE = re.compile(r"""\sstyle=|\son[a-z]+=|<style|hx-on|\sjavascript:|<script(?![^>]*(?:\ssrc=|application/json))""")


def test_every_route_says_who_may_open_it(app):
    silent = [one.endpoint for one in app.url_map.iter_rules() if rule(app, one.endpoint) is None]
    assert silent == []


def test_what_is_public_is_on_the_list(app):
    shown = {one.endpoint for one in app.url_map.iter_rules() if rule(app, one.endpoint) == frozenset()}
    assert shown - {"static"} <= PUBLIC


PUBLIC = {
    "agents.bills",
    "agents.capacity",
    "agents.declined",
    "agents.hello",
    "agents.incidents",
    "agents.listings",
    "agents.mark",
    "agents.outcomes",
    "agents.quotas",
    "agents.samples",
    "api.calendar",
    "api.description",
    "auth.login",
    "auth.second",
    "auth.language",
    "auth.look",
    "auth.healthz",
    "auth.readyz",
    "cockpit.wall",
    "identity.back",
    "identity.departed",
    "identity.departed_here",
    "identity.go",
    "metrics.scrape",
    "outage_signals.deliver",
    "push.otlp",
    "push.remote_write",
}
"""Pages that anybody may open; whoever adds one says so here, too."""


def test_every_template_is_used():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "console").rglob("*.py")]
    sources += [path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html")]
    text = "\n".join(sources)
    unused = [name for name in NAMES if f'"{name}"' not in text and f"'{name}'" not in text]
    assert unused == []


@pytest.mark.parametrize("name", NAMES)
def test_templates_have_nothing_inline(name):
    found = INLINE.findall((TEMPLATES / name).read_text(encoding="utf-8"))
    assert found == [], "the content security policy forbids it"


@pytest.mark.parametrize("name", NAMES)
def test_people_are_called_by_their_names(name):
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    for one in re.finditer(r"(?<!if )(?<!not )\b\w+\.(\w+_by)\b(?! [!=]=)(\|\w+)?", text):
        if one[1] not in ("respond_by", "resolve_by", "recover_by", "move_by"):  # by when, not by whom
            assert one[2] == "|who" or one[0].endswith("confirmed_by"), one[0]


def test_icons_that_are_named_exist():
    sprite = (ROOT / "console" / "static" / "icons.svg").read_text(encoding="utf-8")
    known = set(re.findall(r'<symbol id="([\w-]+)"', sprite))
    named = {icon for _label, icon in SECTIONS.values()} | {one.icon for one in STATES.values()}
    named |= {kind.icon for kind in requests.known() if kind.icon}
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r'\bicon\("([\w-]+)"', text)) | set(re.findall(r'icon_name="([\w-]+)"', text))
    assert named - known == set()


def pages(app, role):
    """Addresses without parameters that ``role`` may open by GET."""
    for one in app.url_map.iter_rules():
        roles = rule(app, one.endpoint)
        if (
            one.endpoint in ("static", "auth.readyz")  # no page: a house of the tests has no jobs, and says so
            or one.endpoint.startswith(PREFIX)
            or "GET" not in one.methods
            or one.arguments
            or roles is None
        ):
            continue
        if not roles or role in roles:
            yield one.rule


@pytest.mark.parametrize("role", EVERYBODY)
def test_every_page_opens_for_whom_it_is_for_and_is_valid_html(app, client_of, role):
    client = client_of(role)
    opened = 0
    for url in pages(app, role):
        answer = client.get(url)
        assert answer.status_code in (200, 302), f"{url}: {answer.status_code}"
        if answer.mimetype == "text/html" and answer.status_code == 200:
            check_page(url, answer.text)
            opened += 1
    assert opened >= 3


@pytest.mark.parametrize("url", ["/login", "/no/such/page"])
def test_pages_of_strangers_are_valid_html(client, url):
    check_page(url, client.get(url).text)


def check_page(url, text):
    parser = html5lib.HTMLParser(strict=False)
    tree = parser.parse(text)
    assert parser.errors == [], f"{url}: {[(place, code) for place, code, _data in parser.errors]}"
    assert not INLINE.search(text), f"{url}: {INLINE.search(text)}"
    assert not SPELLED.search(text), f"{url}: a value as Python spells it: {SPELLED.search(text)}"
    ids = [one.get("id") for one in tree.iter() if one.get("id")]
    assert len(ids) == len(set(ids)), f"{url}: an id is there twice: {sorted(i for i in ids if ids.count(i) > 1)}"
    head = [one for one in tree.iter() if one.tag.endswith("}h1")]
    assert len(head) == 1, f"{url}: {len(head)} h1"
