"""The replay as people call it: the command's JSON, shapes from files, groups, merged results, the document."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from console.cli.commands import main
from metering import drawings
from metering.series import flatten
from metering.simulation import judgement_report
from metering.sizing import backtest, outcomes, shapes
from metering.sizing.rightsizing import Fast, Profile, Tide
from tests.suite import outside

DAY = 288
ISSUE = {
    "violation_rate",
    "net_cores_saved_share",
    "unserved_share_of_demand",
    "vms_violating_over_1pct",
    "vms_violating_over_5pct",
    "changes_per_vm_30d",
    "moves_per_vm_30d",
}


def call(*words):
    return CliRunner().invoke(main, ["backtest", *map(str, words)])


class TestTheCommand:
    @pytest.mark.parametrize("dataset", ["nab_aws_cloudwatch", "google2011_gcd1600"])
    def test_json_says_exactly_what_was_asked(self, traces, dataset):
        names = ["p95x1.15", "steward-safe", "steward-economy+fast"]
        answer = call(traces / f"{dataset}.parquet", "--policy", ",".join(names), "--json")
        told = json.loads(answer.stdout)
        assert set(told) == {"dataset", "vms", "policies"}
        assert told["dataset"] == dataset
        assert list(told["policies"]) == names
        for marks in told["policies"].values():
            assert set(marks) == ISSUE | {"as_carried_out"}
            assert set(marks["as_carried_out"]) == ISSUE
            assert 0 <= marks["violation_rate"] <= 1

    def test_a_recording_with_memory_is_asked_what_growth_of_it_would_have_done(self, tmp_path):
        """Memory full for an hour and three quarters, of one of two machines, the other telling none; as share or as MB."""
        n = 3 * DAY
        share = np.full(n, 50.0)
        share[400:421] = 97.0
        rows = {
            "vm_id": np.repeat(["a", "b"], n),
            "ts": np.tile(np.arange(n) * 300 + 1_700_000_100, 2),
            "cpu_pct": np.full(2 * n, 10.0),
        }
        both = np.concatenate([share, np.full(n, np.nan)])
        for columns in ({"mem_pct": both}, {"mem_used_mb": 81.92 * both, "mem_total_mb": np.full(2 * n, 8192.0)}):
            pq.write_table(pa.table({**rows, **columns}), tmp_path / "made.parquet")
            told = json.loads(call(tmp_path / "made.parquet", "--policy", "p95x1.15", "--json", "--detail").stdout)
            found = told["growths"]["memory"]
            assert (found["resources"], found["growths"], found["returned"]) == (1, 1, 1)
            assert found["full_share"] == pytest.approx(21 / n)
            assert found["left_share"] == pytest.approx(3 / n)
            assert found["lent_share"] == pytest.approx(65 * 0.5 / n), "half as much again until an hour and three more"
        assert "memory within the day" in call(tmp_path / "made.parquet", "--policy", "steward-safe").output

    def test_every_policy_of_the_issue_has_its_name(self):
        asked = {"p95x1.15", "p99x1.15", "peakx1.15", "vpa-p90-daily", "vpa-p95-daily", "peak14x1.15-daily"}
        profiles = {f"steward-{one}{fast}" for one in ("safe", "balanced", "economy") for fast in ("", "+fast")}
        assert asked | profiles <= set(backtest.NAMES)

    def test_whole_shapes_tell_what_they_caused(self, traces, tmp_path):
        file = tmp_path / "shapes.csv"
        file.write_text("code,vcpu,memory_gb\n2C4G,2,4\n4C8G,4,8\n8C16G,8,16\n", encoding="utf-8")
        trace = traces / "bitbrains_faststorage50.parquet"
        told = json.loads(call(trace, "--policy", "steward-safe", "--shapes", file, "--json").stdout)
        marks = told["policies"]["steward-safe"]
        assert set(marks) == ISSUE | {"caused_rate", "as_carried_out"}
        assert set(marks["as_carried_out"]) == ISSUE | {"caused_rate"}
        assert marks["caused_rate"] <= marks["violation_rate"]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("nowhere.parquet",), "nowhere.parquet"),
            ((), "give PATH"),
            (("{rnd}", "--policy", "steward-bold"), "steward-bold"),
        ],
    )
    def test_what_is_wrong_is_named(self, traces, words, said):
        answer = call(*(str(word).replace("{rnd}", str(traces / "nab_aws_cloudwatch.parquet")) for word in words))
        assert answer.exit_code == 2
        assert said in answer.output

    def test_shapes_need_cores(self, traces, tmp_path):
        (tmp_path / "s.json").write_text("[1, 2]", encoding="utf-8")
        answer = call(traces / "nab_aws_cloudwatch.parquet", "--shapes", tmp_path / "s.json")
        assert answer.exit_code == 2
        assert "cores" in answer.output

    def test_the_document_has_a_chart_for_each_set(self, traces, tmp_path):
        folder = tmp_path / "traces"
        folder.mkdir()
        (folder / "nab_aws_cloudwatch.parquet").symlink_to(traces / "nab_aws_cloudwatch.parquet")
        answer = call("--all", folder, "--write", tmp_path / "judgement.md")
        assert answer.exit_code == 0, answer.output
        text = (tmp_path / "judgement.md").read_text(encoding="utf-8")
        assert "| steward-safe" in text or "| **steward-safe" in text
        if traces == outside.PUBLISHED:
            assert "| **steward-" in text
        assert "loses" in text or "wins" in text or "saves" in text
        drawn = ET.parse(tmp_path / "judgement" / "nab_aws_cloudwatch.svg").getroot()
        assert len(drawn.findall(".//{http://www.w3.org/2000/svg}circle")) == sum(
            name.startswith("steward") for name in backtest.NAMES
        )


def test_the_document_begins_with_the_target_and_what_is_reached():
    """A machine at a quarter of its size saves enough; one at nine tenths can't, and the 14-day peak with no margin beats nobody there."""
    found = {}
    for level in (2500, 9000):
        shape = (1, 30 * DAY)
        series = flatten("made", ("m",), 1000 * DAY, np.full(shape, level, np.uint16), np.ones(shape, np.uint8))
        results = backtest.run(series, [f"{judgement_report.OURS}!", "steward-safe!"])
        ours, other = results[f"{judgement_report.OURS}!"], results["steward-safe!"]
        carried = {judgement_report.OURS: ours, "steward-safe": other}
        found[level] = judgement_report._target(carried, ours)
        assert "`p95@70+fast`: 0.000 % violations at " in judgement_report._house(other, ours)
        beaten = judgement_report._beaten(series, ours)
        assert ("peak14x1-daily" in beaten, "peak14x3-daily" in beaten) == (True, False), beaten
    assert "| net cores saved, % | ≥ 58 | 71.5 | yes |" in found[2500]
    assert "| violations, % of samples | ≤ 0.1 | 0.000 | yes |" in found[2500]
    assert "| net cores saved, % | ≥ 58 | 0.0 | **no** |" in found[9000]
    told = judgement_report._lines({"a": [], "b": ["vpa-p95-daily"]})
    assert told.endswith("on b by `vpa-p95-daily`.\n")
    assert "on none of 1 set." in judgement_report._lines({"a": []})


class TestShapes:
    @pytest.mark.parametrize(
        "text",
        [
            '[{"code": "2C4G", "vcpu": 2, "memory_gb": 4}, {"vcpu": 4}]',
            '{"shapes": [2, 4]}',
            "vcpu,memory_gb\n2,4\n4,\n",
        ],
    )
    def test_as_people_have_them(self, tmp_path, text):
        (tmp_path / "s").write_text(text, encoding="utf-8")
        assert [(one.vcpu, one.memory_gb) for one in shapes.read(tmp_path / "s")] == [(2, 4), (4, 8)]

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("vcpu\n2\nvier\n", "line 3"),
            ('[{"vcpu": 2}, {"vcpu": 0}]', "entry 2"),
            ("cores\n2\n", "line 1"),
            ("[2,\n 3", "line 2"),
            ('{"shape": []}', "shapes"),
            ("[]", "no shapes"),
            ("[true]", "entry 1"),
            ("[" * 100_000, "nested too deeply"),
            ("vcpu\n1.5\n", "line 2"),
        ],
    )
    def test_errors_name_the_place(self, tmp_path, text, place):
        (tmp_path / "s").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=place):
            shapes.read(tmp_path / "s")

    def test_not_text(self, tmp_path):
        (tmp_path / "s").write_bytes(b"\xff\xfe2\x00")
        with pytest.raises(ValueError, match="UTF-8"):
            shapes.read(tmp_path / "s")


def workday(days=40, high=4000, low=400, cores=8.0):
    """One machine that works from 9 to 12 each day."""
    cpu = np.full((1, days * DAY), low, np.uint16).reshape(1, days, DAY)
    cpu[:, :, 9 * 12 : 12 * 12] = high
    shape = (1, days * DAY)
    return flatten("workday", ("m",), 1000 * DAY, cpu.reshape(shape), np.ones(shape, np.uint8), np.full(shape, cores))


class TestFollowingTheDay:
    def test_a_regular_day_is_followed_without_harm(self):
        tide = Profile("tide", 80.0, fast=Fast(), tide=Tide(days=5, hours=1, around=0))
        daily = Profile("daily", 80.0)
        results = backtest.run(workday(), [Profile("tide", 1e-9, fast=Fast(), tide=tide.tide), daily], utc_offset_s=0)
        assert results["tide"].violations[0] == 0
        saved = {name: each.summary()["net_cores_saved_share"] for name, each in results.items()}
        assert saved["daily"] == pytest.approx(1 - 0.45)
        # 21 of 24 hours at 4 % x 1.1 + 1 point, three at 40 % x 1.1 + 1 point
        assert saved["tide"] == pytest.approx(1 - (21 * 0.054 + 3 * 0.45) / 24, abs=2e-3)
        assert results["tide"].summary()["moves_per_vm_30d"] == pytest.approx(60, abs=4)
        assert results["tide"].summary()["changes_per_vm_30d"] == 0

    def test_a_day_is_sized_from_the_days_before_it(self):
        series = workday()
        series.cpu[30 * DAY : 31 * DAY] = 9000
        result = backtest.run(series, [Profile("t", 1e-9, fast=Fast(check_slots=3), tide=Tide())], utc_offset_s=0)
        assert 0 < result["t"].violations[0] <= 3 + 6


class TestTheDefaultSizing:
    def test_p95_at_seventy(self):
        result = backtest.run(workday(), ["p95@70"], utc_offset_s=0)["p95@70"]
        assert result.final[0] == pytest.approx(8 * 0.40 / 0.7, abs=0.02)
        assert result.changes[0] == 0
        assert result.violations[0] == 0

    @pytest.mark.parametrize("name", ["p95@0", "p95@120", "p101@70"])
    def test_other_names_are_refused(self, name):
        with pytest.raises(ValueError, match="no sizing policy"):
            backtest.policy(name)


class TestPartByPart:
    def test_the_same_as_all_at_once(self):
        series = [workday(high=high) for high in (2000, 4000, 8000)]
        names = ("p95x1.15", "steward-safe+fast", "steward-tide", "p95@70")
        apart = backtest.run_parts(iter(series), names)
        for name in names:
            for i, one in enumerate(series):
                alone = backtest.run(one, [name])[name]
                assert apart[name].violations[i] == alone.violations[0]
                assert apart[name].final[i] == alone.final[0]

    def test_merged_by_machine(self):
        parts = backtest.run_parts([workday(high=high) for high in (2000, 4000)], ["p95x1.15", "steward-safe"])
        mixed = outcomes.merge(parts, ["p95x1.15", "steward-safe"], "mixed")
        assert mixed.final[0] == parts["p95x1.15"].final[0]
        assert mixed.final[1] == parts["steward-safe"].final[1]
        with pytest.raises(ValueError, match="choices"):
            outcomes.merge(parts, ["p95x1.15"], "mixed")

    def test_against_what_is_in_force(self):
        results = backtest.run(workday(), ["p95x1.15", "steward-safe"])
        told = outcomes.report("w", results, against="p95x1.15", detail=True)
        assert told["in_force"] == "p95x1.15"
        assert set(told["policies"]["p95x1.15"]["against_in_force"].values()) == {0}
        ours, theirs = (results[name].summary()["cores_at_end"] for name in ("steward-safe", "p95x1.15"))
        assert told["policies"]["steward-safe"]["against_in_force"]["cores_at_end"] == pytest.approx(ours - theirs)


def test_drawings_are_whole_whatever_the_figures():
    points = [drawings.FrontierPoint("a<b", 0.0, -40.0), drawings.FrontierPoint("c", 5.0, 90.0, ours=True, best=True)]
    ET.fromstring(drawings.frontier("x & y", points))
    ET.fromstring(drawings.panels("none", []))
    ET.fromstring(drawings.panels("gap", [drawings.Panel("m", [float("nan"), 1.0], {"p": [1.0, 2.0]})]))


def test_charts_of_the_docs_are_there():
    docs = Path(__file__).resolve().parents[2] / "docs"
    text = (docs / "judgement.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("!["):
            assert (docs / line.rsplit("(", 1)[1].rstrip(")")).is_file(), line
