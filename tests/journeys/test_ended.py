"""People who belong to what has ended: merged departments, closed pools and companies, withdrawn items. Every page and form
that they had answers them with a sentence, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import html5lib
import pytest
from sqlalchemy import select, update
from werkzeug.exceptions import HTTPException

from console.access import rule
from providers import observation
from providers.base import Inventory, ResourceFact, ResourceState, ServiceKind
from quota import inventory
from quota.actors import Actor, Role, steward
from quota.directory import departments, reorganisations
from quota.directory.catalog import CatalogItem
from quota.directory.departments import Department, System
from quota.directory.people import Person
from quota.directory.pools import CloudProvider, Pool
from quota.directory.reorganisations import Adjustment
from quota.ledger import lending
from quota.requests import approvals, kinds, submission
from quota.requests.asks import Ask, Line
from quota.units import MEMORY, VCPU, Arch, Commodity

CPU = Commodity(VCPU, Arch.AARCH64)
HTML = "{http://www.w3.org/1999/xhtml}"
AWAY = ("auth", "static", "api.")
"""Blueprints that would end the session or change its language."""
WALKERS = (Role.TENANT, Role.PROVIDER, Role.SUPERVISOR, Role.AUTHORITY, Role.AUDITOR, Role.SECADMIN)


@dataclass(frozen=True)
class Form:
    """A form as a page offers it, with what a browser would send."""

    action: str
    fields: tuple[tuple[str, str], ...]


def living(place, clock) -> None:
    """A department with a system, machines, a request in each state, a loan, before anything ends."""
    first = place.department
    with place.book.transaction(steward()) as tx:
        third = departments.register(tx, "A03", "市民政局").id
        tx.add(System(code="s1", name="门户", department_id=first))
        pool = tx.get_one(Pool, place.pool)
        facts = [
            ResourceFact(
                external_id=f"vm-{number}", name=f"机{number}", kind=ServiceKind.VM, arch=Arch.AARCH64,
                amounts={VCPU: 2, MEMORY: 4096}, state=ResourceState.RUNNING,
                department_code="A01", system_code="s1",
            )
            for number in range(3)
        ]  # fmt: skip
        observation.observe(tx, pool, Inventory(clock.now, facts))
        inventory.adopt(tx, pool)
        system_id = tx.scalars(select(System.id)).one()
    who = Actor("tenant1", "某", Role.TENANT, department_id=first)
    for number in range(3):
        with place.book.transaction(who) as tx:
            one = submission.draft(
                tx,
                Ask(
                    kind=kinds.CREATE, department_id=first, pool_id=place.pool, system_id=system_id,
                    lines=[Line(item_id=place.small)], justification="政务大厅高峰并发两千,按压测折算",
                    use_until=clock.now.date().replace(year=clock.now.year + 1),
                ),
            )  # fmt: skip
            if number:
                submission.submit(tx, one, generation=one.generation)
    for login, role in (("supervisor1", Role.SUPERVISOR), ("authority1", Role.AUTHORITY)):
        with place.book.transaction(Actor(login, login, role)) as tx:
            found = submission.lock(tx, one.id)
            if found.current is not None and found.current.role == role:
                approvals.sign(tx, found, decision=approvals.Decision.APPROVE, generation=found.generation)
    with place.book.transaction(who) as tx:
        lending.offer(
            tx, place.pool, CPU, 1, first, third, days=30, guaranteed_days=1, notice_days=1, reason="先借一核", key="loan"
        )  # fmt: skip


def end_all(place) -> None:
    """The first department is merged into the second, its people left behind; the company, the pool, what the catalogue
    offers and the system end."""
    with place.book.transaction(Actor("authority2", "权", Role.AUTHORITY)) as tx:
        reorganisations.reorganise(
            tx, Adjustment.MERGE, place.department, place.department + 1, reason="机构改革", key="merge"
        )
    with place.book.transaction(steward()) as tx:
        tx.execute(
            update(Person)
            .where(Person.login == "tenant1")
            .values(department_id=place.department, session_epoch=Person.session_epoch)
        )
        for model in (Pool, CloudProvider, CatalogItem, System):
            tx.execute(update(model).values(active=False))


def addresses(app, role) -> Iterator[str]:
    """Every page that ``role`` may open, of the first thing of its kind."""
    for one in app.url_map.iter_rules():
        roles = rule(app, one.endpoint)
        plain = all(type(kind).__name__ in ("RowConverter", "IntegerConverter") for kind in one._converters.values())
        if "GET" in one.methods and plain and roles and role in roles and not one.endpoint.startswith(AWAY):
            built = one.build(dict.fromkeys(one.arguments, 1))
            assert built is not None
            yield built[1]


def kind_of(app, address: str):
    """What a page is by its route, its words and what it asks; None for what is elsewhere."""
    parts = urlsplit(address)
    if parts.netloc or not parts.path.startswith("/"):
        return None
    adapter = app.url_map.bind("localhost")
    for method in ("GET", "POST"):
        try:
            endpoint, values = adapter.match(parts.path, method)
        except HTTPException:
            continue
        words = tuple(sorted(value for value in values.values() if isinstance(value, str)))
        return None if endpoint.startswith(AWAY) else (endpoint, words, tuple(sorted(dict(parse_qsl(parts.query)))))
    return None


def offered(tree, here: str) -> Iterator[str | Form]:
    """Addresses and forms of a page."""
    for link in tree.iter(f"{HTML}a"):
        yield link.get("href") or ""
    for form in tree.iter(f"{HTML}form"):
        fields = []
        for field in form.iter():
            name = field.get("name")
            if not name or name == "csrf_token":
                continue
            if field.tag == f"{HTML}select":
                options = [one.get("value") or "" for one in field.iter(f"{HTML}option")]
                fields.append((name, next((one for one in options if one not in ("", "0")), "0")))
            elif field.tag == f"{HTML}textarea":
                fields.append((name, field.text or "按规定办理,情况属实"))
            elif field.get("type") not in ("file", "checkbox", "radio"):
                fields.append((name, field.get("value") or ""))
        method = (form.get("method") or "get").lower()
        action = form.get("action") or here
        if method == "post":
            yield Form(action, tuple(fields))
        else:
            yield f"{action.partition('?')[0]}?{'&'.join(f'{name}={value}' for name, value in fields)}"


def walked(app, visit, role) -> tuple[list[str], list[Form]]:
    """Every kind of page that can be reached, and every form on it; nothing is sent."""
    waiting, seen, pages, forms = list(addresses(app, role)), set(), [], {}
    while waiting:
        address = waiting.pop(0)
        kind = kind_of(app, address)
        if kind is None or kind in seen:
            continue
        seen.add(kind)
        answer = visit.get(address)
        assert answer.status_code < 500, address
        pages.append(address)
        if answer.mimetype != "text/html" or answer.status_code != 200:
            continue
        for one in offered(html5lib.parse(answer.text), address):
            if isinstance(one, Form):
                forms.setdefault((kind_of(app, one.action), tuple(name for name, _value in one.fields)), one)
            else:
                waiting.append(one)
    return pages, [one for (kind, _names), one in forms.items() if kind is not None]


@pytest.mark.parametrize("role", WALKERS)
def test_every_page_and_form_answers_whom_what_he_belongs_to_has_ended(app, client_of, place, clock, role) -> None:
    living(place, clock)
    before = client_of(role)
    pages, forms = walked(app, before, role)
    assert len(pages) > 5
    end_all(place)
    visit = client_of(role)
    for address in pages:
        assert visit.get(address).status_code < 500, address
    more, newly = walked(app, visit, role)
    assert more
    for form in {*forms, *newly}:
        answer = visit.send(form.action, dict(form.fields))
        assert answer.status_code < 500, form


@pytest.mark.parametrize("address", ["/requests/new", "/requests/new/create?pool=1", "/requests/new/quota?pool=1"])
def test_who_was_left_behind_is_told_who_took_over(client_of, place, clock, address) -> None:
    living(place, clock)
    end_all(place)
    answer = client_of("tenant1").get(address)
    assert answer.status_code == 409
    assert "您所属的市教育局已并入市水务局" in answer.text


def test_nobody_is_entered_into_what_has_ended(client_of, place, clock) -> None:
    living(place, clock)
    end_all(place)
    form = {"login": "new.one", "name": "新", "role": "tenant", "department": str(place.department), "provider": "0"}
    answer = client_of(Role.SYSADMIN).send("/settings/people/new", form)
    assert answer.status_code == 422
    with place.book.reading() as tx:
        assert tx.scalar(select(Person.id).where(Person.login == "new.one")) is None
        closed = departments.department(tx, place.department)
        assert departments.successor(closed).id == place.department + 1
        assert departments.successor(tx.get_one(Department, place.department + 1)).id == place.department + 1


def test_a_term_of_a_merged_department_is_extended_by_its_successor(place, clock) -> None:
    living(place, clock)
    end_all(place)
    with place.book.transaction(steward()) as tx:
        old = tx.scalars(select(submission.Request).order_by(submission.Request.id.desc()).limit(1)).one()
        old.state, old.turn, old.department_id = "done", None, place.department
        until, pool_id = old.use_until, old.pool_id
        old_id = old.id
    with place.book.transaction(Actor("tenant2", "某", Role.TENANT, department_id=place.department + 1)) as tx:
        made = submission.draft(
            tx,
            Ask(
                kind=kinds.EXTEND, department_id=place.department + 1, pool_id=pool_id, extends_id=old_id,
                use_until=until.replace(year=until.year + 1), justification="业务由我局接办,继续使用至明年",
            ),
        )  # fmt: skip
        assert made.extends_id == old_id
