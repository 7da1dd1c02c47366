"""A peak that is declared beforehand (重保): reserved and held by the ledger, on the calendar, grown shortly before, given back after it."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import pytest
from sqlalchemy import select

from console import worklist
from console.marks import chinese
from metering import cases
from metering.cases import windows
from metering.lake.store import Lake
from metering.workbench import Workbench
from providers import orders
from providers.orders import WorkOrder
from quota import requests
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import Pool, pools
from quota.errors import Invalid, WrongState
from quota.ledger import Holder, entries
from quota.requests import notices, reservations
from quota.requests.kinds import temporary
from quota.units import MEMORY, VCPU, Amount, Arch
from tests.journeys.test_request_kinds import deliver, filed, handed_in
from tests.journeys.test_requests import decide, generation, state

FORM = {"more_occasion": "高考报名", "item": "0", "amount_vcpu": "8"}


@pytest.fixture
def works(house, settings):
    return Workbench(house, Lake(settings.lake_dir), settings.data)


def day(clock, ahead: int):
    return clock().astimezone(ZONE).date() + timedelta(days=ahead)


def machine_of(place) -> int:
    """A machine of 4 vCPU of the department's."""
    shape = {VCPU: 4, MEMORY: 8 * 1024}
    machine = place.standing_machine(shape)
    with place.book.transaction(steward()) as tx:
        entries.use(tx, place.pool, place.department, Amount(shape).of_arch(Arch.AARCH64), key="use:1")
    return machine


def reserved(client_of, place, clock, begins: int = 20, until: int = 25, **more) -> int:
    """A reservation that was signed: the request's id."""
    tenant = client_of(Role.TENANT)
    address = f"/requests/new/temporary?resource={machine_of(place)}"
    form = FORM | {"more_begins": day(clock, begins).isoformat(), "use_until": day(clock, until).isoformat(), **more}
    number, _answer = handed_in(tenant, filed(tenant, address, **form))
    for login in ("supervisor1", "supervisor2"):
        decide(client_of(login), number)
    return number


def reminded(place) -> list[str]:
    with place.book.transaction(steward()) as tx:
        return [one.kind for one in notices.remind_of_terms(tx)]


def placed(place, works) -> list[int]:
    count, refused = worklist.place(works)
    assert refused == []
    with place.book.reading() as tx:
        found = list(tx.scalars(select(WorkOrder.id).where(WorkOrder.request_id.is_not(None)).order_by(WorkOrder.id)))
    assert count in (0, len(found))
    return found


def test_a_peak_is_reserved_grown_for_before_it_and_given_back_after_it(
    client_of, place, city, works, clock, monkeypatch
):
    number = reserved(client_of, place, clock)
    tenant = client_of(Role.TENANT)
    assert (place.balance(Holder.GRANTED), place.balance(Holder.USED)) == (32, 8), "held from the last signature on"
    assert placed(place, works) == []
    assert reminded(place) == [], "nothing is lent yet that could end"
    page = tenant.get(f"/requests/{number}").text
    assert chinese("配额已为本次预定占用") in page
    begins = day(clock, 20)
    for login in (Role.TENANT, "supervisor1"):
        page = client_of(login).get(f"/reservations/?month={begins:%Y-%m}").text
        assert "高考报名" in page
        assert f'<time datetime="{begins}">{begins.day}</time><p>云主机 1 台</p><p>4 vCPU</p>' in page
        assert f'<time datetime="{day(clock, 19)}">{day(clock, 19).day}</time></td>' in page
    assert "高考报名" not in client_of("tenant2").get(f"/reservations/?month={begins:%Y-%m}").text
    clock.now = datetime.combine(begins, time(), ZONE) - timedelta(hours=24, minutes=1)
    assert placed(place, works) == [], "not a minute early"
    clock.now += timedelta(minutes=1)
    (order,) = placed(place, works)
    assert placed(place, works) == [order], "once"
    with place.book.reading() as tx:
        made = orders.order(tx, order)
        assert (made.verb, made.amounts) == ("resize", {"vcpu": 8})
        assert requests.request(tx, number).due_at > tx.now, "its clock runs from then on"
    deliver(place, city, order, {VCPU: 8})
    tenant = client_of(Role.TENANT)
    seen = generation(tenant, number, "/acceptance")
    tenant.send(f"/requests/{number}/acceptance", {"verdict": "accept", "generation": seen})
    assert reminded(place) == ["lent_ending"]
    monkeypatch.setattr(orders.returns, "_objections", [])
    clock.now = datetime.combine(day(clock, 0) + timedelta(days=6), time(12), ZONE)
    with place.book.transaction(steward()) as tx:
        assert orders.returns.return_all(tx) == [], "its last day goes on"
    clock.advance(days=1)
    with place.book.transaction(steward()) as tx:
        (back,) = [one.id for one in orders.returns.return_all(tx)]
    deliver(place, city, back, {VCPU: 4})
    assert (place.balance(Holder.GRANTED), place.balance(Holder.USED)) == (36, 4)
    assert "高考报名" not in client_of("supervisor1").get("/reservations/").text
    assert "高考报名" in client_of("supervisor1").get("/reservations/?when=past").text
    place.prove()


def test_what_is_shut_down_for_its_peak_is_so_inside_a_window_before_it(client_of, place, works, clock):
    """On a cloud that does not resize live: in the nights where no window is set, else in the next window; where none opens before the
    peak at the time that was asked for, which the order says."""
    reserved(client_of, place, clock)
    with place.book.transaction(steward()) as tx:
        pools.tell(tx, tx.get_one(Pool, place.pool), live_resize=False)
    begins = clock.now = datetime.combine(day(clock, 19), time(0), ZONE)
    (order,) = placed(place, works)

    def said(hour: int) -> str | None:
        clock.now = begins + timedelta(hours=hour)
        with place.book.transaction(steward()) as tx:
            return cases.last_look(tx, order)

    late = "高峰之前没有变更窗口，因此不等窗口"
    assert [said(hour) for hour in (5, 6, 21, 22)] == [None, "不在变更窗口内", "不在变更窗口内", None]
    said(12)
    assert "须关机，在变更窗口" in client_of("supervisor1").get(f"/orders/{order}").text
    weekday = begins.isoweekday()
    for shift, hours in ((2, {12: None}), (0, {12: "不在变更窗口内", 13: None})):
        with place.book.transaction(Actor("supervisor1", "监督", Role.SUPERVISOR)) as tx:
            windows.set_window(tx, str((weekday + shift - 1) % 7 + 1), 13 * 60, 14 * 60)
        assert {hour: said(hour) for hour in hours} == hours
        said(12)
        assert (late in client_of("supervisor1").get(f"/orders/{order}").text) == bool(shift)


def test_hours_ahead_are_said_by_the_request(client_of, place, works, clock):
    reserved(client_of, place, clock, more_ahead="72")
    clock.now = datetime.combine(day(clock, 20), time(), ZONE) - timedelta(hours=72)
    assert len(placed(place, works)) == 1


def test_signed_too_late_it_grows_at_once(client_of, place, works, clock):
    reserved(client_of, place, clock, begins=0, until=3)
    assert len(placed(place, works)) == 1


def test_a_window_that_passed_unsigned_is_proposed_as_long_as_it_was(client_of, place, clock):
    tenant = client_of(Role.TENANT)
    form = FORM | {"more_begins": day(clock, 20).isoformat(), "use_until": day(clock, 25).isoformat()}
    number, _answer = handed_in(tenant, filed(tenant, f"/requests/new/temporary?resource={machine_of(place)}", **form))
    clock.advance(days=40)
    with place.book.reading() as tx:
        assert requests.terms.anew(tx, requests.request(tx, number)) == day(clock, 6), "a day ahead and to the last day"
    assert f'value="{day(clock, 6).isoformat()}"' in client_of("supervisor1").get(f"/decisions/{number}").text


def test_what_begins_is_cancelled_no_more_and_what_waits_is_by_its_department_alone(client_of, place, works, clock):
    number = reserved(client_of, place, clock)
    tenant = client_of(Role.TENANT)
    sent = {"generation": generation(tenant, number), "reason": "活动改期"}
    assert client_of("tenant2").send(f"/reservations/{number}/cancel", sent).status_code in (403, 404)
    assert client_of("supervisor1").send(f"/reservations/{number}/cancel", sent).status_code == 403
    tenant = client_of(Role.TENANT)
    assert tenant.send(f"/reservations/{number}/cancel", {**sent, "generation": "1"}).status_code == 409
    assert tenant.send(f"/reservations/{number}/cancel", {**sent, "reason": " "}).status_code in (409, 422)
    assert tenant.send(f"/reservations/{number}/cancel", sent).status_code == 302
    assert state(place, number) == "withdrawn"
    assert (place.balance(Holder.GRANTED), place.balance(Holder.USED)) == (36, 4)
    place.prove()
    clock.advance(days=30)
    assert placed(place, works) == []
    with pytest.raises(WrongState), place.book.transaction(actor_of(place)) as tx:
        reservations.cancel(tx, number, generation=requests.request(tx, number).generation, reason="再取消")


def actor_of(place) -> Actor:
    return Actor("tenant1", "单位", Role.TENANT, department_id=place.department)


@pytest.mark.parametrize(
    ("begins", "until", "said"),
    [
        (-1, 5, "高峰开始日须在今天之后"),
        (181, 190, "高峰开始日须在今天之后"),
        (20, 19, "使用期限不能早于高峰开始日"),
        (20, 51, "最长 30 天"),
    ],
)
def test_windows_that_make_no_sense_are_refused(client_of, place, clock, begins, until, said):
    tenant = client_of(Role.TENANT)
    address = f"/requests/new/temporary?resource={machine_of(place)}"
    form = FORM | {"more_begins": day(clock, begins).isoformat(), "use_until": day(clock, until).isoformat()}
    refused = filed(tenant, address, **form)
    assert chinese(said) in tenant.get(refused.location).text


def test_the_last_days_that_may_be_are_taken(client_of, place, clock):
    number = reserved(client_of, place, clock, begins=180, until=210)
    with place.book.reading() as tx:
        assert temporary.grows_at(requests.request(tx, number)) == datetime.combine(day(clock, 179), time(), ZONE)


@pytest.mark.parametrize("text", ["2026-13-01", "20260620", "soon", "2026-06-20T08:00"])
def test_what_is_no_day_is_refused(place, text):
    ask = requests.Ask(temporary.TEMPORARY, place.department, place.pool, fields={"begins": text})
    with pytest.raises(Invalid) as refused, place.book.transaction(actor_of(place)) as tx:
        requests.draft(tx, ask)
    assert (refused.value.code, refused.value.params["field"]) == ("request.day", "begins")
