"""A policy from its draft to its signature: replayed over the city's own past, refused without, shown to who signs."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from console import worklist
from metering import policies
from metering.drafts import PolicyDraft
from metering.lake import Lake
from metering.replays import PolicyReplay
from metering.works import Works
from quota.actors import Role
from quota.calendar import ZONE
from tests.metering.past import found_past


@pytest.fixture
def works(house, settings):
    made = Works(house, Lake(settings.lake_dir), settings.data)
    with house.transaction() as tx:
        policies.seed(tx)
    return made


@pytest.fixture
def past(works, house, clock):
    return found_past(house, works, clock().astimezone(ZONE).date())


def fields(html: str) -> dict[str, str]:
    """What the form would send if nothing was changed."""
    found = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', html))
    found |= {name: value for value, name in re.findall(r'<input[^>]*value="([^"]*)"[^>]*name="([^"]+)"', html)}
    for name, body in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', html, re.S):
        chosen = re.search(r'<option selected value="([^"]*)"', body)
        found[name] = chosen[1] if chosen else ""
    return {name: value for name, value in found.items() if not name.startswith(("csrf", "q")) and name[0] in "ers"}


def draft(client, **changes):
    page = client.get("/policies/drafts/new").text
    sent = {**fields(page), "reason": "闲置门槛放宽", **changes}
    answer = client.send("/policies/drafts/new?", sent)
    assert answer.status_code == 302, re.findall(r'class="gj-error".*?</p>', answer.text, re.S)
    return answer.headers["Location"]


def test_from_draft_to_signature(app, house, works, settings, past, client_of, clock):
    staff, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    at = draft(staff, sizing="steward-safe", s0_name="信创池", s0_pool="xc", s0_sizing="p95@70", s0_spare="y")
    page = staff.get(at)
    assert "回放进行中" in page.text
    assert "信创池" in page.text

    # Nobody signs what was not replayed.
    assert "启用前须有本版草案七日内的回放结果" in chief.get(f"{at}/enact").text
    assert chief.send(f"{at}/enact", {"replay": "1", "reason": "可以"}).status_code == 409
    assert staff.get(f"{at}/enact").status_code == 403

    assert worklist.run_once(works, settings, "replay").value == "done"
    with house.reading() as tx:
        replay = tx.scalars(select(PolicyReplay)).one()
        assert (replay.state, replay.error) == ("done", "")
        assert replay.done == replay.total > 0
        told = replay.result
    # All of the pool is an exception that is sized as before and never reclaimed.
    ours, theirs = (told["sizing"]["policies"][name] for name in ("draft", "in-force"))
    assert ours["net_cores_saved_share"] == theirs["net_cores_saved_share"]
    assert told["verdicts"]["now"]["draft"].keys() <= {"normal", "busy", "overloaded", "unknown"}
    assert told["verdicts"]["now"]["in_force"]["idle"] == 2
    assert told["verdicts"]["regretted"] == 0
    assert told["verdicts"]["regretted_in_force"] == 1
    assert set(told["groups"]["department"]) == {"市民政局", "市考试院"}

    page = staff.get(at).text
    assert "节省与越限" in page
    assert "受影响最大的十台" in page
    assert "审阅并启用" not in page

    shown = chief.get(f"{at}/enact").text
    assert "比现行策略" in shown
    answer = chief.send(f"{at}/enact", {"replay": str(replay.id), "reason": "回放无误收"})
    assert answer.status_code == 302, answer.text
    page = chief.get(answer.headers["Location"]).text
    assert "将生效" in page
    assert "例外:信创池" in page
    with house.reading() as tx:
        made = policies.newest(tx, "default")
        assert made.version == 2
        assert made.policy().sections[0].pools == ("xc",)
        assert made.enacted_by == "authority1"
        tomorrow = tx.now.astimezone(ZONE).date() + timedelta(days=1)
        assert policies.in_force(tx, tomorrow).id == made.id

    # Twice is refused, and so is what was drafted before it.
    assert chief.send(f"{at}/enact", {"replay": str(replay.id), "reason": "再来"}).status_code == 409


def test_a_replay_grows_old(app, house, works, settings, past, client_of, clock):
    staff, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    at = draft(staff, effective_from="2027-01-01")
    worklist.run_once(works, settings, "replay")
    with house.reading() as tx:
        replay = tx.scalars(select(PolicyReplay)).one()
    clock.advance(days=7, minutes=1)
    staff, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    assert chief.send(f"{at}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 409
    assert staff.send(f"{at}/replay").status_code == 302
    clock.advance(minutes=1)
    worklist.run_once(works, settings, "replay")
    # The page that was open showed the older replay.
    assert chief.send(f"{at}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 409
    assert chief.send(f"{at}/enact", {"replay": str(replay.id + 1), "reason": "可以"}).status_code == 302


def test_a_replay_is_of_one_draft(app, house, works, settings, past, client_of, clock):
    """Replaying one draft does not open the way for another."""
    staff, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    first = draft(staff)
    worklist.run_once(works, settings, "replay")
    second = draft(staff, r9_0="50")
    with house.reading() as tx:
        one, other = tx.scalars(select(PolicyDraft).order_by(PolicyDraft.id))
        assert one.digest != other.digest
        replay = tx.scalars(select(PolicyReplay).where(PolicyReplay.state == "done")).one()
    assert chief.send(f"{second}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 409
    assert chief.send(f"{first}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 302
    clock.advance(minutes=1)
    worklist.run_once(works, settings, "replay")
    with house.reading() as tx:
        replay = tx.scalars(select(PolicyReplay).order_by(PolicyReplay.id.desc())).first()
    answer = chief.send(f"{second}/enact", {"replay": str(replay.id), "reason": "可以"})
    assert answer.status_code == 409
    assert "重新起草" in answer.text


def test_what_makes_no_sense_is_said_beside_its_field(app, works, past, client_of):
    staff = client_of(Role.SUPERVISOR)
    page = staff.get("/policies/drafts/new").text
    sent = {**fields(page), "reason": "试", "r9_days": "0", "s0_name": "空", "effective_from": "2020-01-01"}
    answer = staff.send("/policies/drafts/new?", sent)
    assert answer.status_code == 422
    assert "r9_days-error" in answer.text
    answer = staff.send("/policies/drafts/new?", {**sent, "r9_days": "30"})
    assert answer.status_code == 422
    assert "s0_name-error" in answer.text
    answer = staff.send("/policies/drafts/new?", {**sent, "r9_days": "30", "s0_name": ""})
    assert "effective_from-error" in answer.text


def test_as_many_exceptions_as_are_needed(app, house, works, past, client_of):
    """One more is given without losing what was typed; a name left empty takes an exception away."""
    staff = client_of(Role.SUPERVISOR)
    sent = {**fields(staff.get("/policies/drafts/new").text), "reason": "逐池例外"}
    assert [name for name in sent if name.endswith("_name")] == ["s0_name"]
    for k in range(4):
        sent |= {f"s{k}_name": f"例外甲{k}", f"s{k}_level": str(k + 1), f"s{k}_sizing": "steward-safe"}
        page = staff.send("/policies/drafts/new?", {**sent, "more": "1"})
        assert page.status_code == 200
        assert f'value="例外甲{k}"' in page.text
        assert f'name="s{k + 1}_name"' in page.text
        assert "gj-error" not in page.text
    with house.reading() as tx:
        assert tx.scalars(select(PolicyDraft)).all() == []
    assert staff.send("/policies/drafts/new?", {**sent, "s1_name": ""}).status_code == 302
    with house.reading() as tx:
        made = policies.Policy.from_json(tx.scalars(select(PolicyDraft)).one().document)
        assert [(one.name, one.levels) for one in made.sections] == [
            ("例外甲0", (1,)),
            ("例外甲2", (3,)),
            ("例外甲3", (4,)),
        ]


def test_without_history_the_replay_fails_and_says_why(app, house, works, settings, client_of):
    staff = client_of(Role.SUPERVISOR)
    at = draft(staff)
    worklist.run_once(works, settings, "replay")
    page = staff.get(at).text
    assert "上次回放失败" in page
    assert "无法回放" in page


@pytest.mark.parametrize("role", [Role.TENANT, Role.PROVIDER, Role.SYSADMIN])
def test_others_stay_outside(app, works, client_of, role):
    client = client_of(role)
    for url in ("/policies/", "/policies/drafts/new", "/policies/versions/1"):
        assert client.get(url).status_code == 403


def test_yesterday_is_the_last_day(past, works, clock):
    assert works.lake.days()[-1] == clock().astimezone(ZONE).date() - timedelta(days=1)
    assert isinstance(works.lake.days()[0], date)


def test_a_department_declares_its_busy_season(app, house, works, past, client_of):
    tenant, other = client_of("tenant1"), client_of("tenant2")
    mine = re.findall(r'<option value="(d\d+)"', tenant.get("/business/").text)
    theirs = re.findall(r'<option value="(d\d+)"', other.get("/business/").text)
    assert len(mine) == 1
    assert mine != theirs
    sent = {"name": "每月末发放", "recurs": "monthly", "first_day": "-3", "last_day": "2", "festival": ""}
    assert tenant.send("/business/", {**sent, "owner": mine[0]}).status_code == 302
    assert "每月末发放" in tenant.get("/business/").text
    assert "每月末发放" not in other.get("/business/").text
    assert tenant.send("/business/", {**sent, "owner": theirs[0]}).status_code == 422
    answer = tenant.send("/business/", {**sent, "owner": mine[0], "first_day": "0"})
    assert answer.status_code == 422
    assert "first_day-error" in answer.text
    assert other.send("/business/1/withdraw").status_code == 404
    assert tenant.send("/business/1/withdraw").status_code == 302
    assert "每月末发放" not in tenant.get("/business/").text


def test_forecasts_of_what_one_may_see(app, house, works, past, client_of):
    page = client_of(Role.SUPERVISOR).get("/forecasts/")
    assert page.status_code == 200
    assert "信创池" in page.text
    assert "区间上限" in page.text
    assert client_of(Role.SUPERVISOR).get("/forecasts/?of=system:1").status_code == 200
    assert client_of("tenant1").get("/forecasts/?of=pool:1").status_code == 404
