"""What companies write is read by every department: none learns from it what another's resources are called.

A city in which a resource of another department (the canary) is named wherever a company, a scorecard or a remark can name
one. A tenant walks every page that a link leads to, with every export, and finds its own resources and never the canary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
from sqlalchemy import select

from console.app import create_app
from console.settings import Settings
from providers import comments
from providers.assessment import cards, formula
from providers.assessment.measures import EvidenceRow
from providers.assessment.subjects import company
from providers.base import IncidentFact, Responsibility
from providers.billing import incidents
from quota.actors import Actor, Role, steward
from quota.db import Book
from quota.directory import Person, Pool, subtree
from quota.inventory import Resource, disclosure
from tests.scale import walk

CANARY, CANARY_HOST, MINE = "i-ca9a2b77", "water-db-07", "i-0b1e55ed"
UNKNOWN = "i-fade0001"
EXPORT = re.compile(r'href="([^"]*[?&;]export=[^"]+)"')
WORD = re.compile(r"[A-Za-z0-9._-]+")
LOOKS, LOOKS_OF_DEMO = 20, 4
"""Addresses of one view that are looked at: a list's rows lead to the same view."""


def looks(app, role: Role, client, most: int = LOOKS) -> Iterator[tuple[str, str]]:
    """(address, text) of whatever ``client`` reaches by links, each list with its exports."""
    waiting, seen, count = [(one, url) for one, url in walk.own(app, role).items()], set(), Counter()
    while waiting:
        endpoint, url = waiting.pop(0)
        if url in seen or count[endpoint] >= most:
            continue
        seen.add(url)
        count[endpoint] += 1
        answer = client.get(url)
        if not answer.mimetype.startswith(("text/", "application/json")):
            answer.close()
            continue
        text = answer.get_data(as_text=True)
        yield url, text
        for export in {one for one in EXPORT.findall(text) if "csv" in one}:
            yield export, client.get(urljoin(url, export.replace("&amp;", "&"))).get_data(as_text=True)
        if answer.mimetype == "text/html":
            waiting += [
                (to, path) for to, path in walk.links(app, text) if path not in seen and walk._is_for(app, to, role)
            ]


@pytest.fixture
def told(place, house) -> None:
    """The canary is named wherever it can be."""
    mine, other = (one.id for one in place.departments[:2])
    with house.transaction(steward()) as tx:
        pool = tx.get_one(Pool, place.pool)
        since = {"kind": "vm", "arch": pool.arch, "state": "running", "first_seen_at": tx.now, "pool_id": pool.id}
        resources = (
            Resource(external_id=MINE, name="edu-web-01", department_id=mine, **since),
            Resource(external_id=CANARY, name=CANARY_HOST, department_id=other, **since),
        )
        tx.add_all(resources)
        tx.flush()
        fact = IncidentFact(
            external_id="G-1", level=3, title=f"主机{CANARY}中断", started_at=tx.now, responded_at=None, recovered_at=None,
            responsibility=Responsibility.PROVIDER, affected=(MINE, CANARY, UNKNOWN), announced_at=None,
        )  # fmt: skip
        one = incidents.report(
            tx, pool, fact, description=f"{CANARY}和{MINE}重启", evidence=f"见{CANARY_HOST}的日志/{CANARY}/dmesg"
        )
        rows = {
            "metering": [
                EvidenceRow(f"bill:1/{name}/vcpu", {"kind": "vcpu", "metered": "10", "disputed": "1"})
                for name in (CANARY, MINE)
            ],
            "delivery": [EvidenceRow(f"resource:{resources[1].id}", {"number": CANARY, "ok": False})],
        }
        card = cards.keep(tx, company(pool.provider_id), "2026-04", rows, formula.default(), reason=f"按{CANARY}")
        memory = EvidenceRow(f"bill:1/{CANARY}/memory", {"kind": "memory", "metered": "10", "disputed": "0"})
        again = {**rows, "metering": [*rows["metering"], memory]}
        card = cards.keep(tx, company(pool.provider_id), "2026-04", again, formula.default(), reason=f"加{CANARY}")
        generation = card.generation
    supervisor = Actor("supervisor1", "监督", Role.SUPERVISOR)
    with house.transaction(supervisor) as tx:
        incidents.settle(tx, one.id, one.generation, Responsibility.PROVIDER, f"{CANARY}未按时恢复")
        comments.comment(tx, f"incident:{one.id}", one.provider_id, f"请说明{CANARY}与{MINE}")
    with house.transaction(Actor("authority1", "主管", Role.AUTHORITY)) as tx:
        cards.publish(tx, card.id, generation)


def test_a_tenant_reads_of_its_own_and_nowhere_of_anothers(app, client_of, told) -> None:
    read = dict(looks(app, Role.TENANT, client_of("tenant1")))
    assert {url for url, text in read.items() if CANARY in text or CANARY_HOST in text or UNKNOWN in text} == set()
    mine = {url.rpartition("/")[0] for url, text in read.items() if MINE in text}
    assert {"/incidents", "/scorecards/2"} <= mine
    assert any("export=csv" in url and MINE in text for url, text in read.items())
    assert any("其他单位的资源2项" in text for text in read.values())


def test_another_and_the_supervisor_read_what_concerns_them(app, client_of, told) -> None:
    theirs = client_of("tenant2").get("/incidents/1").text
    assert (CANARY in theirs, CANARY_HOST in theirs, MINE in theirs) == (True, True, False)
    for who in (Role.SUPERVISOR, Role.AUDITOR):
        whole = client_of(who).get("/incidents/1").text
        assert all(one in whole for one in (CANARY, CANARY_HOST, MINE, UNKNOWN))
        assert CANARY in client_of(who).get("/scorecards/2/metering").text


def test_words_are_whose_they_name(house, place, told) -> None:
    clerk = Actor("tenant1", "经办", Role.TENANT, place.departments[0].id)
    with house.reading(clerk) as tx:
        words = set(disclosure.words(f"主机{CANARY}:22/{CANARY_HOST}, {MINE}。web 10.0.0.7"))
        assert {CANARY, CANARY_HOST, MINE, "web", "10.0.0.7"} <= words
        assert disclosure.own(tx, words) == {MINE}
        assert disclosure.concealed(tx, words) == {CANARY, CANARY_HOST}
        assert disclosure.concealed(tx, [f"w{n}" for n in range(disclosure.MOST + 3)] + [CANARY]) == {CANARY}


def test_no_page_of_a_tenant_of_the_demo_city_names_anothers_resource(demo_home) -> None:
    settings = Settings(data=demo_home, demo=True)
    book = Book(settings.database_url)
    app = create_app(settings, book)
    with book.reading(steward()) as tx:
        query = select(Person).where(Person.role == Role.TENANT.value, Person.granted).order_by(Person.id)
        person = tx.scalars(query).first()
        assert person is not None
        own_ones = subtree(tx, person.department_id)
        rows = tx.execute(select(Resource.external_id, Resource.name, Resource.department_id)).all()
        person_id = person.id
    mine = {word for *names, owner in rows if owner in own_ones for word in names}
    others = {word for *names, owner in rows if owner not in own_ones for word in names if word} - mine
    read = dict(looks(app, Role.TENANT, walk.client_of(app, person_id), LOOKS_OF_DEMO))
    book.dispose()
    assert {url: found for url, text in read.items() if (found := others & set(WORD.findall(text)))} == {}
    assert any(mine & set(WORD.findall(text)) for text in read.values())
    assert len(read) > 100
