"""Usage with headings of somebody's own, read as a person said: units, zones, shares and per cent, rows of a metric, totals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from providers.adapters.files import FilesCloud
from providers.mappings import looks
from providers.readers import (
    ColumnMapping,
    Convention,
    Refusals,
    UsageFile,
    column_mapping,
    read_usage_files,
    sheet_purposes,
)
from quota.errors import Invalid
from tests.providers.test_conformance import NOW

USAGE = sheet_purposes.USAGE
HEADS = ["主机标识", "采集时刻", "处理器占用率", "内存占用比", "入向", "备注"]
COLUMNS = {
    "id": "主机标识",
    "time": "采集时刻",
    "cpu_pct": "处理器占用率",
    "mem_pct": "内存占用比",
    "net_rx_kbps": "入向",
}
UNITS = {"time": "UTC+8", "cpu_pct": "%", "mem_pct": "0-1", "net_rx_kbps": "Mbit/s"}
AT = 1_795_132_800  # 2026-11-20 08:00 in Beijing


def wanted(**change) -> ColumnMapping:
    said = {"heads": HEADS, "columns": COLUMNS, "units": UNITS, "words": {}, **change}
    return column_mapping.mapping(said["heads"], said["columns"], said["units"], said["words"], USAGE)


def sheet(folder: Path, rows: list[str], heads: list[str] = HEADS, title: str = "") -> Path:
    path = folder / "usage.csv"
    path.write_text(title + ",".join(heads) + "\n" + "\n".join(rows) + "\n", "utf-8")
    return path


def read(path: Path, *mappings: ColumnMapping, **more):
    """({(machine, second): {metric: figure}}, the report of the file)."""
    report = Refusals()
    found = {}
    for batch in read_usage_files([UsageFile(path, path.name)], report, Convention(mappings=mappings, **more)):
        for row in batch.table.to_pylist():
            figures = {
                name: round(value, 3)
                for name, value in row.items()
                if name not in ("resource", "ts") and value == value
            }
            found[batch.external_ids[row["resource"]], row["ts"]] = figures
    return found, report.files[0]


ROWS = ["m-1,2026-11-20 08:00,12.5,0.42,3,甲", "m-2,2026-11-20 08:00,80,0.9,0.5,乙", "合计,,92.5,1.32,3.5,"]


@pytest.mark.parametrize("title", ["", "某云资源使用情况\n导出人：张三\n"])
def test_units_and_zone_are_a_persons_and_totals_are_left_out(tmp_path, title) -> None:
    found, report = read(sheet(tmp_path, ROWS, title=title), wanted())
    assert found == {
        ("m-1", AT): {"cpu_pct": 12.5, "mem_pct": 42.0, "net_rx_kbps": 3000.0},
        ("m-2", AT): {"cpu_pct": 80.0, "mem_pct": 90.0, "net_rx_kbps": 500.0},
    }
    assert (report.rows, report.refused, report.error) == (2, 0, None)
    notes = {one.code: one.params for one in report.notes}
    assert notes["column.unused"] == {"columns": "备注"}
    assert "rows.total" in notes or any("total" in code for code in notes), notes

    # Columns in another order are the same headings; one column more is another question.
    turned = [",".join(reversed(row.split(","))) for row in ROWS]
    assert read(sheet(tmp_path, turned, HEADS[::-1]), wanted())[0] == found
    assert (
        read(sheet(tmp_path, [row + ",x" for row in ROWS], [*HEADS, "新列"]), wanted())[1].error.code == "file.unknown"
    )
    assert read(sheet(tmp_path, ROWS))[1].error.code == "file.unknown"


def test_what_is_no_share_is_not_read_as_one_and_what_may_be_one_is_said(tmp_path) -> None:
    path = sheet(tmp_path, [row.replace("0.42", "42") for row in ROWS])
    found, report = read(path, wanted())
    assert found == {}
    assert (report.error.code, report.error.params["header"], report.error.params["most"]) == (
        "share.not",
        "内存占用比",
        42.0,
    )
    path = sheet(tmp_path, ["m-1,2026-11-20 08:00,0.3,0.42,3,", "m-1,2026-11-20 08:05,0.9,1.2,3,"])
    found, report = read(path, wanted())
    assert found["m-1", AT + 300] == {"cpu_pct": 0.9, "mem_pct": 120.0, "net_rx_kbps": 3000.0}
    assert [one.params["header"] for one in report.notes if one.code == "share.doubtful"] == ["处理器占用率"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"units": {**UNITS, "mem_pct": ""}}, "mem_pct"),
        ({"units": {**UNITS, "time": ""}}, "time"),
        ({"units": {**UNITS, "net_rx_kbps": "GB"}}, "net_rx_kbps"),
        ({"columns": {"id": "主机标识", "cpu_pct": "处理器占用率"}}, "time"),
        ({"columns": {"time": "采集时刻", "cpu_pct": "处理器占用率"}}, "id"),
        ({"columns": {"id": "主机标识", "time": "采集时刻"}}, "cpu_pct"),
        ({"columns": {**COLUMNS, "value": "备注"}}, "metric"),
        ({"columns": {**COLUMNS, "mem_used_mb": "备注"}, "units": {**UNITS, "mem_used_mb": "GB"}}, "mem_used_mb"),
        ({"columns": {**COLUMNS, "department": "备注"}}, "department"),
        ({"columns": {**COLUMNS, "disk_pct": "没有"}}, "disk_pct"),
    ],
)
def test_what_a_mapping_of_usage_must_say(change, field) -> None:
    with pytest.raises(Invalid) as refused:
        wanted(**change)
    assert refused.value.params["field"] == field


def test_a_row_a_metric_by_names_that_a_person_explained(tmp_path) -> None:
    heads = ["主机标识", "采集时刻", "监控项", "读数"]
    columns = {"id": "主机标识", "time": "采集时刻", "metric": "监控项", "value": "读数"}
    words = {"metric": {"CPU平均负荷": "cpu_pct 0-1", "占用内存": "mem_used_mb GB", "内存总": "mem_mb GB", "温度": "-"}}
    said = wanted(heads=heads, columns=columns, units={"time": "-"}, words=words)
    at = "2026-11-20T00:00:00Z"
    rows = [
        f"m-1,{at},CPU平均负荷,0.25",
        f"m-1,{at},占用内存,8",
        f"m-1,{at},内存总,16",
        f"m-1,{at},温度,61",
        f"m-1,{at},风扇,3",
    ]
    found, report = read(sheet(tmp_path, rows, heads), said)
    assert found == {("m-1", AT): {"cpu_pct": 25.0, "mem_mb": 16384.0, "mem_pct": 50.0}}
    assert report.reasons == {"metric.unknown": 1}
    assert {one.code: one.params for one in report.notes}["rows.left_out"] == {"count": 1}
    with pytest.raises(Invalid) as refused:
        wanted(heads=heads, columns=columns, units={"time": "-"}, words={"metric": {"x": "heat C"}})
    assert refused.value.params["field"] == "metric"
    # Where each time is to say its own zone, one that does not is refused.
    assert read(sheet(tmp_path, ["m-1,2026-11-20 08:00,CPU平均负荷,0.25"], heads), said)[1].reasons == {
        "time.no_offset": 1
    }


def test_parquet_and_what_is_kept(tmp_path) -> None:
    path = tmp_path / "usage.parquet"
    pq.write_table(
        pa.table({
            "主机标识": ["m-1"], "采集时刻": ["2026-11-20 08:00:00"], "处理器占用率": [12.5], "内存占用比": [0.42], "入向": [3.0], "备注": ["甲"],
        }), path,
    )  # fmt: skip
    said = ColumnMapping.from_json(wanted().to_json())
    assert said == wanted()
    assert said.purpose == "usage"
    assert read(path, said)[0] == {("m-1", AT): {"cpu_pct": 12.5, "mem_pct": 42.0, "net_rx_kbps": 3000.0}}
    listing = column_mapping.mapping(["主机标识", "备注"], {"id": "主机标识"})
    assert "purpose" not in listing.to_json(), "what stands in books stays as it was written"
    assert listing.key != column_mapping.key_of(["主机标识", "备注"], "usage")


def test_a_look_proposes_and_leaves_units_to_people(tmp_path) -> None:
    heads = ["虚机编号(UUID)", "采集时间", "CPU平均占用率", "内存使用情况(%)", "网络接收(Mbps)", "磁盘写入", "负责人"]
    rows = [f"u-{n},2026-11-20 08:{n:02d},{n}.5,{n},3,4,张三" for n in range(10, 40)]
    look = looks.look(sheet(tmp_path, rows, heads), purpose=USAGE)
    found = looks.propose(look, {}, {}, purpose=USAGE)
    assert {name: found.columns[name] for name in ("id", "time", "cpu_pct", "disk_write_kbs")} == {
        "id": heads[0], "time": heads[1], "cpu_pct": heads[2], "disk_write_kbs": heads[5],
    }  # fmt: skip
    assert found.units.get("net_rx_kbps") == "Mbit/s"
    assert "cpu_pct" not in found.units
    assert "time" not in found.units
    assert "负责人" not in found.columns.values()
    # What was said before goes before what is guessed, for the columns that are still there.
    before = wanted(
        heads=["虚机编号(UUID)", "采集时间", "CPU平均占用率"],
        columns={"id": "虚机编号(UUID)", "time": "采集时间", "steal_pct": "CPU平均占用率"}, units={"time": "UTC", "steal_pct": "%"},
    )  # fmt: skip
    again = looks.propose(look, {}, {}, before, USAGE)
    assert again.columns["steal_pct"] == "CPU平均占用率"
    assert again.units["time"] == "UTC"


def test_a_folders_files_wait_for_a_person_and_are_read_whole_once_explained(tmp_path) -> None:
    for name in ("usage", "inventory"):
        (tmp_path / name).mkdir()
    sheet(tmp_path / "usage", ROWS)
    known = tmp_path / "usage" / "known.csv"
    known.write_text("resource_id,time,cpu_pct\nm-9,2026-11-20T00:00:00Z,5\n")
    cloud = FilesCloud(tmp_path, utc_offset_s=0)
    before = [one.external_ids for one in cloud.samples(NOW.replace(year=2020), NOW.replace(year=2090))]
    assert before == [["m-9"]], "what can be read is read"
    assert [path.name for path, _why in cloud.unexplained()] == ["usage.csv"]

    late = NOW.replace(year=2088)  # long after the file came
    kept = {**wanted().to_json(), "kept_at": late.isoformat()}
    told = FilesCloud(tmp_path, utc_offset_s=0, sheet_mappings=[kept])
    batches = list(told.samples(late, NOW.replace(year=2090)))
    assert sorted({name for one in batches for name in one.external_ids}) == ["m-1", "m-2", "m-9"]
    assert told.unexplained() == []
    assert sum(one.table.num_rows for one in batches) == 3
    assert all(np.isfinite(one.table.column("cpu_pct").to_numpy()).all() for one in batches)
