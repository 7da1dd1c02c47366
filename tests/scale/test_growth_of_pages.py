"""A page that shows a part takes as much in a city ten times as large.

Every page of every role is looked at, by the house's own routes and links, in the furnished demo city and in one of ten times its
departments, machines, requests and cases: each with cold caches, in a process of its own. How many queries a page takes
and how many rows it fetches may not grow where it shows a part of what there is. What still grows is listed here, and
nowhere else; the lists may only become shorter: what no longer grows has to be taken off.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scale.furnishing import furnish
from tests.scale.tenfold import tenfold

ROOT = Path(__file__).resolve().parents[2]

MORE_QUERIES = 10
"""So many more a page may take, where a list that was short fills its page."""
MORE_ROWS = 250
"""So many more a page may fetch for the same reason: fifty rows, and what each of them says of others."""
FACTOR = 1.5

GROWING = {
    "formulas.drafted": "past periods are reckoned anew from all the evidence of their cards",
    "formulas.enact": "past periods are reckoned anew from all the evidence of their cards",
    "recoveries.index": "every donor is matched with every asker: a match depends on all that are larger",
    "recoveries.matches": "every donor is matched with every asker: a match depends on all that are larger",
}
"""Pages that grow with the city, and by what. A file is none of them: it shows all."""

BOUNDED = {
    "batches.group": 600,  # cases that are acted on at once are looked at at once: batches.SHOWN
    "decisions.index": 600,  # of each request of a page its lines, steps, and what its department uses
}
"""Pages that say more of what they show, and how many rows they fetch at most, however large the city."""

SORTED = {
    "adaptation.index": "systems and machines are counted by department before they are put in order",
    "cases.groups": "groups are summed before they are put in order",
    "collections.show": "of one pool, what was refused of its samples",
    "commitments.index": "of one department, or what a city promises for days to come",
    "decisions.index": "steps of several kinds and places, of those that are the reader's",
    "demands.meeting": "what departments asked for in one round, as it is gone through",
    "demands.show": "what one department asked for, or the round's own",
    "disputes.index": "an amount may be unknown, and PostgreSQL has an index for that one way only",
    "judged_departments.index": "of those that were not judged there is nothing to put in order by",
    "judged_systems.index": "suspected by the day, and of those that were not judged there is nothing to put in order by",
    "orders.index": "of several states at once, each of which has an index",
    "people.index": "those who are active",
    "quota.index": "groups are summed before they are put in order",
    "reconciliation.index": "of several runs at once",
    "statements.index": "groups are summed before they are put in order",
    "tokens.index": "a token a program",
    "delegations.index": "none in the demo city: of one party, or of who grants rights",
    "feeds.show": "none in the demo city: of one feed",
    "identity_sources.links": "none in the demo city: of one source, by the people's names",
    "mappings.index": "none in the demo city: the newest version of each set of headings",
    "performance.classes": "none in the demo city",
    "rollout.index": "none in the demo city: groups are summed before they are put in order",
    "shutdowns.index": "none in the demo city: one an act",
    "sources.show": "none in the demo city: of one source",
    "surveys.show": "none in the demo city: of one survey",
    "takeovers.index": "none in the demo city: one an act",
    "takeovers.ownerless": "none in the demo city: what lacks a department",
    "tree.index": "none in the demo city: groups are summed before they are put in order",
    "tree.show": "none in the demo city: groups are summed before they are put in order",
}
"""Lists that put more in order before they show a page where the city is larger, and why no index serves them."""

NARROW = ("tenant", "provider")
"""Roles whose lists are narrowed to their own before they are put in order: that has an index, too."""

UNREACHED = {
    "agents.show": "of a pool that an agent speaks for, of which the demo city has none",
    "attachments.download": "no file hangs at what the first links lead to",
    "batches.show": "of a batch, of which the demo city has none",
    "billing_years.preview": "of a year that was not drawn up, of which the demo city has none",
    "billing_years.withdraw": "of a draft",
    "cases.certificate": "of a case that has ended",
    "classes.end": "of a class that the city added",
    "classes.profiles": "of slices that the city added: the walk opens the first class of all",
    "cloud_projects.index": "of a cloud that has projects, which the simulated one has not",
    "companies.resume": "of a company that has ended",
    "incidents.correct": "of an incident that monitoring found",
    "incidents.merge": "of an incident beside which another went on",
    "incidents.respond": "of an incident that others than the company entered",
    "identity.back": "of an identity source, of which the demo city has none",
    "identity.enter": "of an identity source, of which the demo city has none",
    "identity.go": "of an identity source, of which the demo city has none",
    "identity_sources.settle": "of an identity source, of which the demo city has none",
    "labour.report": "of a service that was not reported yet, of which the demo city has none",
    "maintenances.cancel": "of a window that is to come, where it is not the first of its list",
    "manuals.picture": "a picture, to which no link leads",
    "manuals.index": "leads on to the reader's own manual",
    "mappings.draw": "of a sheet that nobody can read yet, of which the demo city has none",
    "mappings.end": "of a column mapping, of which the demo city has none",
    "mappings.show": "of a column mapping, of which the demo city has none",
    "outside.day": "of what must move, of which the demo city has none",
    "outage_signals.detach": "of a signal, which a page of an incident leads to",
    "migrations.switch": "of a migration, of which the demo city has none",
    "own_account.codes": "of who enrolled a second factor, as nobody in the demo city did",
    "own_account.remove": "of who enrolled a second factor, as nobody in the demo city did",
    "own_account.remove_one": "of who enrolled a second factor, as nobody in the demo city did",
    "people.factor_lost": "of who enrolled a second factor, as nobody in the demo city did",
    "pools.cut": "of a class of slices, of which the demo city has none",
    "policies.document": "of a version, to be taken away as a file",
    "policies.drafted": "of a draft",
    "policies.enact": "of a draft",
    "quota.mine": "leads on to the own department",
    "quota_drifts.index": "of a cloud that keeps quotas, which the simulated one does not",
    "quota_drifts.set_quota": "of a cloud that keeps quotas, which the simulated one does not",
    "rankings.publish": "of cards that were not published, of which the demo city has none in a ranking",
    "ratings.rate": "of an order that was accepted",
    "ratings.show": "of a rating",
    "rectifications.review": "of what was proven, where it is not the first of its list",
    "recoveries.arrange": "of one match, as its page sends it",
    "requests.acceptance": "of a request that was delivered",
    "requests.draft": "of a draft",
    "resources.write_off": "of what a cloud has no more",
    "scorecards.rule": "of a scorecard that is contested, where it is not the first of its list",
    "short_deliveries.show": "of a short delivery, of which the demo city has none",
    "shutdowns.begin": "of a system of one's own; without one it leads to the systems",
    "shutdowns.show": "of a shutdown, of which the demo city has none",
    "statements.differences": "of two revisions",
    "surpluses.reply": "of a reminder, of which the demo city has none",
    "surpluses.rule": "of a reminder, of which the demo city has none",
    "surpluses.show": "of a reminder, of which the demo city has none",
    "surpluses.urge": "of a reminder, of which the demo city has none",
    "takeovers.propose": "of a department some of whose machines nobody approved",
    "takeovers.propose_pool": "of a pool some of whose machines nobody approved",
    "takeovers.show": "of a takeover, of which the demo city has none",
    "together.sign": "of several requests that are alike, which the demo city may have none of",
    "tiers.agree": "of a machine that a department is asked about",
    "tiers.close": "of a tier of one's own, of which the demo city may have none",
    "tiers.declare": "of a system of one's own that has machines",
    "tiers.decline": "of a machine that a department is asked about",
    "tiers.edit": "of a tier of one's own, of which the demo city may have none",
    "tiers.joined": "of a machine that was added and does not serve yet",
    "tiers.keep": "of a machine that was added to a tier",
    "tiers.left": "of a machine that was added to a tier",
    "tiers.show": "of a tier, of which the demo city may have none",
    "tickets.confirm": "of a ticket that was solved, where it is not the first of its list",
    "tickets.reopen": "of a ticket that was solved, where it is not the first of its list",
    "tickets.close": "of a ticket that nobody confirmed in its time",
    "tokens.make_for": "of a service, of which the demo city has none",
    "verifications.show": "of a verification",
}
"""Pages that no link of the demo city, furnished with what it lacks (furnishing.py), may lead to on the day it is founded, and why."""


def walked(data: Path, lake: Path, pages: Path | None = None) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.scale.walk", str(data), str(lake), *([str(pages)] if pages else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def cities(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the pages took in the demo city, and in ten times that city."""
    place = tmp_path_factory.mktemp("tenfold")
    house = place / "house"
    house.mkdir()
    with sqlite3.connect(demo_home / "book.db") as whole:
        whole.execute("VACUUM INTO ?", (str(house / "book.db"),))
    whole.close()
    furnish(house)
    small = walked(house, demo_home / "lake")
    (place / "pages.json").write_text(json.dumps(small))
    tenfold(house / "book.db", place / "book.db")
    return small, walked(place, demo_home / "lake", place / "pages.json")


def test_every_page_is_looked_at(cities: tuple[dict[str, Any], dict[str, Any]]) -> None:
    small, large = cities
    reached = {endpoint for pages in small["pages"].values() for endpoint in pages}
    assert len(small["pages"]) == 8
    assert set(small["all"]) - reached <= set(UNREACHED)
    fallen = [
        f"{role} {took['url']}: {took['status']}"
        for role, pages in large["pages"].items()
        for took in pages.values()
        if took["status"] != 200
    ]
    assert fallen == []


def test_no_page_that_shows_a_part_grows_with_the_city(cities: tuple[dict[str, Any], dict[str, Any]]) -> None:
    small, large = cities
    growing: dict[str, list[str]] = {}
    for role, pages in large["pages"].items():
        for endpoint, after in pages.items():
            before = small["pages"][role][endpoint]
            if after["file"] or after["rows"] <= BOUNDED.get(endpoint, 0):
                continue
            if (
                after["queries"] > before["queries"] + MORE_QUERIES
                or after["rows"] > before["rows"] * FACTOR + MORE_ROWS
            ):
                told = f"{role} {after['url']}: {before['queries']} → {after['queries']} queries"
                growing.setdefault(endpoint, []).append(f"{told}, {before['rows']} → {after['rows']} rows")
    assert {endpoint: told for endpoint, told in growing.items() if endpoint not in GROWING} == {}
    looked_at = {endpoint for pages in large["pages"].values() for endpoint in pages}
    assert sorted(GROWING.keys() & looked_at - growing.keys()) == [], "these no longer grow: take them off the list"


def test_no_list_sorts_more_in_a_larger_city(cities: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """An index serves its order, or it is of what stays as it is; where there is nothing to put in order, nothing is shown."""
    small, large = cities
    sorting: dict[str, str] = {}
    looked_at = set()
    for role, pages in large["pages"].items():
        for endpoint, took in pages.items() if role not in NARROW else ():
            looked_at.add(endpoint)
            before, after = small["pages"][role][endpoint]["sorted"], took["sorted"]
            if after is not None and (after == 0 or after > (before or 0)):
                sorting[endpoint] = f"{role} {took['url']}: {before} → {after}"
    assert {endpoint: told for endpoint, told in sorting.items() if endpoint not in SORTED} == {}
    assert sorted(SORTED.keys() & looked_at - sorting.keys()) == [], (
        "these sort no more than before: take them off the list"
    )
