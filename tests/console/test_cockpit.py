"""The wall of the cockpit: what the city shows on it and in which order, and its address for a screen that nobody is logged in at."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from console.metrics import work
from console.pages.house import wall_blocks
from console.settings import BadSetting, load
from providers.assessment import EvidenceRow, cards, company, formula_documents
from quota.actors import Actor, Role, steward
from quota.directory import CloudProvider, Person


def shown(page):
    return re.findall(r'id="wall-([a-z]+)"', page)


def test_every_block_draws_an_empty_city_and_says_what_is_missing(client_of, city):
    page = client_of(Role.SUPERVISOR).get("/cockpit").text
    assert shown(page) == list(wall_blocks.blocks())
    for said in ("还没有比对过的账单", "没有在办的案件", "没有可回收的资源", "没有告警"):
        assert said in page


def test_the_city_says_what_stands_on_it_and_where(client_of, city):
    chief = client_of(Role.AUTHORITY)
    places = dict.fromkeys(wall_blocks.blocks(), "0") | {"alarms": "1", "cases": "2", "pools": "5"}
    assert chief.send("/cockpit/blocks", places).status_code == 302
    assert shown(chief.get("/cockpit").text) == ["alarms", "cases", "pools"]
    form = chief.get("/cockpit/blocks").text
    assert re.search(r'name="cases".*?<option selected value="2"', form, re.S)


@pytest.mark.parametrize(
    ("places", "said"),
    [({"alarms": "1", "cases": "1"}, "一个位置只能放一项"), ({}, "请至少选择一项"), ({"alarms": "99"}, "alarms-error")],
)
def test_an_order_that_is_none_is_refused_beside_its_place(client_of, city, places, said):
    chief = client_of(Role.AUTHORITY)
    answer = chief.send("/cockpit/blocks", dict.fromkeys(wall_blocks.blocks(), "0") | places)
    assert (answer.status_code, said in answer.text) == (422, True)
    assert shown(chief.get("/cockpit").text) == list(wall_blocks.blocks()), "nothing was changed"


def test_others_neither_see_nor_arrange_it(client_of, city):
    for role in (Role.TENANT, Role.PROVIDER, Role.SYSADMIN):
        assert client_of(role).get("/cockpit").status_code == 403
    assert client_of(Role.AUDITOR).get("/cockpit").status_code == 200
    assert client_of(Role.AUDITOR).get("/cockpit/blocks").status_code == 403
    assert client_of(Role.TENANT).get("/settings/tokens/wall").status_code == 403


def address_of(client):
    page = client.send("/settings/tokens/wall", {"days": "90"}).text
    return re.search(r"https?://[^/<]+(/wall/[^<]+)<", page)[1]


def test_a_screen_shows_it_by_its_address_and_opens_nothing_else(app, client_of, city):
    auditor = client_of(Role.AUDITOR)
    address = address_of(auditor)
    screen = app.test_client()
    answer = screen.get(address)
    assert (answer.status_code, shown(answer.text)) == (200, list(wall_blocks.blocks()))
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert (answer.headers["X-Frame-Options"], answer.headers["Referrer-Policy"]) == ("DENY", "no-referrer")
    assert f'data-hx-get="{address}"' in answer.text
    assert screen.get("/cockpit").status_code == 302, "the screen is nobody's session"
    secret = address.rpartition("/")[2]
    assert screen.get("/api/v1/pools", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert screen.get(f"/api/v1/calendar/{secret}.ics").status_code == 401
    assert screen.get("/wall/nobody.knows").status_code == 401
    token = re.search(r"/settings/tokens/(\d+)", auditor.get("/settings/tokens/").text)[1]
    auditor.send(f"/settings/tokens/{token}/revoke")
    assert screen.get(address).status_code == 401


def test_a_mark_that_was_not_published_stands_on_no_wall_and_in_no_metric(client_of, house, city):
    """A draft is nobody's mark yet: the wall hangs in front of anybody, and metrics go to whoever draws them."""
    auditor, chief = client_of(Role.AUDITOR), Actor("authority1", "主任", Role.AUTHORITY)
    rule = {"indicator": "service", "label": "服务", "weight": "100", "measure": "by_hand"}
    by = formula_documents.read({"code": "by", "name": "评分", "grades": [["60", "pass"]], "rules": [rule]}).formula

    def kept(period: str, points: str, *, publish: bool) -> None:
        with house.transaction(steward()) as tx:
            rows = {"service": [EvidenceRow("record:1", {"points": points, "scored_by": "x"})]}
            card = cards.keep(tx, company(tx.scalars(select(CloudProvider.id)).one()), period, rows, by)
        if publish:
            with house.transaction(chief) as tx:
                cards.publish(tx, card.id, card.generation)

    def told() -> tuple[list[str], list[float]]:
        page = auditor.get("/cockpit").text.partition('id="wall-companies"')[2].partition("</article>")[0]
        with house.reading() as tx:
            points = next(one for one in work._companies(tx) if one.name == "guanjia_scorecard_points")
        return re.findall(r"<b>([^<]*)</b>", page), [sample.value for sample in points.samples]

    kept("2026-04", "33", publish=False)
    assert told() == ([], [])
    kept("2026-04", "34", publish=True)
    assert told() == (["34"], [34.0])
    kept("2026-05", "91", publish=False)
    kept("2026-04", "35", publish=False)
    assert told() == (["34"], [34.0])
    kept("2026-05", "92", publish=True)
    kept("2026-04", "36", publish=True)
    assert told() == (["92"], [92.0]), "of the newest period, not what was published last"


def test_whose_right_ends_takes_the_screen_along(app, client_of, house, city):
    address = address_of(client_of("auditor1"))
    with house.transaction(steward()) as tx:
        tx.scalars(select(Person).where(Person.login == "auditor1")).one().role = Role.SYSADMIN.value
    assert app.test_client().get(address).status_code == 403
    with house.transaction(steward()) as tx:
        tx.scalars(select(Person).where(Person.login == "auditor1")).one().active = False
    assert app.test_client().get(address).status_code == 401


def test_only_origins_may_frame_it(tmp_path):
    said = load(tmp_path, {"GUANJIA_WALL_FRAMES": "https://screen.example.gov.cn http://10.0.0.8:8080"})
    assert said.wall_frames == "https://screen.example.gov.cn http://10.0.0.8:8080"
    for bad in ("https://a.cn; script-src *", "*", "screen.example.gov.cn", "https://a.cn/path"):
        with pytest.raises(BadSetting, match="no origin"):
            load(tmp_path, {"GUANJIA_WALL_FRAMES": bad})
