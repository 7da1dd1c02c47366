"""One quarter of one company over HTTP: the city's formula signed, a draft, published, appealed, ruled on and scored again, put right
from its card, frozen in a report; and what of it is still open on the next quarter's card."""

from __future__ import annotations

import json
import re

from providers.assessment import bundles
from quota.actors import Role
from tests.console.test_house import check_page

FORMULA = {
    "code": "city_events", "name": "季度考核办法", "basis": "某局办法 9 号", "least": "60",
    "grades": [["90", "excellent"], ["60", "pass"]],
    "rules": [
        {"indicator": "security", "weight": "60", "measure": "each", "limits": {"per": "10"}},
        {"indicator": "events", "evidence": "security", "weight": "20", "measure": "graded", "label": "安全事件分档",
         "limits": {"at_1": "1", "off_1": "0", "at_2": "2", "off_2": "5", "rest": "20"}},
        {"indicator": "rectification", "weight": "20"},
    ],
}  # fmt: skip


def seen(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    check_page(address, answer.text)
    return answer.text


def posted(client, address: str, **body) -> str:
    answer = client.send(address, body)
    assert answer.status_code == 302, (address, re.findall(r'class="[^"]*error[^"]*"[^>]*>([^<]+)', answer.text))
    return answer.location


def test_a_quarter_from_draft_to_frozen(client_of, house, city, clock) -> None:
    def people(day: str):
        """Everybody, logged in again on a later day."""
        while f"{clock.now:%Y-%m-%d}" < day:
            clock.advance(days=1)
        return client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY), client_of(Role.PROVIDER), client_of("tenant1")

    company = city.provider.id
    supervisor, chief, mine, other = people("2026-06-20")
    drafted = posted(
        supervisor, "/formulas/drafts/new", document=json.dumps(FORMULA), effective_from="2026-07-01", reason="办法"
    )
    digest = re.search(r'name="digest"[^>]* value="([0-9a-f]+)"', seen(chief, f"{drafted}/enact"))[1]
    version = posted(chief, f"{drafted}/enact", digest=digest, reason="同意")
    assert "依据：安全事件；分档扣分；第一档 1；第一档扣 0 分" in seen(mine, version)

    supervisor, chief, mine, other = people("2026-08-20")
    events = [
        posted(supervisor, "/assessment-records/new", provider=company, kind="event", happened_on=f"2026-08-0{n}", note=f"通报 {n} 号")
        for n in (1, 2, 3)
    ]  # fmt: skip
    contested = f"record:{events[2].rsplit('/', 1)[1]}"

    supervisor, chief, mine, other = people("2026-10-09")
    first = posted(supervisor, "/scorecards/new", provider=company, period="2026-Q3")
    assert "37.5" in seen(supervisor, first), "(60 − 30 + 20 − 20) of 80"
    assert other.get(first).status_code == 404, "a draft is not for everybody"
    assert "公示后才能申诉" in mine.send(f"{first}/appeal", {"text": "不是我方", "refs": [contested]}).text
    posted(chief, f"{first}/publish", generation=1)
    assert "安全事件分档" in seen(other, first)
    rows = seen(mine, f"{first}/events")
    assert "3 行" in rows or rows.count("一般安全事件") >= 3, (
        "an item of the city's own shows the rows that it rests on"
    )

    posted(mine, f"{first}/appeal", text="3 号通报的系统不在云上", refs=[contested])
    assert (
        "出具评分的人不能裁定"
        in chief.send(f"{first}/ruling", {"upheld": "1", "struck": [contested], "ruling": "属实"}).text
    )
    again = posted(client_of("authority2"), f"{first}/ruling", upheld="1", struck=[contested], ruling="经查属实")
    assert again != first
    assert "68.75" in seen(supervisor, again), "(60 − 20 + 20 − 5) of 80"
    assert other.get(again).status_code == 404
    posted(chief, f"{again}/publish", generation=1)
    assert "每期评分只能申诉一次" in mine.send(f"{again}/appeal", {"text": "再议", "refs": []}).text
    proof = mine.get(f"{again}/bundle.json")
    assert bundles.faults(proof.data, proof.json["head"]["digest"]) == []

    card = again.rsplit("/", 1)[1]
    orders = []
    for indicator, title in (("security", "安全事件整改"), ("events", "事件分级整改")):
        source = f"scorecard:{card}/{indicator}"
        assert f"/rectifications/new?source={source}" in seen(supervisor, again)
        orders.append(
            posted(
                supervisor, "/rectifications/new", source=source, title=title, demand="查明原因", due_on="2026-10-30"
            )
        )
    posted(mine, f"{orders[0]}/plan", generation=1, text="加固")
    posted(mine, f"{orders[0]}/proof", generation=2, text="已加固，附报告")
    posted(supervisor, f"{orders[0]}/review", generation=3, accepted="1", text="复核属实")
    assert "整改通过" in seen(mine, orders[0])
    assert orders[1] in seen(mine, again), "what was ordered on its word stands on the card"

    edition = posted(supervisor, "/reports/editions/new", scope="city", code="", period="2026-Q3")
    frozen = supervisor.get(f"{edition}/file.html").data
    assert "68.75" in frozen.decode()
    posted(supervisor, "/assessment-records/new", provider=company, kind="event", happened_on="2026-09-01", note="迟报")
    later = posted(supervisor, "/scorecards/new", provider=company, period="2026-Q3", reason="补计迟报的事件")
    assert later not in (first, again)
    assert (other.get(later).status_code, other.get(again).status_code) == (404, 200), "what was published stands"
    assert supervisor.get(f"{edition}/file.html").data == frozen

    supervisor, chief, mine, other = people("2026-12-20")
    posted(
        supervisor,
        "/assessment-records/new",
        provider=company,
        kind="review",
        happened_on="2026-12-18",
        note="核查 12 号",
    )
    supervisor, chief, mine, other = people("2027-01-08")
    following = posted(supervisor, "/scorecards/new", provider=company, period="2026-Q4")
    assert "95" in seen(supervisor, following), "(60 + 20 + 20 − 5) of 100: one of two was put right in time"
    rows = seen(mine, f"{following}/rectification")
    assert ("安全事件整改" in rows, "事件分级整改" in rows) == (True, True)
