"""Total rows beside the sums of what they total, and long numbers that a spreadsheet has cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers.readers import PLAIN, Refusals, UsageFile, read_inventory, read_usage_files
from quota.errors import Invalid

HEADS = "id,name,type,arch,vcpu,memory_gb\n"
ROWS = ["m-1,a,vm,x86_64,4,8", "m-2,b,vm,x86_64,2,4", "m-3,c,vm,x86_64,8,16"]


def listing(folder: Path, *rows: str):
    path = folder / "list.csv"
    path.write_text(HEADS + "\n".join(rows) + "\n", "utf-8")
    report = Refusals()
    return read_inventory(path, report), report.files[0]


@pytest.mark.parametrize(
    "rows",
    [
        [*ROWS, "合计,,,,14,28"],
        [*ROWS[:2], "小计,,,,6,12", ROWS[2], "小计,,,,8,16", "总计,,,,14,28"],
        [ROWS[0], "小计,,,,4,8", ROWS[1], "小计,,,,2,4", "局合计,,,,6,12", ROWS[2], "小计,,,,8,16", "局合计,,,,8,16", "总计,,,,14,28"],
        [*ROWS, "合计,,,,14,"],  # it says nothing of the other column
        [*ROWS, "平均,,,,4.67,9.33"],
        [ROWS[0], ROWS[1].replace(",4", ",4GB"), ROWS[2], "合计,,,,14,30"],  # not plain figures: not compared
        [*ROWS, '"合计",,,,"14","28.0"'],
    ],
)  # fmt: skip
def test_a_total_that_is_the_sum_is_left_out_and_the_listing_is_whole(tmp_path, rows) -> None:
    found, report = listing(tmp_path, *rows)
    assert [one.external_id for one in found.facts] == ["m-1", "m-2", "m-3"]
    assert "total.differs" not in report.reasons
    assert found.complete


@pytest.mark.parametrize(
    ("rows", "line", "header", "said"),
    [
        ([*ROWS[:2], "合计,,,,14,28"], 4, "vcpu", "14 ≠ 6"),  # a row is missing
        ([*ROWS[:2], "小计,,,,6,12", ROWS[2], "总计,,,,15,28"], 6, "vcpu", "15 ≠ 8"),
        ([*ROWS, "合计,,,,14,31"], 5, "memory_gb", "31 ≠ 28"),
    ],
)
def test_a_total_that_is_not_the_sum_is_told_and_ends_nothing(tmp_path, rows, line, header, said) -> None:
    found, report = listing(tmp_path, *rows)
    assert not found.complete, "what it lacks may be a row that was lost on the way"
    first = next(one for one in report.examples if one.reason == "total.differs")
    assert (first.line, first.header, first.text) == (line, header, said)
    assert report.refused == 0


CUT = ["1234567890123450", "2345678901234560", "34567890123456700"]
WHOLE = ["1234567890123450", "2345678901234567", "34567890123456700"]


def test_ids_that_a_spreadsheet_cut_off_are_refused_whole(tmp_path) -> None:
    rows = [f"{one},a{n},vm,x86_64,4,8" for n, one in enumerate(CUT)]
    with pytest.raises(Invalid) as refused:
        listing(tmp_path, *rows)
    assert refused.value.code == "id.cut"
    assert CUT[0] in refused.value.params["ids"]
    found, report = listing(tmp_path, *(f"{one},a{n},vm,x86_64,4,8" for n, one in enumerate(WHOLE)))
    assert [one.external_id for one in found.facts] == WHOLE, "one that ends otherwise shows that nothing was cut"
    assert report.notes == [] or all(one.code != "id.doubtful" for one in report.notes)
    found, report = listing(tmp_path, rows[0], *ROWS)
    assert len(found.facts) == 4
    assert [one.params for one in report.notes if one.code == "id.doubtful"] == [{"ids": CUT[0]}]
    found, report = listing(tmp_path, "1.23457E+16,a,vm,x86_64,4,8", *ROWS)
    assert report.reasons == {"id.rounded": 1}


def test_usage_of_cut_ids_is_refused_whole_too(tmp_path) -> None:
    path = tmp_path / "usage.csv"

    def read(ids: list[str]):
        path.write_text("resource_id,time,cpu_pct\n" + "".join(f"{one},2026-11-20T00:00:00Z,5\n" for one in ids))
        report = Refusals()
        return list(read_usage_files([UsageFile(path, path.name)], report, PLAIN)), report.files[0]

    found, report = read(CUT)
    assert found == []
    assert report.error.code == "id.cut"
    assert read(WHOLE)[1].error is None
