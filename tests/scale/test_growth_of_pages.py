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
    "batches.group": "what is acted on at once is looked at at once, up to five hundred cases",
    "bills.show": "the differences of a whole bill are summed",
    "budgets.index": "what is spent is summed by the departments below those on the page",
    "campaigns.start": "how much each department would be asked about",
    "cockpit.index": "what each department could give back is put in order outside of the database",
    "decisions.index": "the findings of the departments on the page, however many machines they have",
    "demands.enact": "what is enacted at once is looked at at once",
    "demands.meeting": "the meeting goes through every demand",
    "feeds.names": "a machine a line",
    "forecasts.index": "every forecast of a pool, department or system is looked at",
    "formulas.drafted": "what past periods would have been is reckoned for every card",
    "formulas.enact": "what past periods would have been is reckoned for every card",
    "lake.index": "what was due is counted resource by resource",
    "monthly.index": "what was due in the month is asked order by order whether it was in time",
    "policies.draft": "a choice of all departments",
    "recoveries.index": "every donor is matched with every asker",
    "recoveries.matches": "every donor is matched with every asker",
    "statements.focus": "an export, which shows all",
    "statements.newer_focus": "an export, which shows all",
    "takeovers.ownerless": "owners are suggested by the names of all departments and their systems",
}
"""Pages that grow with the city, and by what."""

SORTED = {
    "adaptation.index": "systems and machines are counted by department before they are put in order",
    "batches.index": "groups are summed before they are put in order",
    "bills.index": "short: the newest revision of a month and pool",
    "campaigns.items": "of one campaign, by the resources' names",
    "cases.groups": "groups are summed before they are put in order",
    "classes.index": "short",
    "collections.show": "of one pool",
    "commitments.index": "of one department, or short: what a city promises for days to come",
    "companies.index": "short",
    "compatibility.index": "short",
    "contracts.index": "short",
    "decisions.index": "steps of several kinds and places, of those that are the reader's",
    "delegations.index": "short: of one party, or of who grants rights",
    "demands.show": "short: what one department asked for, or the round's own",
    "disputes.index": "an amount may be unknown, and PostgreSQL has an index for that one way only",
    "endpoints.index": "short",
    "feeds.index": "short",
    "feeds.show": "of one feed",
    "headships.index": "of one department",
    "identity_sources.links": "of one source, by the people's names",
    "inquiries.show": "of one letter",
    "judged_departments.index": "of those that were not judged there is nothing to put in order by",
    "judged_systems.index": "suspected by the day, and of those that were not judged there is nothing to put in order by",
    "labour.prices": "short",
    "mappings.index": "short: the newest version of each set of headings",
    "orders.index": "of several states at once, each of which has an index",
    "people.index": "short: those who are active",
    "performance.classes": "short",
    "quota.index": "groups are summed before they are put in order",
    "rankings.index": "of one type and period, the best first",
    "rankings.year": "departments that have cards, by their codes",
    "reconciliation.index": "of several runs at once",
    "rollout.index": "groups are summed before they are put in order",
    "rules.index": "short",
    "shutdowns.index": "short: one an act",
    "sources.index": "short",
    "sources.show": "of one source",
    "statements.index": "groups are summed before they are put in order",
    "statements.lines": "a cost may be unknown, and PostgreSQL has an index for that one way only",
    "surveys.index": "short",
    "surveys.show": "of one survey",
    "takeovers.index": "short: one an act",
    "takeovers.ownerless": "what lacks a department, which is little once a city was taken over",
    "tariffs.index": "short",
    "tokens.index": "short: a token a program",
    "tree.index": "groups are summed before they are put in order",
    "tree.show": "groups are summed before they are put in order",
}
"""Lists that put all that they could show in order before they show a page, and why no index serves them."""

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
            if (
                after["queries"] > before["queries"] + MORE_QUERIES
                or after["rows"] > before["rows"] * FACTOR + MORE_ROWS
            ):
                told = f"{role} {after['url']}: {before['queries']} → {after['queries']} queries"
                growing.setdefault(endpoint, []).append(f"{told}, {before['rows']} → {after['rows']} rows")
    assert {endpoint: told for endpoint, told in growing.items() if endpoint not in GROWING} == {}
    looked_at = {endpoint for pages in large["pages"].values() for endpoint in pages}
    assert sorted(GROWING.keys() & looked_at - growing.keys()) == [], "these no longer grow: take them off the list"


def test_an_index_serves_the_order_of_every_list(cities: tuple[dict[str, Any], dict[str, Any]]) -> None:
    whole = [pages for role, pages in cities[1]["pages"].items() if role not in NARROW]
    sorting = {endpoint for pages in whole for endpoint, took in pages.items() if took["sorted"]}
    assert sorting - SORTED.keys() == set()
    looked_at = {endpoint for pages in whole for endpoint in pages}
    assert sorted(SORTED.keys() & looked_at - sorting) == [], "an index serves these now: take them off the list"
