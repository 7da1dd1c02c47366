"""A policy from its draft to its signature: replayed over the city's own past, refused without, shown to who signs."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser

import pytest
from sqlalchemy import select

from console import worklist
from console.marks import chinese
from metering.forecasting import forecasts
from metering.judging import GrowthTerms, policies
from metering.judging.policy import VERDICTS, Section, Verdict, default
from metering.lake.store import Lake
from metering.simulation import drafts, policy_backtests
from metering.simulation.drafts import PolicyDraft
from metering.simulation.policy_backtests import PolicyBacktest
from metering.workbench import Workbench
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import reorganisations
from quota.directory.departments import Department
from quota.directory.pools import Pool
from quota.directory.reorganisations import Adjustment
from quota.inventory import Resource
from tests.metering.past import found_past


@pytest.fixture
def works(house, settings):
    made = Workbench(house, Lake(settings.lake_dir), settings.data)
    with house.transaction(steward()) as tx:
        policies.seed(tx)
    return made


@pytest.fixture
def past(works, house, clock):
    return found_past(house, works, clock().astimezone(ZONE).date())


class Form(HTMLParser):
    """What a browser would send of a page's form if nothing was changed: name → values."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self.select, self.choices, self.many = "", [], False

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        name = given.get("name", "")
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.sent.setdefault(name, []).append(given.get("value") or "")
        elif tag == "textarea":
            self.sent.setdefault(name, []).append("")
        elif tag == "select":
            self.select, self.choices, self.many = name, [], "multiple" in given
        elif tag == "option" and self.select:
            self.choices.append((given.get("value", ""), "selected" in given))

    def handle_endtag(self, tag):
        if tag == "select":
            chosen = [value for value, on in self.choices if on] or [value for value, _on in self.choices[:1]] * (
                not self.many
            )
            if chosen:
                self.sent[self.select] = chosen
            self.select = ""


def fields(html: str) -> dict[str, list[str]]:
    """What the draft's form would send."""
    form = Form()
    form.feed(html)
    return {
        name: values
        for name, values in form.sent.items()
        if re.match(
            r"(effective|reason|hot|sizing|low|high|either|covered|asleep|least|deserted|surplus|delivered|g_|[rst]\d)",
            name,
        )
    }


def draft(client, **changes):
    page = client.get("/policies/drafts/new").text
    sent = {**fields(page), "reason": "闲置门槛放宽", **changes}
    answer = client.send("/policies/drafts/new?", sent)
    assert answer.status_code == 302, re.findall(r'class="gj-error".*?</p>', answer.text, re.S)
    return answer.headers["Location"]


def test_from_draft_to_signature(app, house, works, settings, past, client_of, clock):
    staff, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    at = draft(
        staff,
        sizing="steward-safe",
        s0_name="信创池",
        s0_pools="xc",
        s0_sizing="p95@70",
        s0_sizing_speed="fast",
        s0_rules="spare",
    )
    page = staff.get(at)
    assert "回测进行中" in page.text
    assert "信创池" in page.text

    # Nobody signs what was not replayed.
    assert "启用前须有本版草案七日内的回测结果" in chief.get(f"{at}/enact").text
    assert chief.send(f"{at}/enact", {"replay": "1", "reason": "可以"}).status_code == 409
    assert staff.get(f"{at}/enact").status_code == 403

    # What the version in force did stands beside the draft, once it was reckoned.
    assert "还没有一天的采样日结后核算过" in page.text
    assert worklist.run_once(works, settings, "effects").value == "done"
    page = staff.get(at).text
    assert "现行第1版的成效" in page
    assert "承受的触顶时间" in page

    assert worklist.run_once(works, settings, "replay").value == "done"
    with house.reading() as tx:
        replay = tx.scalars(select(PolicyBacktest)).one()
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

    memory = told["growths"]["draft"]["memory"]
    assert (memory["resources"], memory["full_share"], memory["growths"]) == (6, 0, 0)
    assert told["growths"]["in-force"] == {"memory": memory}
    page = staff.get(at).text
    assert "节省与越限" in page
    assert "受影响最大的十台" in page
    assert "内存、磁盘、带宽与连接数的当日扩容回放" in page
    assert "审阅并启用" not in page

    shown = chief.get(f"{at}/enact").text
    assert "比现行策略" in shown
    answer = chief.send(f"{at}/enact", {"replay": str(replay.id), "reason": "回测无误收"})
    assert answer.status_code == 302, answer.text
    page = chief.get(answer.headers["Location"]).text
    assert "将生效" in page
    assert "例外：信创池" in page
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
        replay = tx.scalars(select(PolicyBacktest)).one()
    clock.advance(days=7, minutes=1)
    staff, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    assert chief.send(f"{at}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 409
    assert staff.send(f"{at}/replay").status_code == 302
    clock.advance(minutes=1)
    worklist.run_once(works, settings, "replay")
    # The page that was open showed the older replay.
    assert chief.send(f"{at}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 409
    assert chief.send(f"{at}/enact", {"replay": str(replay.id + 1), "reason": "可以"}).status_code == 302


def test_nobody_signs_a_draft_of_their_own(app, house, works, settings, past, client_of):
    chief = client_of(Role.AUTHORITY)
    at = draft(chief)
    worklist.run_once(works, settings, "replay")
    with house.reading() as tx:
        replay = tx.scalars(select(PolicyBacktest)).one()
        mine = tx.scalars(select(PolicyDraft)).one().drafted_by
    page = chief.get(f"{at}/enact").text
    assert "本人起草的策略须由另一人启用" in page
    assert 'name="replay"' not in page
    assert f"{at}/enact" not in chief.get("/").text
    assert chief.send(f"{at}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 403
    with house.reading() as tx:
        assert policies.newest(tx, "default").version == 1
    with house.transaction(Actor("other", "另一人", Role.AUTHORITY)) as tx:
        made = drafts.enact(tx, int(at.rsplit("/", 1)[1]), replay.id, reason="复核无误")
        assert (made.version, made.enacted_by, mine) == (2, "other", "authority1")


def test_a_replay_beside_what_holds_no_more_does_not_count(app, house, works, settings, past, client_of, clock):
    """Another version came into force between the replay and the signature: the difference shown is to the old one."""
    today = clock().astimezone(ZONE).date()
    with house.transaction(steward()) as tx:
        coming = replace(default(), hot_level=88.0, effective_from=today + timedelta(days=2))
        coming = policies.enact(tx, coming, reason="后日起生效").id
    staff = client_of(Role.SUPERVISOR)
    at = draft(staff, effective_from=(today + timedelta(days=20)).isoformat())
    worklist.run_once(works, settings, "replay")
    with house.reading() as tx:
        first = tx.scalars(select(PolicyBacktest)).one()
        assert (first.state, first.in_force_id) == ("done", policies.in_force(tx, today).id)
    clock.advance(days=2)
    chief = client_of(Role.AUTHORITY)
    assert "现行策略已换版" in chief.get(f"{at}/enact").text
    assert chief.send(f"{at}/enact", {"replay": str(first.id), "reason": "可以"}).status_code == 409
    staff = client_of(Role.SUPERVISOR)
    staff.send(f"{at}/replay")
    clock.advance(minutes=1)
    worklist.run_once(works, settings, "replay")
    with house.reading() as tx:
        second = tx.scalars(select(PolicyBacktest).order_by(PolicyBacktest.id.desc())).first()
        assert (second.state, second.in_force_id) == ("done", coming)
    assert chief.send(f"{at}/enact", {"replay": str(second.id), "reason": "可以"}).status_code == 302


def test_a_replay_that_a_mistake_of_ours_ends_says_so(app, house, works, settings, past, client_of, monkeypatch):
    staff = client_of(Role.SUPERVISOR)
    at = draft(staff)

    def broken(*_given, **_more):
        raise KeyError("cpu_p97")

    monkeypatch.setattr(policy_backtests.hindsight, "compare", broken)
    assert worklist.run_once(works, settings, "replay").value == "failed"
    with house.reading() as tx:
        replay = tx.scalars(select(PolicyBacktest)).one()
        assert (replay.state, replay.error) == ("failed", "KeyError: 'cpu_p97'")
    assert "回测进行中" not in staff.get(at).text


def test_a_replay_is_of_one_draft(app, house, works, settings, past, client_of, clock):
    """Replaying one draft does not open the way for another."""
    staff, chief = client_of(Role.SUPERVISOR), client_of(Role.AUTHORITY)
    first = draft(staff)
    worklist.run_once(works, settings, "replay")
    second = draft(staff, r10_c0_threshold="6")
    with house.reading() as tx:
        one, other = tx.scalars(select(PolicyDraft).order_by(PolicyDraft.id))
        assert one.digest != other.digest
        replay = tx.scalars(select(PolicyBacktest).where(PolicyBacktest.state == "done")).one()
    assert chief.send(f"{second}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 409
    assert chief.send(f"{first}/enact", {"replay": str(replay.id), "reason": "可以"}).status_code == 302
    clock.advance(minutes=1)
    worklist.run_once(works, settings, "replay")
    with house.reading() as tx:
        replay = tx.scalars(select(PolicyBacktest).order_by(PolicyBacktest.id.desc())).first()
    answer = chief.send(f"{second}/enact", {"replay": str(replay.id), "reason": "可以"})
    assert answer.status_code == 409
    assert "重新起草" in answer.text


def test_what_makes_no_sense_is_said_beside_its_field(app, works, past, client_of):
    staff = client_of(Role.SUPERVISOR)
    page = staff.get("/policies/drafts/new").text
    sent = {**fields(page), "reason": "试", "r10_days": "0", "s0_name": "空", "effective_from": "2020-01-01"}
    answer = staff.send("/policies/drafts/new?", sent)
    assert answer.status_code == 422
    assert "r10_days-error" in answer.text
    answer = staff.send("/policies/drafts/new?", {**sent, "r10_days": "30"})
    assert answer.status_code == 422
    assert "s0_name-error" in answer.text
    answer = staff.send("/policies/drafts/new?", {**sent, "r10_days": "30", "s0_name": ""})
    assert "effective_from-error" in answer.text


def test_as_many_exceptions_as_are_needed(app, house, works, past, client_of):
    """One more is given without losing what was typed; a name left empty takes an exception away."""
    staff = client_of(Role.SUPERVISOR)
    sent = {**fields(staff.get("/policies/drafts/new").text), "reason": "逐池例外"}
    assert [name for name in sent if name.endswith("_name")] == ["s0_name"]
    for k in range(4):
        sent |= {f"s{k}_name": f"例外甲{k}", f"s{k}_levels": str(k + 1), f"s{k}_sizing": "steward-safe"}
        page = staff.send("/policies/drafts/new?", {**sent, "more": "exception"})
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
    assert "上次回测失败" in page
    assert "无法回测" in page


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
    choice = re.compile(r'<select[^>]*name="department".*?</select>', re.S)
    mine, theirs = (
        re.findall(r'<option [^>]*value="([1-9]\d*)"', choice.search(one.get("/business/").text)[0])
        for one in (tenant, other)
    )
    assert len(mine) == 1
    assert mine != theirs
    sent = {"name": "每月末发放", "recurs": "monthly", "first_day": "-3", "last_day": "2", "festival": ""}
    assert tenant.send("/business/", {**sent, "department": mine[0]}).status_code == 302
    assert tenant.send("/business/", sent).status_code == 422  # whose it is must be said
    assert "每月末发放" in tenant.get("/business/").text
    assert "每月末发放" in tenant.get("/business/?export=csv").get_data(as_text=True)
    assert "每月末发放" not in other.get("/business/").text
    assert tenant.send("/business/", {**sent, "department": theirs[0]}).status_code == 422
    answer = tenant.send("/business/", {**sent, "department": mine[0], "first_day": "0"})
    assert answer.status_code == 422
    assert "first_day-error" in answer.text
    assert other.send("/business/1/withdraw").status_code == 404
    assert tenant.send("/business/1/withdraw").status_code == 302
    assert "每月末发放" not in tenant.get("/business/").text


def test_forecasts_of_what_one_may_see(app, house, works, settings, past, client_of):
    page = client_of(Role.SUPERVISOR).get("/forecasts/")
    assert page.status_code == 200
    assert "信创池" in page.text
    assert "区间上限" in page.text
    assert client_of(Role.SUPERVISOR).get("/forecasts/?of=system:1").status_code == 200
    assert client_of("tenant1").get("/forecasts/?of=pool:1").status_code == 404
    # What the night kept is shown as it was made; who sees a part alone gets a forecast of that part.
    with house.transaction(steward()) as tx:
        pool = tx.scalar(select(Pool))
        tx.scalars(select(Resource).where(Resource.name == "office")).one().gone_at = tx.now
    worklist.run_once(works, settings, "forecast")
    with house.reading() as tx:
        told = forecasts.kept(tx, "pool", pool.id)
        assert told is not None
    page = client_of(Role.SUPERVISOR).get(f"/forecasts/?of=pool:{pool.id}").text
    assert f"依据截至 {told.last} 的日结数据" in page
    assert "达到主机规格的70%" in page
    assert f"/forecasts/?of=pool:{pool.id}" in client_of(Role.SUPERVISOR).get(f"/pools/{pool.id}").text


def drafted(house) -> policies.Policy:
    """The draft that was made last."""
    with house.reading() as tx:
        return policies.Policy.from_json(
            tx.scalars(select(PolicyDraft).order_by(PolicyDraft.id.desc())).first().document
        )


def test_rules_are_added_changed_moved_and_dropped(app, house, works, past, client_of):
    """Whatever a policy can say is said by the form alone; a rule belongs to the city or to an exception."""
    staff = client_of(Role.SUPERVISOR)
    before = default()
    sent = {**fields(staff.get("/policies/drafts/new").text), "reason": "逐类修订"}
    for _extra in range(3):
        sent = {**fields(staff.send("/policies/drafts/new?", {**sent, "more": "rule"}).text), "reason": "逐类修订"}
    n = len(before.rules)
    assert f"r{n + 2}_verdict" in sent
    sent = {**fields(staff.send("/policies/drafts/new?", {**sent, "more": f"c{n}"}).text), "reason": "逐类修订"}
    assert f"r{n}_c2_figure" in sent
    sent |= {
        # A database with few connections and little stored, before everything else.
        f"r{n}_verdict": "underused", f"r{n}_order": "1", f"r{n}_days": "21", f"r{n}_coverage": "80",
        f"r{n}_kinds": ["database", "middleware"],
        f"r{n}_c0_figure": "conn_max", f"r{n}_c0_op": "<=", f"r{n}_c0_threshold": "4",
        f"r{n}_c1_figure": "disk_last", f"r{n}_c1_op": "<", f"r{n}_c1_threshold": "20",
        f"r{n}_c2_figure": "coverage", f"r{n}_c2_op": ">=", f"r{n}_c2_threshold": "95", f"r{n}_c2_missing": "fail",
        # Cards of one pool.
        f"r{n + 1}_verdict": "idle", f"r{n + 1}_order": "2", f"r{n + 1}_days": "7", f"r{n + 1}_coverage": "90",
        f"r{n + 1}_kinds": "accelerator", f"r{n + 1}_scope": "0",
        f"r{n + 1}_c0_figure": "card_mean", f"r{n + 1}_c0_op": "<", f"r{n + 1}_c0_threshold": "3",
        # Left blank: nothing.
        f"r{n + 2}_verdict": "",
        "r14_drop": "y",
        "r3_order": "200",
        "hot_level": "85", "hot_minutes": "45",
        "s0_name": "加速卡", "s0_kinds": ["accelerator"], "s0_pools": ["xc"], "s0_rules": "before",
        "s0_sizing": "steward-safe", "s0_sizing_regret": "40", "s0_sizing_half_life": "3", "s0_sizing_margin": "1.2",
        "s0_sizing_speed": "fast",
        "s0_growing": "y", "s0_g_memory": "y", "s0_g_memory_level": "85", "s0_g_memory_samples": "6",
        "sizing": "peak14x1.15-daily", "sizing_days": "21", "sizing_speed": "",
    }  # fmt: skip
    answer = staff.send("/policies/drafts/new?", sent)
    assert answer.status_code == 302, re.findall(r'gj-error".*?</p>', answer.text, re.S)
    made = drafted(house)
    first = made.rules[0]
    assert (first.verdict, first.days, first.coverage, first.kinds) == (
        "underused",
        21,
        0.8,
        ("database", "middleware"),
    )
    assert [(c.figure, c.op, c.threshold, c.missing) for c in first.conditions] == [
        ("conn_max", "<=", 4, "unknown"),
        ("disk_last", "<", 20, "unknown"),
        ("coverage", ">=", 0.95, "fail"),
    ]
    assert made.rules[-1] == before.rules[3]  # moved behind the others
    assert before.rules[14] not in made.rules  # dropped
    assert len(made.rules) == n
    assert (made.hot_level, made.hot_minutes, made.sizing) == (85, 45, "peak21x1.15-daily")
    section = made.sections[0]
    assert (section.pools, section.kinds, section.sizing) == (("xc",), ("accelerator",), "steward-L40-h3-m1.2+fast")
    assert section.rules[0].conditions[0].threshold == 3
    assert section.rules[1:] == made.rules
    assert section.growths == (GrowthTerms("memory", level=85, samples=6), *default().growths[1:])
    page = staff.get(answer.headers["Location"]).text
    assert "成本分位·均衡：欠配代价系数 L 40、半衰期（天） 3、余量倍数 1.2、快" in page

    # What was drafted comes back as it was written.
    with house.transaction(steward()) as tx:
        policies.enact(tx, made, reason="试")
    again = {**fields(staff.get("/policies/drafts/new").text), "reason": "原样"}
    assert staff.send("/policies/drafts/new?", again).status_code == 302
    once_more = drafted(house)
    assert replace(once_more, version=made.version, effective_from=made.effective_from) == made


@pytest.mark.parametrize(
    ("changes", "beside"),
    [
        ({"r10_coverage": "30"}, "r10_coverage"),
        ({"r10_days": "3"}, "r10_days"),
        ({"r10_days": "x"}, "r10_days"),
        ({"r10_c0_missing": "pass"}, "r10_c0_figure"),
        ({"r10_c0_threshold": ""}, "r10_c0_figure"),
        ({"r10_c0_threshold": "nan"}, "r10_c0_figure"),
        ({"r10_c0_threshold": "1e400"}, "r10_c0_figure"),
        ({"r10_c0_figure": "no_such"}, "r10_c0_figure"),
        ({"r10_verdict": "no_such"}, "r10_verdict"),
        ({"r10_kinds": []}, "r10_kinds"),
        ({"r10_scope": "7"}, "r10_scope"),
        ({"r10_c0_figure": "", "r10_c1_figure": "", "r10_c2_figure": ""}, "r10_c0_figure"),
        ({"sizing_margin": "1.2"}, "sizing_margin"),
        ({"sizing": "steward-safe", "sizing_regret": "0"}, "sizing_regret"),
        ({"sizing": "p95x1.15", "sizing_speed": "fast"}, "sizing_speed"),
        ({"sizing": "peak14x1.15-daily", "sizing_days": "2.5"}, "sizing_days"),
        ({"sizing": "oracle"}, "sizing"),
        ({"s0_name": "甲", "s0_pools": "xc", "s0_rules": "own"}, "s0_rules"),
        ({"s0_name": "甲", "s0_pools": "xc", "s0_sizing_margin": "1.2", "s0_rules": "spare"}, "s0_sizing_margin"),
        ({"r10_scope": "0"}, "r10_scope"),
        ({"hot_level": "0"}, "hot_level"),
        ({"g_memory_level": "49"}, "g_memory_level"),
        ({"g_memory_level": ""}, "g_memory_level"),
        ({"g_memory_samples": "13"}, "g_memory_samples"),
        ({"g_memory_samples": "2.5"}, "g_memory_samples"),
        ({"g_memory_step": "nan"}, "g_memory_step"),
        ({"g_memory_calm": "95"}, "g_memory_calm"),
        ({"g_line_most": "1.2"}, "g_line_most"),
        ({"g_disk_level": "80"}, "g_disk_level"),
        ({"s0_name": "甲", "s0_pools": "xc", "s0_growing": "y", "s0_g_line_step": "9"}, "s0_g_line_step"),
    ],
)  # fmt: skip
def test_bad_input_is_answered_at_its_field(app, house, works, past, client_of, changes, beside):
    staff = client_of(Role.SUPERVISOR)
    sent = {**fields(staff.get("/policies/drafts/new").text), "reason": "试", **changes}
    answer = staff.send("/policies/drafts/new?", sent)
    assert answer.status_code == 422
    assert f'id="{beside}-error"' in answer.text
    with house.reading() as tx:
        assert tx.scalars(select(PolicyDraft)).all() == []


def test_growth_of_each_class_is_laid_down_in_plain_words(app, house, works, past, client_of):
    staff = client_of(Role.SUPERVISOR)
    page = staff.get("/policies/drafts/new").text
    assert chinese("当日扩容：连接数使用率") in page
    sent = fields(page)
    assert sent["g_memory_calm"] == ["80.0"]
    assert "g_disk_calm" not in sent, "a disk is not given back"
    assert drafted_as(house, staff, {**sent, "reason": "照旧"}).growths == default().growths
    sent |= {"g_memory_level": "90", "g_memory_samples": "6", "reason": "内存早些扩，连接数不扩"}
    for gauge in ("connections", "card", "memory_wait"):
        del sent[f"g_{gauge}"]
    made = drafted_as(house, staff, sent).growths
    assert made == (GrowthTerms("memory", level=90, samples=6), *default().growths[1:3])
    with house.reading() as tx:
        last = tx.scalars(select(PolicyDraft.id).order_by(PolicyDraft.id.desc())).first()
    page = staff.get(f"/policies/drafts/{last}").text
    assert chinese("最近一小时的12个样本中有6个达到现规格的90%，即扩到至少1.5倍、至多原规格的2倍") in page


def drafted_as(house, staff, sent) -> policies.Policy:
    """What was drafted last by sending this."""
    answer = staff.send("/policies/drafts/new?", sent)
    assert answer.status_code == 302, re.findall(r'class="gj-error".*?</p>', answer.text, re.S)
    with house.reading() as tx:
        return tx.scalars(select(PolicyDraft).order_by(PolicyDraft.id.desc())).first().policy()


def test_an_older_house_takes_over_what_was_built_in_since(app, house, works, past, client_of, clock):
    """Founded before databases and lines had rules: both are offered, listed, changed and taken over."""
    old = [one for one in default().rules if one.kinds not in (("bandwidth",), ("database", "middleware"))]
    with house.transaction(steward()) as tx:
        policies.enact(
            tx, replace(default(), rules=tuple(old), effective_from=clock().astimezone(ZONE).date()), reason="旧版"
        )
    staff = client_of(Role.SUPERVISOR)
    page = staff.get("/policies/drafts/new").text
    assert "内置规则中本策略还没有的" in page
    sent = {**fields(page), "reason": "接入新规则"}
    listed = staff.send("/policies/drafts/new?", {**sent, "t0": "y", "more": "take"})
    assert listed.status_code == 200
    sent = {**fields(listed.text), "reason": "接入新规则"}
    n = len(old)
    assert sent[f"r{n}_c0_figure"] == ["conn_max"]
    assert (
        staff.send("/policies/drafts/new?", {**sent, f"r{n}_days": "45", "t1": "y", "t2": "y", "t3": "y"}).status_code
        == 302
    )
    made = drafted(house)
    verdicts = [VERDICTS.index(one.verdict) for one in made.rules]
    assert len(made.rules) == len(default().rules)
    # Behind the last of their class, and what stood there stays in its order.
    assert [one for one in made.rules if one in old] == old
    assert VERDICTS.index(Verdict.IDLE) in verdicts
    ours = {(one.verdict, one.kinds): one for one in made.rules}
    assert ours["idle", ("database", "middleware")].days == 45
    assert ours["busy", ("bandwidth",)] in default().rules
    assert ours["busy", ("database", "middleware")] in default().rules
    assert ours["underused", ("bandwidth",)] in default().rules


def test_a_merged_department_is_shown_with_its_successor_wherever_a_policy_names_it(app, house, client_of, clock):
    with house.reading() as tx:
        tops = select(Department).where(Department.parent_id.is_(None)).order_by(Department.id)
        one, other = tx.scalars(tops.limit(2)).all()
    section = Section("本单位", departments=(one.code,), sizing="steward-safe")
    with house.transaction(Actor("authority1", "主管", Role.AUTHORITY)) as tx:
        merger = reorganisations.reorganise(tx, Adjustment.MERGE, one.id, other.id, reason="机构改革", key="merger").id
    with house.transaction(steward()) as tx:
        begins = clock().astimezone(ZONE).date()
        policies.enact(tx, replace(default(), effective_from=begins, sections=(section,)), reason="一单位另定")
    staff, told = client_of(Role.SUPERVISOR), f"{one.name}（已并入{other.name}）"
    assert f"单位：{told}" in staff.get("/policies/").text
    page = staff.get("/policies/drafts/new").text
    assert re.search(rf'value="{one.id}" checked> <span class="form-check-label">{re.escape(told)}</span>', page)
    sent = {**fields(page), "reason": "试", "effective_from": f"{begins + timedelta(days=1)}"}
    assert staff.send("/policies/drafts/new?", sent).status_code == 302
    assert drafted(house).sections[0].departments == (one.code,)
    with house.transaction(Actor("authority1", "主管", Role.AUTHORITY)) as tx:
        reorganisations.undo(tx, merger, reason="方案调整")
    page = staff.get("/policies/").text
    assert f"单位：{one.name}" in page
    assert "已并入" not in page


@pytest.mark.parametrize(
    ("name", "said"), [("steward-balanced+swift", "按实际执行"), ("steward-tide", "只作回测，不执行")]
)
def test_who_signs_sees_what_is_carried_out(app, house, works, settings, past, client_of, name, said):
    """Growth within the day is shown as the look within the day makes it, sizes by the tide as what nobody carries out."""
    with house.transaction(Actor("supervisor1", "督", Role.SUPERVISOR)) as tx:
        document = replace(default(), sizing=name, effective_from=tx.now.astimezone(ZONE).date() + timedelta(days=7))
        draft_id = drafts.draft(tx, document, reason="试行当日扩容与时段规格").id
    assert client_of(Role.SUPERVISOR).send(f"/policies/drafts/{draft_id}/replay").status_code == 302
    worklist.run_once(works, settings, "replay")
    page = client_of(Role.AUTHORITY).get(f"/policies/drafts/{draft_id}").text
    assert said in page
    assert "本草案，按实际执行" in page
    with house.reading() as tx:
        marks = tx.scalar(select(PolicyBacktest)).result["sizing"]["policies"]
    assert {"executed", "draft"} <= marks.keys()
