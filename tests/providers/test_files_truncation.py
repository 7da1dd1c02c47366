"""A file cut off anywhere, or damaged anywhere: nothing but Invalid is raised, and no figure is taken that was not whole."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota.errors import Invalid

from .files import HEADER, T0, bitbrains, read


def text(*lines: str) -> str:
    return "".join(line + "\n" for line in lines)


def parquet() -> bytes:
    sink = io.BytesIO()
    rows = range(40)
    pq.write_table(
        pa.table(
            {
                "resource_id": [f"r{i % 3}" for i in rows],
                "time": [T0 + 300 * i for i in rows],
                "cpu_pct": [float(i) for i in rows],
            }
        ),
        sink,
        write_page_checksum=True,
    )
    return sink.getvalue()


BITBRAINS = text(HEADER, *(bitbrains(T0 + 300 * i, cpu=12.25 + i, rx=1234.5 * i) for i in range(12)))
WIDE = text(
    "资源编号,时间,cpu_pct,connections",
    *(f'"云主机{i}",2026-11-01T08:{i:02d}:00+08:00,{i}.125,{i}4321' for i in range(12)),
)
LONG = text(
    "resource_id;time;metric;value", *(f"a;{T0 + 300 * i};{m};{i},75" for i in range(6) for m in ("cpu_pct", "mem_pct"))
)
CLOUDWATCH = text("timestamp,value", *(f"2014-02-14 14:{30 + i}:00,{i}.132" for i in range(12)))
PLANETLAB = text(*(str(value) for value in (3, 12, 45, 99, 0, 71, 10, 20) * 36))
GOOGLE = text(*(f"{i}.763 {i}.1209999999" for i in range(100)))

FILES: dict[str, tuple[str, bytes]] = {
    "bitbrains": ("a.csv", BITBRAINS.encode()),
    "wide": ("a.csv", WIDE.encode()),
    "wide in gb18030 from windows": ("a.csv", WIDE.replace("\n", "\r\n").encode("gb18030")),
    "wide in utf-16": ("a.csv", WIDE.encode("utf-16")),
    "long": ("a.csv", LONG.encode()),
    "cloudwatch": ("ec2_cpu_utilization_1.csv", CLOUDWATCH.encode()),
    "planetlab": ("20110303/host", PLANETLAB.encode()),
    "google": ("vm_12_3", GOOGLE.encode()),
    "gzip": ("a.csv.gz", gzip.compress(BITBRAINS.encode(), mtime=0)),
    "parquet": ("a.parquet", parquet()),
}


def rows(name: str, content: bytes) -> set[tuple[Any, ...]]:
    """The samples of one file; for long files cell by cell, as a cut may fall between two rows of a moment."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        got = read(path).rows()
    return {(row["id"], row["ts"], key, value) for row in got for key, value in row.items() if key not in ("id", "ts")}


WHOLE = {kind: rows(*one) for kind, one in FILES.items()}


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_cut_off_at_any_byte(kind: str, data: st.DataObject) -> None:
    name, content = FILES[kind]
    at = data.draw(st.integers(0, len(content) - 1))
    try:
        got = rows(name, content[:at])
    except Invalid:
        return
    assert got <= WHOLE[kind]


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_at_any_byte(kind: str, data: st.DataObject) -> None:
    """Whatever is written over it, the file is read or refused; in Parquet the checksum finds it."""
    name, content = FILES[kind]
    at = data.draw(st.integers(0, len(content) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=6))
    try:
        got = rows(name, content[:at] + noise + content[at + len(noise) :])
    except Invalid:
        return
    assert len(got) <= len(WHOLE[kind]) + len(noise) * 4


@settings(max_examples=100, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=400),
        st.text(max_size=400).map(lambda one: one.encode("utf-8", "replace")),
        st.text('0123456789,;.\t \n\r"-NaTtimecpu_', max_size=200).map(str.encode),
    ),
    name=st.sampled_from(["a.csv", "20110303/vm", "vm_1_1", "a.parquet", "cpu_utilization.csv"]),
)
def test_anything_at_all(content: bytes, name: str) -> None:
    try:
        rows(name, content)
    except Invalid as refused:
        assert refused.params["file"].endswith(Path(name).name)
