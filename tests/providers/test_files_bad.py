"""Bad usage files: each is taken as far as it can be trusted, and the rest is counted with its place and reason."""

from __future__ import annotations

import gzip
import io
import os
import random
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from providers.readers.text_files import magic
from quota.errors import Invalid, NotFound

from .files import HEADER, T0, bitbrains, read, write

WIDE = "resource_id,time,cpu_pct,mem_pct"


def code_of(path: Path, **options: object) -> tuple[str, dict[str, object]]:
    with pytest.raises(Invalid) as caught:
        read(path, **options)
    assert str(caught.value).startswith(caught.value.code)
    return caught.value.code, caught.value.params


# files that are refused whole


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read(tmp_path / "no such file.csv")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"")
    assert code_of(tmp_path / "1.csv")[0] == "file.empty"


def test_an_empty_or_unreadable_file_is_named_and_not_where_it_lies(tmp_path: Path) -> None:
    """An upload lies under a name that is nobody's business; every reader looks at a file's first bytes first."""
    (tmp_path / "empty.csv").touch()
    for name, sentence in (("empty.csv", "empty.csv 是空文件"), ("folder.csv", "无法读取 folder.csv:Is a directory")):
        (tmp_path / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(Invalid) as refused:
            magic(tmp_path / name)
        assert refused.value.sentence() == sentence


@pytest.mark.parametrize("content", [b"\n\n\n", b"\xef\xbb\xbf", HEADER.encode(), HEADER.encode() + b"\n"])
def test_no_rows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.csv").write_bytes(content)
    assert code_of(tmp_path / "1.csv")[0] in ("file.no_rows", "file.empty")


def test_binary_garbage(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"ts;cpu\n1;2" + random.Random(1).randbytes(100_000))
    code, params = code_of(tmp_path / "1.csv")
    assert code == "file.binary"
    assert params["line"] >= 2


def test_an_image(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    assert code_of(tmp_path / "1.csv")[0] == "file.binary"


def test_a_workbook_called_csv(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["resource_id", "time", "cpu_pct"])
    book.save(tmp_path / "usage.csv")
    assert code_of(tmp_path / "usage.csv")[0] == "file.no_rows"


def test_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "usage.csv", "w") as archive:
        archive.writestr("1.csv", HEADER)
    assert code_of(tmp_path / "usage.csv")[0] == "file.zip"


def test_an_unknown_header(tmp_path: Path) -> None:
    code, params = code_of(write(tmp_path / "a.csv", "alpha,beta", "1,2"))
    assert (code, params["line"]) == ("file.unknown", 1)


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("resource_id,cpu_pct", "time"),
        ("resource_id,time,metric", "value"),
        ("resource_id,time,value", "metric"),
    ],
)
def test_a_column_that_cannot_be_missing(tmp_path: Path, header: str, column: str) -> None:
    code, params = code_of(write(tmp_path / "a.csv", header, ",".join("1" for _ in header.split(","))))
    assert (code, params["column"], params["line"]) == ("column.missing", column, 1)


def test_a_column_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", WIDE + ",CPU_PCT", f"a,{T0},1,2,3")
    code, params = code_of(path)
    assert (code, params["line"], params["column"]) == ("column.twice", 1, 5)


def test_gzip_cut_off(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join([HEADER, *(bitbrains(T0 + 300 * i) for i in range(500))]).encode())
    (tmp_path / "1.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert code_of(tmp_path / "1.csv.gz")[0] == "file.gzip"


def test_parquet_cut_off(tmp_path: Path) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"resource_id": ["a"], "time": [T0], "cpu_pct": [1.0]}), sink)
    (tmp_path / "u.parquet").write_bytes(sink.getvalue()[:-20])
    assert code_of(tmp_path / "u.parquet")[0] == "file.parquet"


def test_parquet_of_another_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"resource_id": ["a"], "time": [T0], "cpu_pct": [[1.0]]}), tmp_path / "u.parquet")
    code, params = code_of(tmp_path / "u.parquet")
    assert (code, params["column"], params["header"]) == ("column.type", 3, "cpu_pct")


def test_planetlab_without_a_date_or_with_too_many_values(tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "somewhere" / "vm", "1", "2"))[0] == "file.no_day"
    code, params = code_of(write(tmp_path / "20110303" / "vm", *["7"] * 289))
    assert (code, params["line"]) == ("file.too_many", 289)


def test_commas_that_may_be_thousands(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "resource_id;time;connections", f"a;{T0};1,234", f"a;{T0 + 300};2,345")
    code, params = code_of(path)
    assert (code, params["line"], params["column"]) == ("number.ambiguous", 2, 3)


# files that are taken in part


def test_cut_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "1.csv", HEADER, bitbrains(T0), bitbrains(T0 + 300))
    path.write_bytes(path.read_bytes()[:-5])  # the last figure lost its end and still looks like a number
    got = read(path)
    assert got.report.taken == 1
    [cut] = got.refusals("line.cut")
    assert (cut.file, cut.line) == ("1.csv", 3)


def test_bad_values_are_refused_alone_and_located(tmp_path: Path) -> None:
    path = write(
        tmp_path / "7.csv",
        HEADER,
        bitbrains(T0),
        bitbrains(T0 + 300, cpu="NaN"),
        bitbrains(T0 + 600, cpu=-3),
        bitbrains(T0 + 900, cpu=655.35),
        bitbrains(T0 + 1200, cpu="n/a"),
        bitbrains(T0 + 1500, cpu=""),
        bitbrains(T0 + 1800, cpu="inf"),
        bitbrains(T0 + 2100, cpu=105.9),
    )
    got = read(path)
    assert (got.report.taken, got.report.refused, got.report.values_refused) == (8, 0, 5)
    assert got.report.reasons == {"value.nan": 1, "value.negative": 1, "value.absurd": 2, "value.text": 1}
    places = {one.text: (one.line, one.column, one.header) for one in got.report.examples()}
    assert places == {
        text: (line, 5, "CPU usage [%]")
        for text, line in (("NaN", 3), ("-3", 4), ("655.35", 5), ("n/a", 6), ("inf", 8))
    }
    told = {row["ts"]: row.get("cpu_pct") for row in got.rows()}
    assert [told[T0 + 300 * i] for i in range(1, 7)] == [None] * 6
    assert told[T0 + 2100] == pytest.approx(105.9)
    assert all(row["disk_write_kbs"] == 1.5 for row in got.rows())


def test_rows_that_cannot_be_placed_are_refused_whole(tmp_path: Path) -> None:
    path = write(
        tmp_path / "u.csv",
        WIDE,
        f"a,{T0},1,2",
        f",{T0},1,2",
        "a,yesterday,1,2",
        "a,2013-08-12T12:00:00,1,2",
        f"a,{T0}000,1,2",
        f"a,{T0 + 300},,",
        f"a,{T0 + 600},1",
        f"a,{T0 + 900},1,2,3",
        'a,"' + f"{T0},1,2",
        f"a,{T0 + 1200},1,2",
        "",
    )
    got = read(path)
    assert got.report.reasons == {
        "id.empty": 1,
        "time.bad": 1,
        "time.no_offset": 1,
        "time.absurd": 1,
        "row.empty": 1,
        "line.fields": 2,
        "line.quotes": 1,
    }
    assert {(one.reason, one.line, one.column) for one in got.report.examples()} == {
        ("id.empty", 3, 1),
        ("time.bad", 4, 2),
        ("time.no_offset", 5, 2),
        ("time.absurd", 6, 2),
        ("row.empty", 7, None),
        ("line.fields", 8, None),
        ("line.fields", 9, None),
        ("line.quotes", 10, None),
    }
    assert [row["ts"] for row in got.rows()] == [T0, T0 + 1200]


def test_cores_that_make_no_sense_take_the_row_with_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "1.csv",
        HEADER,
        bitbrains(T0, cores=-1),
        bitbrains(T0 + 300, cores=0),
        bitbrains(T0 + 600, cores=70000),
        bitbrains(T0 + 900).replace("\t2;", "\t1.5;", 1),
        bitbrains(T0 + 1200).replace("\t2;", "\t;", 1),
    )
    got = read(path)
    assert got.report.reasons == {"value.negative": 1, "value.absurd": 1, "value.fraction": 1, "value.missing": 1}
    assert [(row["ts"], row["vcpu"]) for row in got.rows()] == [(T0 + 300, 0)]


def test_memory_over_provisioned_is_kept_and_clipped_only_at_the_limit(tmp_path: Path) -> None:
    path = write(
        tmp_path / "1.csv",
        HEADER,
        bitbrains(T0, total=1000.0, used=3000.0),
        bitbrains(T0 + 300, total=1000.0, used=900_000.0),
        bitbrains(T0 + 600, total=0.0, used=5.0),
    )
    rows = read(path).rows()
    assert [row.get("mem_pct") for row in rows] == [300.0, pytest.approx(655.34), None]


def test_repeated_rows_are_duplicates_and_differing_ones_are_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path / "1.csv",
        HEADER,
        bitbrains(T0),
        bitbrains(T0),
        bitbrains(T0, cpu=9),
        bitbrains(T0 + 300),
        bitbrains(T0),
        bitbrains(T0 + 300, cpu=""),
        bitbrains(T0 + 300, cpu=""),
    )
    got = read(path)
    assert (got.report.taken, got.report.duplicates) == (4, 3)
    assert [row.get("cpu_pct") for row in got.rows()] == [1.5, 9.0, 1.5, None]
    assert {(n.code, n.params["count"]) for one in got.report.files for n in one.notes if n.code == "time.same"} == {
        ("time.same", 2)
    }


def test_a_million_duplicate_rows(tmp_path: Path) -> None:
    line = bitbrains(T0) + "\n"
    (tmp_path / "1.csv").write_text(HEADER + "\n" + bitbrains(T0 - 300) + "\n" + line * 1_000_000)
    got = read(tmp_path / "1.csv")  # several blocks: repeats are found across them
    assert (got.report.rows, got.report.taken, got.report.duplicates) == (1_000_001, 2, 999_999)
    assert len(got.rows()) == 2


@pytest.mark.parametrize(
    ("end", "encoding", "bom"),
    [
        ("\r\n", "utf-8", b""),
        ("\r", "utf-8", b""),
        ("\n", "utf-8", b"\xef\xbb\xbf"),
        ("\r\n", "utf-8", b"\xef\xbb\xbf"),
        ("\n", "gb18030", b""),
        ("\r\n", "gb18030", b""),
        ("\n", "utf-16-le", b"\xff\xfe"),
        ("\r\n", "utf-16-be", b"\xfe\xff"),
    ],
)
def test_line_ends_and_encodings(tmp_path: Path, end: str, encoding: str, bom: bytes) -> None:
    path = write(
        tmp_path / "u.csv",
        "资源编号,采集时间,CPU使用率(%),内存使用率(%)",
        "云主机一号,2026-11-01T08:00:00+08:00,12.5,40",
        "云主机二号,坏时间,1,2",
        end=end,
        encoding=encoding,
    )
    path.write_bytes(bom + path.read_bytes())
    got = read(path)
    assert got.rows() == [{"id": "云主机一号", "ts": 1793491200, "cpu_pct": 12.5, "mem_pct": 40.0}]
    [bad] = got.refusals("time.bad")
    assert (bad.line, bad.column, bad.header, bad.text) == (3, 2, "采集时间", "坏时间")
    assert ("text.encoding" in got.notes) == (not encoding.startswith("utf-8"))


def test_one_damaged_character_costs_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "u.csv", WIDE, f"政务云主机,{T0},1,2", f"政务云甲,{T0},1,2", f"政务云乙,{T0},1,2")
    data = path.read_bytes()
    at = data.index("甲".encode())
    path.write_bytes(data[: at + 1] + b"\xff" + data[at + 2 :])
    got = read(path)
    assert sorted(row["id"] for row in got.rows()) == ["政务云主机", "政务云乙"]
    assert [one.line for one in got.refusals("line.encoding")] == [3]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ";\t"])
def test_separators(tmp_path: Path, separator: str) -> None:
    path = write(tmp_path / "1.csv", HEADER.replace(";\t", separator), bitbrains(T0).replace(";\t", separator))
    assert read(path).rows()[0]["disk_write_kbs"] == 1.5


def test_decimal_commas(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "resource_id;time;cpu_pct",
        f"a;{T0};1,5",
        f"a;{T0 + 300};12,25",
        f"a;{T0 + 600};1.5",
        f"a;{T0 + 900};7",
    )
    got = read(path)
    assert [row["cpu_pct"] for row in got.rows()] == [1.5, 12.25, 7.0]
    assert [(one.line, one.text) for one in got.refusals("value.text")] == [(4, "1.5")]
    assert "text.decimal_comma" in got.notes


def test_quoted_fields(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        '"resource_id","time","cpu_pct"',
        f'"a,b","{T0}","1.5"',
        f'"say ""hi""","{T0}","2"',
        f'"c"d,"{T0}","3"',
        f'"e","{T0}","x"',
    )
    got = read(path)
    assert [(row["id"], row["cpu_pct"]) for row in got.rows()] == [("a,b", 1.5), ('say "hi"', 2.0)]
    assert [(one.reason, one.line) for one in got.report.examples()] == [
        ("line.quotes", 4),
        ("value.text", 5),
        ("row.empty", 5),
    ]


@pytest.mark.parametrize(
    ("factor", "header"),
    [(1, "Timestamp [ms]"), (1000, "Timestamp [ms]"), (1000, "Timestamp [s]"), (10**6, "ts"), (10**9, "ts")],
)
def test_the_unit_of_time_is_judged_by_size(tmp_path: Path, factor: int, header: str) -> None:
    lines = [bitbrains(T0).replace(str(T0), str(T0 * factor)), bitbrains(T0 + 300).replace(str(T0 + 300), "17")]
    got = read(write(tmp_path / "1.csv", HEADER.replace("Timestamp [ms]", header), *lines))
    assert [row["ts"] for row in got.rows()] == [T0]
    assert [one.text for one in got.refusals("time.absurd")] == ["17"]
    said = "[ms]" in header and factor != 1000 or "[s]" in header and factor != 1
    assert ("time.header_unit" in got.notes) == said


def test_times_without_a_zone(tmp_path: Path) -> None:
    path = write(
        tmp_path / "u.csv",
        WIDE,
        "a,2026-11-01 08:00:00,1,2",
        "a,2026/11/1 8:05,1,2",
        "a,2026年11月1日 08:10,1,2",
        "a,2026-02-30 08:00:00,1,2",
    )
    assert read(path).report.taken == 0
    got = read(path, utc_offset_s=28800)
    assert [row["ts"] for row in got.rows()] == [1793491200, 1793491500, 1793491800]
    assert [one.text for one in got.refusals("time.bad")] == ["2026-02-30 08:00:00"]
    assert "time.offset" in got.notes


def test_a_huge_line_costs_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "u.csv", WIDE, f"a,{T0},1,2", "x" * 40_000_000, f"b,{T0},1,2", f"c{'y' * 70_000},{T0},1,2")
    got = read(path)
    assert [row["id"] for row in got.rows()] == ["a", "b"]
    assert [one.line for one in got.refusals("line.huge")] == [3, 5]
    assert all(len(one.text) <= 120 for one in got.report.examples())


def test_one_endless_line(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_bytes(b"z" * 40_000_000)
    assert code_of(tmp_path / "u.csv")[0] == "file.unknown"


def test_a_short_planetlab_file_and_one_with_a_blank_line(tmp_path: Path) -> None:
    got = read(write(tmp_path / "20110303" / "host one", "7", "", "x", "9"))
    day = 1299110400
    assert [(row["id"], row["ts"], row["cpu_pct"]) for row in got.rows()] == [
        ("host one", day, 7),
        ("host one", day + 900, 9),
    ]
    assert {(one.reason, one.line) for one in got.report.examples()} == {
        ("line.blank", 2),
        ("value.text", 3),
        ("row.empty", 3),
    }
    assert "file.short" in got.notes


def test_long_rows_become_rows_of_a_moment(tmp_path: Path) -> None:
    path = write(
        tmp_path / "u.csv",
        "resource_id,time,metric,value",
        f"a,{T0},cpu_pct,5",
        f"a,{T0},vcpu,4",
        f"a,{T0},内存使用率,50",
        f"b,{T0},cpu_pct,6",
        f"a,{T0 + 300},cpu_pct,7",
        f"a,{T0 + 300},cpu_pct,7",
        f"a,{T0 + 300},cpu_pct,8",
        f"a,{T0 + 300},temperature,8",
        f"a,{T0 + 300},cpu_pct,",
        f"a,{T0 + 300},cpu_pct,-1",
    )
    got = read(path)
    assert sorted(got.rows(), key=lambda row: (row["id"], row["ts"], row["cpu_pct"])) == [
        {"id": "a", "ts": T0, "cpu_pct": 5.0, "vcpu": 4.0, "mem_pct": 50.0},
        {"id": "a", "ts": T0 + 300, "cpu_pct": 7.0},
        {"id": "a", "ts": T0 + 300, "cpu_pct": 8.0},
        {"id": "b", "ts": T0, "cpu_pct": 6.0},
    ]
    assert (got.report.rows, got.report.taken, got.report.duplicates) == (10, 6, 1)
    assert got.report.reasons == {"metric.unknown": 1, "row.empty": 1, "value.negative": 1}


def test_long_and_wide_parquet_with_real_timestamps(tmp_path: Path) -> None:
    moment = pa.array([T0 * 1000, None], pa.timestamp("ms", "Asia/Shanghai"))
    pq.write_table(pa.table({"资源编号": ["a", "b"], "时间": moment, "cpu_pct": [5.5, 6.5]}), tmp_path / "w.parquet")
    got = read(tmp_path / "w.parquet")
    assert got.rows() == [{"id": "a", "ts": T0, "cpu_pct": 5.5}]
    assert [(one.line, one.column) for one in got.refusals("time.bad")] == [(2, 2)]
    pq.write_table(
        pa.table({"resource_id": [1, 1], "time": [T0, T0], "metric": ["vcpu", "cpu_pct"], "value": [2, 150]}),
        tmp_path / "l.parquet",
    )
    assert read(tmp_path / "l.parquet").rows() == [{"id": "1", "ts": T0, "vcpu": 2.0, "cpu_pct": 150.0}]


def test_durations(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.csv",
        "vm_id,ts,dur_s,cpu_pct",
        f"a,{T0},900,5",
        f"a,{T0 + 300},299,6",
        f"a,{T0 + 600},0,7",
        f"a,{T0 + 900},99999999,8",
        f"a,{T0 + 1200},,9",
    )
    got = read(path)
    assert [(row["ts"], row["cpu_pct"]) for row in got.rows()] == [(T0 - 600, 5), (T0 - 300, 5), (T0, 5), (T0 + 300, 6)]
    assert got.report.reasons == {"duration.bad": 3}


def test_cloudwatch_metric_by_option_and_headerless_files(tmp_path: Path) -> None:
    path = write(tmp_path / "i-0abc.csv", "timestamp,value", "2026-11-01 00:00:00,40")
    assert code_of(path)[0] == "metric.unknown"
    assert read(path, metric="CPUUtilization").rows() == [{"id": "i-0abc", "ts": 1793491200, "cpu_pct": 40.0}]
    bare = write(tmp_path / "9.csv", bitbrains(T0))
    assert code_of(bare)[0] == "file.unknown"
    assert read(bare, format="bitbrains").rows()[0]["cpu_pct"] == 1.5


@pytest.mark.parametrize("options", [{"format": "excel"}, {"metric": "temperature"}, {"utc_offset_s": 10**6}])
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, object]) -> None:
    write(tmp_path / "1.csv", HEADER, bitbrains(T0))
    with pytest.raises(Invalid):
        read(tmp_path / "1.csv", **options)


# folders


def test_a_folder_is_read_around_what_cannot_be_used(tmp_path: Path) -> None:
    write(tmp_path / "2013-7" / "1.csv", HEADER, bitbrains(T0))
    write(tmp_path / "2013-8" / "1 (copy).csv", HEADER, bitbrains(T0 + 300))
    write(tmp_path / "2013-8" / "bad.csv", "alpha,beta", "1,2")
    write(tmp_path / "2013-8" / "half.csv.part", HEADER)
    write(tmp_path / ".hidden.csv", HEADER, bitbrains(T0))
    (tmp_path / "empty.csv").touch()
    os.symlink(tmp_path, tmp_path / "2013-8" / "loop")
    os.symlink("/etc/passwd", tmp_path / "2013-8" / "link.csv")
    got = read(tmp_path)
    assert sorted(row["id"] for row in got.rows()) == ["1", "1 (copy)"]
    assert {one.file: one.error.code for one in got.report.failed if one.error} == {
        "2013-8/bad.csv": "file.unknown",
        "empty.csv": "file.empty",
    }
    skipped = {note.file for one in got.report.files for note in one.notes if note.code == "file.skipped"}
    assert skipped == {"2013-8/half.csv.part", "2013-8/link.csv", "2013-8/loop"}
    assert got.report.as_json()["files_read"] == 5


def test_gzip_and_a_prefix(tmp_path: Path) -> None:
    text = "\n".join([HEADER, bitbrains(T0), ""]).encode()
    (tmp_path / "17.csv.gz").write_bytes(gzip.compress(text))
    assert read(tmp_path / "17.csv.gz", prefix="rnd-").rows()[0]["id"] == "rnd-17"


def test_other_content_has_another_source_name(tmp_path: Path) -> None:
    path = write(tmp_path / "latest.csv", WIDE, f"a,{T0},1,2")
    first = read(path).batches[0].source
    write(path, WIDE, f"b,{T0},1,2")
    assert read(path).batches[0].source != first
    write(path, WIDE, f"a,{T0},1,2")
    assert read(path).batches[0].source == first


def test_counts_are_full_where_examples_are_few(tmp_path: Path) -> None:
    path = write(tmp_path / "u.csv", WIDE, *(f"a,{T0 + 300 * i},-1,2" for i in range(5000)))
    got = read(path)
    assert got.report.reasons == {"value.negative": 5000}
    assert [one.line for one in got.refusals("value.negative")] == list(range(2, 22))
    assert got.report.taken == 5000
