"""Alert rules and the dashboard that are handed out: what promtool says of them, and that all they name is there."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from console.jobs import PLAN
from tests.suite.outside import ROOT

RULES = ROOT / "deploy" / "prometheus" / "guanjia.rules.yml"
TESTS = RULES.with_name("guanjia.rules.test.yml")
DASHBOARD = ROOT / "deploy" / "grafana" / "guanjia.json"
BY_REQUEST = {"replay", "verify_asked"}
"""Jobs that do something only when somebody asked."""


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [one for group in groups for one in group["rules"] if "alert" in one]


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", RULES.name)


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", TESTS.name)


def test_of_each_alert_it_is_tried_that_it_fires_and_that_it_does_not() -> None:
    named = [(one["alert"], one["labels"].get("period", "")) for one in alerts()]
    assert len(set(named)) == len(named)
    fires, quiet = [], []
    for test in yaml.safe_load(TESTS.read_text("utf-8"))["tests"]:
        for tried in test["alert_rule_test"]:
            fires += [(tried["alertname"], one["exp_labels"].get("period", "")) for one in tried["exp_alerts"]]
            quiet += [tried["alertname"]] * (not tried["exp_alerts"])
    assert sorted(set(fires)) == sorted(named)
    assert sorted(quiet) == sorted(name for name, _period in named)


def test_each_alert_says_how_grave_it_is_what_it_is_and_where_to_read_on() -> None:
    for one in alerts():
        assert one["labels"]["severity"] in {"critical", "warning", "info"}, one["alert"]
        said = one["annotations"]
        assert set(said) == {"summary", "description", "runbook"}, one["alert"]
        assert (ROOT / said["runbook"]).is_file(), one["alert"]


def test_every_job_by_the_clock_is_watched_and_no_other() -> None:
    watched: list[str] = []
    for one in alerts():
        if one["alert"] == "GuanjiaJobNotDone":
            (names,) = re.findall(r'exported_job=~?"([^"]+)"', one["expr"])
            watched += names.split("|")
    assert sorted(watched) == sorted(plan.name for plan in PLAN if plan.name not in BY_REQUEST)


def test_the_panels_of_the_dashboard_lie_beside_each_other_and_each_has_title_unit_and_source() -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    panels = dashboard["panels"]
    assert [one["title"] for one in panels if one["type"] == "row"] == [
        "全市", "部门", "资源池", "申请与工单", "案件", "来源与作业", "管家自身",
    ]  # fmt: skip
    assert len({one["id"] for one in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for one in panels:
        at = one["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, one["title"]
        assert max(x for x, _y in cells) < 24, one["title"]
        taken |= cells
        assert one["title"]
        if one["type"] != "row":
            assert one["fieldConfig"]["defaults"]["unit"], one["title"]
            assert {target["datasource"]["uid"] for target in one["targets"]} == {"${datasource}"}
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([one.get("targets") for one in panels]) + json.dumps(panels)))
    assert used - {"__rate_interval"} == variables
