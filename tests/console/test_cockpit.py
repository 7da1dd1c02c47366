"""The wall of the cockpit: what the city shows on it and in which order, and its address for a screen that nobody is logged in at."""

from __future__ import annotations

import re

import pytest

from console.pages.house import wall_blocks
from console.settings import BadSetting, load
from quota.actors import Role


def shown(page):
    return re.findall(r'id="wall-([a-z]+)"', page)


def test_every_block_draws_an_empty_city_and_says_what_is_missing(client_of, city):
    page = client_of(Role.SUPERVISOR).get("/cockpit").text
    assert shown(page) == list(wall_blocks.blocks())
    for said in ("还没有对账单", "没有在办的案件", "没有可回收的资源", "没有告警"):
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


def test_whose_right_ends_takes_the_screen_along(app, client_of, house, city):
    from sqlalchemy import select

    from quota.actors import steward
    from quota.directory import Person

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
