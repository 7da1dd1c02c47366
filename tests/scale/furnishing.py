"""What the demo city does not happen to have on the day that it is founded, put into a copy of it by the verbs of its own people:
a round of yearly demands, a campaign and its letters, drafts of rules and of a formula, a service and a token, a feed, a source
that pushes, an identity source, an emergency account, an anchor.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from console.accounts import accounts
from console.anchors import keys, making
from console.api import TokenKind, tokens
from console.demo import supervision
from console.identity import break_glass, connections
from console.settings import Settings
from metering.campaigns import CampaignScope, campaigns
from metering.intake import feeds, sources
from metering.supervision import items
from providers.assessment import formula_drafts, formulas, surveys
from providers.monitoring import endpoints, mappings
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import Duty, cloud_targets, headships
from quota.directory.departments import Department
from quota.directory.people import Person
from quota.directory.pools import Pool, PoolCapacity
from quota.ledger import demands
from quota.requests import formbook
from quota.requests.rulebook import enactment, proposals
from quota.units import VCPU, Arch, Commodity


def furnish(home: Path) -> None:
    """Each kind once, in the book of ``home``, now."""
    settings = Settings(data=home, demo=True)
    book = Book(settings.database_url)
    for act in (_demands, _campaign, _drafts, _survey, _supervision, _heads, _programs, _sources, _identities):
        act(book)
    making.make(book, settings, keys.signer(settings), steward("anchor"))
    book.dispose()


def _who(book: Book, role: Role) -> Actor:
    with book.reading() as tx:
        found = tx.scalars(
            select(Person).where(Person.role == role.value, Person.active, Person.granted).order_by(Person.id)
        ).first()
        assert found is not None
        return Actor(found.login, found.name, role, found.department_id, found.provider_id, "192.0.2.1")


def _demands(book: Book) -> None:
    with book.transaction(_who(book, Role.AUTHORITY)) as tx:
        today = tx.now.astimezone(ZONE).date()
        asked = demands.open_round(tx, today.year + 1, today + timedelta(days=30)).id
        pool = tx.scalars(select(Pool).join(Pool.capacities).where(Pool.active, PoolCapacity.kind == VCPU)).first()
        assert pool is not None
        place = pool.id, Commodity(VCPU, Arch(pool.arch))
    tenant = _who(book, Role.TENANT)
    assert tenant.department_id is not None
    with book.transaction(tenant) as tx:
        demands.enter(tx, asked, tenant.department_id, *place, 4, "新平台上线,按压测折算并发三千")


def _campaign(book: Book) -> None:
    with book.transaction(_who(book, Role.SUPERVISOR)) as tx:
        due = tx.now.astimezone(ZONE).date() + timedelta(days=14)
        campaigns.start(tx, "年末清理", CampaignScope(), due, key="furnishing")


def _drafts(book: Book) -> None:
    with book.transaction(_who(book, Role.AUTHORITY)) as tx:
        later = tx.now.astimezone(ZONE).date() + timedelta(days=40)
        standing = enactment.standing(tx, later)[0]
        proposals.draft(tx, [standing.model_copy(update={"effective_from": later})], reason="修订")
        formula = tx.scalars(select(formulas.AssessmentFormula).order_by(formulas.AssessmentFormula.id)).first()
        assert formula is not None
        formula_drafts.draft(tx, formula.written(), effective_from=later, reason="修订")


def _survey(book: Book) -> None:
    """A survey that is open, a year's target, and a draft of each."""
    chief = _who(book, Role.AUTHORITY)
    for last in (False, True):
        with book.transaction(chief) as tx:
            today = tx.now.astimezone(ZONE).date()
            items = surveys.items_of("响应速度 | 3")
            name, ends_on = "草案" if last else "满意度调查", today + timedelta(days=14)
            survey = surveys.draft(tx, name, items, 5, starts_on=today, ends_on=ends_on, reason="通知").id
            target = cloud_targets.draft(tx, today.year, {cloud_targets.CITY: 950}, "通知").id
            version = formbook.FieldVersion(
                "box", formbook.FieldShape.TEXT, formbook.FormDemand.OPTIONAL, "邮箱", "Mailbox"
            )
            tomorrow = today + timedelta(days=1)
            field = formbook.draft(tx, "create", version, effective_from=tomorrow, reason="通知").id
        if not last:
            with book.transaction(replace(chief, login="second", name="另一人")) as tx:
                surveys.sign(tx, survey)
                cloud_targets.sign(tx, target)
                formbook.sign(tx, field)


def _supervision(book: Book) -> None:
    """A draft of an item."""
    with book.transaction(_who(book, Role.AUTHORITY)) as tx:
        today = tx.now.astimezone(ZONE).date()
        items.draft(tx, replace(supervision.LATE, code="Z-01"), today, "监管目录")


def _heads(book: Book) -> None:
    tenant = _who(book, Role.TENANT)
    assert tenant.department_id is not None
    with book.transaction(tenant) as tx:
        since = tx.now.astimezone(ZONE).date()
        headships.appoint(tx, tenant.department_id, Duty.HEAD, {"name": "张云", "phone": "0371-6600"}, since)


def _programs(book: Book) -> None:
    admin = _who(book, Role.SYSADMIN)
    with book.transaction(admin) as tx:
        department = tx.scalars(select(Department).where(Department.active).order_by(Department.id)).first()
        who = accounts.enrol_service(tx, "oa", "市OA", Role.TENANT, department=department, provider=None)
        tokens.make(tx, who, "办公系统", ["requests:read"], tokens.DAYS[0], TokenKind.SERVICE)


def _sources(book: Book) -> None:
    with book.transaction(_who(book, Role.SUPERVISOR)) as tx:
        pool = tx.scalars(select(Pool).where(Pool.active).order_by(Pool.id)).first()
        assert pool is not None
        sources.register(tx, "pushing", "推送", pool.id)
        feeds.register(tx, "asked", "查询", pool.id, "promql", {"url": "http://127.0.0.1:1"})
        endpoints.register(tx, pool.id, "https://gate", "网关", system_id=None, level=1, interval_s=60, fails=2)
        today = tx.now.astimezone(ZONE).date()
        mappings.draft(tx, "job=blackbox -> endpoint=$instance", effective_from=today, reason="试运行")


def _identities(book: Book) -> None:
    with book.transaction(_who(book, Role.SECADMIN)) as tx:
        options = {"issuer": "https://127.0.0.1:1", "client_id": "guanjia", "client_secret": "env:OA_SECRET"}
        connections.register(tx, "oa", "oidc", "市OA", options)
        keeper = tx.scalars(select(Person).where(Person.role == Role.SYSADMIN.value).order_by(Person.id)).first()
        assert keeper is not None
        break_glass.name(tx, keeper, "信封在保险柜")
