"""Quota for a day to come, over HTTP: asked for, approved, waited for, and there when capacity is."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from console import worklist
from metering.lake import Lake
from metering.workbench import Workbench
from quota.actors import Role, steward
from quota.calendar import ZONE
from quota.directory import Pool
from quota.ledger import capacities, commitments
from quota.requests import notices
from quota.units import VCPU
from tests.console.test_house import check_page
from tests.journeys.test_requests import decide, filed, grown, handed_in, state


def failing(settle):
    """As ``settle``, but for a pool that there is not."""

    def work(tx, pool_id):
        if not pool_id:
            raise LookupError(pool_id)
        return settle(tx, pool_id)

    return work


def test_what_was_promised_for_a_day_waits_for_capacity_and_is_shown_on_the_board(
    client_of, place, city, clock, settings, monkeypatch
):
    grown(place, city, clock)
    tenant, chief = client_of(Role.TENANT), client_of("authority1")
    day = clock.now.astimezone(ZONE).date() + timedelta(days=30)
    address = f"/requests/new/commitment?pool={place.pool}"
    check_page("form", tenant.get(address).text)
    number = handed_in(tenant, place, kind="commitment", amount_vcpu="300", more_wanted_on=str(day))
    for login in ("supervisor1", "supervisor2", "authority1"):
        page = client_of(login).get(f"/decisions/{number}").text
        assert "不占用容量" in page
        assert decide(client_of(login), number).status_code == 302
    assert state(place, number) == "done"
    with place.book.transaction(steward()) as tx:
        notices.settle_commitments(tx, place.pool)
    board = chief.get("/quota/promises/").text
    check_page("board", board)
    assert f"300 vCPU，最早 {day}" in board
    today = clock.now.astimezone(ZONE).date()
    assert re.search(rf"最早 {day}</a></td>\s*<td[^>]*>[^<]*(<time[^>]*>)?{today}", board), (
        "honoured, nothing is left today"
    )
    for who in (tenant, chief, client_of(Role.SUPERVISOR)):
        page = who.get("/quota/commitments/").text
        check_page("queue", page)
        assert "排队" in page
    assert client_of(Role.PROVIDER).get("/quota/commitments/").status_code == 403
    assert client_of("tenant2").get("/quota/commitments/1").status_code == 404
    assert "远期承诺" in tenant.get(f"/requests/{number}").text

    # What comes later leaves it what it needs, unless the authority says why not.
    later = filed(tenant, place, kind="quota", amount_vcpu="1")
    refused = "为排队的远期承诺预留"
    assert refused in tenant.get(f"/requests/{later}/check").text
    code = re.search(r'<option value="([^"]*/vcpu/[^"]*|[^"]*vcpu[^"]*)"', board).group(1)
    assert refused in chief.get("/quota/promises/", query_string={"wanted": "1", "where": code}).text
    page = chief.get("/quota/commitments/1").text
    check_page("passing", page)
    say = {"generation": re.search(r'name="generation" value="(\d+)"', page).group(1), "over": "1"}
    assert tenant.send("/quota/commitments/1/pass", {**say, "reason": "x"}).status_code == 403
    assert "请写明理由" in chief.get(chief.send("/quota/commitments/1/pass", {**say, "reason": " "}).location).text
    assert chief.send("/quota/commitments/1/pass", {**say, "reason": "防汛应急"}).status_code == 302
    assert "防汛应急" in tenant.get("/quota/commitments/1").text
    assert "暂停为其预留容量" in tenant.get("/requests/notices/").text
    assert refused not in tenant.get(f"/requests/{later}/check").text

    with place.book.transaction(steward()) as tx:
        capacities.equip(tx, tx.get_one(Pool, place.pool), VCPU, 600, key="more", reason="扩容")
    jobs = worklist.Worklist(Workbench(place.book, Lake(settings.lake_dir), settings.data), settings)
    monkeypatch.setattr(commitments, "queues", lambda _tx: [0, place.pool])
    monkeypatch.setattr(notices, "settle_commitments", failing(notices.settle_commitments))
    with pytest.raises(LookupError):
        jobs.settle()  # one pool's queue fails: the others go on
    page = tenant.get("/quota/commitments/1").text
    check_page("one", page)
    assert "已落实" in page
    assert "远期配额已落实" in tenant.get("/requests/notices/").text
    assert "最早" not in chief.get("/quota/promises/").text
    seen = re.search(r'name="generation" value="(\d+)"', page).group(1)
    assert (
        tenant.send("/quota/commitments/1/cancel", {"generation": seen}).status_code == 302
    )  # without a reason: told there
    assert tenant.send("/quota/commitments/1/cancel", {"generation": seen, "reason": "改期"}).status_code == 302
    page = tenant.get("/quota/commitments/1").text
    assert "改期" in page
    assert "已取消" in page
    place.prove()
