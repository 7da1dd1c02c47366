"""A tier as its department lives through it: declared, busy, one machine more, behind the balancer, calm, out of it, given back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from console.mail import mails
from console.marks import chinese
from console.pages.cases import tiers as pages
from console.tables import Mail, MailItem
from metering.intraday import effects
from metering.judging.policy import Verdict
from metering.judging.procedure import Procedure
from metering.reports import doings, periods, scopes
from metering.reports.frames import Frame
from metering.scale_outs import ScaleOut, ScaleOutState, sums
from providers import orders
from providers.orders import OrderState, WorkOrder
from quota.actors import steward
from quota.calendar import ZONE, working_days
from quota.db import Tx
from quota.directory import Person
from quota.inventory import Resource, tiers
from quota.requests import Request, RequestState
from tests.journeys.surging import authorise, hour, looked
from tests.journeys.test_cases import GENERATION
from tests.metering.surging import FOUR, Surging

HOT, WARM, CALM = 99.0, 70.0, 20.0
HOLD = 3


@pytest.fixture
def town(grown) -> Surging:
    town = grown(procedure=Procedure(tier_hold_hours=HOLD))
    town.sign_once()
    return town


def declare(town: Surging, *machines: int, status: int = 302, **typed: object):
    visit = town.city.visit("tenant1")
    shown = visit.get(f"/tiers/new/{town.system}")
    assert shown.status_code == 200
    form = {"name": "web", "machines": list(machines), "balancer": "SLB-1,由运维科登记", "most": 1, **typed}
    sent = visit.send(f"/tiers/new/{town.system}", form)
    assert sent.status_code == status, sent.text[-3000:]
    return sent


def do(town: Surging, login: str, act: str, status: int = 302, **typed: object):
    """Open the page of an act of the newest scale-out, look at it, and send its form."""
    visit, address = town.city.visit(login), f"/tiers/scale-outs/{newest(town).id}/{act}"
    shown = visit.get(address)
    generation = GENERATION.search(shown.text)
    sent = visit.send(address, {"generation": generation.group(1) if generation else "0", **typed})
    assert sent.status_code == status, sent.text[-3000:]
    return sent


def later(town: Surging) -> str:
    town.clock.now += timedelta(minutes=5)
    return looked(town)


def newest(town: Surging) -> ScaleOut:
    with town.book.reading() as tx:
        one = tx.scalars(select(ScaleOut).order_by(ScaleOut.id.desc()).limit(1)).one()
        _ = (one.tier, one.resource)
        return one


def states(town: Surging) -> list[str]:
    with town.book.reading() as tx:
        return [one.state for one in tx.scalars(select(ScaleOut).order_by(ScaleOut.id))]


def approve(town: Surging) -> None:
    """The city's rules have the return signed; the cloud deletes it."""
    with town.book.reading() as tx:
        number = newest(town).request_id
        assert tx.get_one(Request, number).kind == "unsubscribe"
    visit = town.city.visit("supervisor1")
    page = visit.get(f"/decisions/{number}")
    generation = GENERATION.search(page.text)
    assert generation, page.text[-3000:]
    sent = visit.send(
        f"/decisions/{number}", {"generation": generation.group(1), "decision": "approve", "reason": "已移出负载均衡"}
    )
    assert sent.status_code == 302, sent.text[-3000:]


def written(town: Surging) -> set[tuple[str, str]]:
    """(source, address) of what was written about machines more for tiers."""
    with town.book.transaction(steward()) as tx:
        mails.gather(tx)
        query = select(MailItem.source, Mail.address).join(Mail, Mail.id == MailItem.mail_id)
        return {(source, address) for source, address in tx.execute(query) if source.startswith("scale_out")}


def counted(town: Surging) -> None:
    """The machine that came and went is counted wherever growths are."""
    page = town.city.page("supervisor1", "/recoveries/")
    assert "本年横向扩容" in page
    assert chinese("已退还 1 台，现借用 0 台") in page
    assert "累计横向扩容" in town.city.page("supervisor1", "/cockpit")
    with town.book.reading() as tx:
        told = sums.summed(tx)
        assert (told.added, told.returned, told.kept, told.there, told.amounts) == (1, 1, 0, 0, FOUR)
        whole = doings.scale_outs(frame_of(town, tx))
    assert whole == {"added": 1, "returned": 1, "kept": 0, "there": 0, "amounts": FOUR.to_json()}
    town.clock.now = town.clock.now.astimezone(ZONE).replace(hour=3) + timedelta(days=1)
    town.lake.roll()
    effects.reckon(town.works)
    with town.book.reading() as tx:
        effect = effects.effects(tx)[town.city.policy]
        lent = tx.scalar(select(ScaleOut))
        assert (effect.added, effect.taken_back) == (1, 1)
        assert effect.added_core_s == 4 * round((lent.closed_at - lent.delivered_at).total_seconds())
    document = town.city.visit("supervisor1").get(f"/policies/versions/{town.city.policy}/effects.json").json
    assert (document["within_the_day"]["machines_added"], document["within_the_day"]["machines_returned"]) == (1, 1)
    assert chinese("其中已退还 1 台") in town.city.page("supervisor1", f"/policies/versions/{town.city.policy}")


def frame_of(town: Surging, tx: Tx) -> Frame:
    month = periods.period(f"{town.clock.now.astimezone(ZONE):%Y-%m}")
    return Frame(tx, str(town.lake.root), scopes.scope(tx, "city"), month, town.clock.now, working_days(tx))


def test_a_busy_tier_gets_a_machine_more_and_gives_it_back(town: Surging):
    with town.book.transaction(steward()) as tx:
        mails.write_to(tx, tx.scalar(select(Person).where(Person.login == "tenant1")), "tenant1@city.example")
    first, second = town.machine(), town.machine()
    declare(town, first, second)
    authorise(town)
    assert "SLB-1" in town.city.page("tenant1", "/tiers/1")
    assert "web" in town.city.page("tenant1", f"/systems/{town.system}")
    said = hour(town, {first: HOT, second: HOT})
    assert "scale_out_ordered" in said
    assert town.has(first) == town.has(second) == FOUR, "more machines, not larger ones"
    assert town.case(first) is None
    one = newest(town)
    assert (one.state, one.machines, one.load) == (ScaleOutState.ORDERED, 2, HOT)
    town.carry()
    assert later(town) == "looked skipped skipped", "the tier is being helped, its machines wait for that"
    one = newest(town)
    assert (one.state, one.resource.actual(), one.resource.system_id) == (ScaleOutState.DELIVERED, FOUR, town.system)
    third = one.resource_id
    assert written(town) == {("scale_out_enter", "tenant1@city.example")}
    assert "横向扩容待办" in town.city.page("tenant1", "/")
    assert "SLB-1" in town.city.page("tenant1", f"/tiers/scale-outs/{one.id}/joined")
    do(town, "tenant1", "joined")
    with town.book.reading() as tx:
        assert {row.id for row in tiers.members(tx, 1)} == {first, second, third}
        order = tx.scalar(select(WorkOrder).where(WorkOrder.key == one.order_key))
        assert order.state == OrderState.ACCEPTED
    town.judge({first: Verdict.NORMAL, second: Verdict.NORMAL, third: Verdict.NORMAL})
    for _ in range(HOLD):
        assert "scale_out" not in hour(town, {first: WARM, second: WARM, third: WARM})
    assert states(town) == ["serving"], "two alone would come to 105 %"
    for _ in range(HOLD - 1):
        assert "scale_out" not in hour(town, {first: CALM, second: CALM, third: CALM})
    assert "scale_out_calm" in hour(town, {first: CALM, second: CALM, third: CALM})
    assert "少一台也够用" in town.city.page("tenant1", "/tiers/1")
    assert {source for source, _address in written(town)} == {"scale_out_enter", "scale_out_leave"}
    do(town, "tenant1", "left")
    assert states(town) == ["returning"]
    approve(town)
    with town.book.transaction(steward()) as tx:
        orders.place_for_request(tx, tx.get_one(Request, newest(town).request_id))
    town.carry()
    later(town)
    assert (states(town), newest(town).ending) == (["closed"], "returned")
    with town.book.reading() as tx:
        assert tx.get_one(Resource, third).state == "deleted"
        assert tx.get_one(Request, newest(town).request_id).state in (RequestState.DONE, RequestState.ACCEPTING)
    counted(town)


def test_the_home_page_says_how_many_tiers_wait_for_an_answer(town: Surging, monkeypatch: pytest.MonkeyPatch):
    machines = [town.machine() for _ in range(4)]
    declare(town, *machines[:2])
    declare(town, *machines[2:], name="db")
    assert "scale_out_proposed" in hour(town, dict.fromkeys(machines, HOT))
    monkeypatch.setattr(pages, "SHOWN", 1)
    assert "横向扩容待办（2）" in town.city.page("tenant1", "/")
