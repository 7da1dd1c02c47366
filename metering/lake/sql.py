"""SQL over the lake's closed days, by DuckDB in memory: reading only, and nothing but the lake.

Tables: `samples` (resource, ts, day, slot, state, the metrics in their units, vcpu, mem_mb), `hours`, `daily`.
state: 1 live, 2 off but reporting, 3 frozen. A figure that nothing came for is NULL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metering.lake.closing import KINDS
from metering.lake.files import Reader
from metering.lake.samples import CAPACITIES, COLUMNS
from providers.metrics import METRICS
from quota.errors import N_, Invalid

if TYPE_CHECKING:
    import duckdb

    from metering.lake.store import Lake


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A connection that sees the lake's tables, no other file, and can't be told otherwise."""
    import duckdb  # loads for a fifth of a second, and hardly any process asks by SQL

    link = duckdb.connect(":memory:", config={"preserve_insertion_order": "true"})
    for kind in KINDS:
        files = sorted(str(path) for path in (lake.root / kind).glob("[0-9]*.parquet"))
        if files:
            link.execute(_view(lake, kind, files))
    link.execute(f"SET allowed_directories = ['{_quoted(str(lake.root.absolute()))}']")
    link.execute("SET enable_external_access = false")
    link.execute("SET lock_configuration = true")
    return link


def query(lake: Lake, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of one SELECT (or EXPLAIN, DESCRIBE). Raises Invalid for anything else, and for what
    DuckDB can't make sense of."""
    import duckdb

    reading = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.RELATION)
    link = connect(lake)
    try:
        statements = link.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in reading:
            raise Invalid("lake.sql", N_("只接受一条查询语句(SELECT)"), field="sql")
        answer = link.execute(statements[0].query)
        return [column[0] for column in answer.description or ()], answer.fetchall()
    except duckdb.Error as error:
        raise Invalid("lake.sql", N_("查询无法执行:%(why)s"), field="sql", why=str(error).split("\n")[0]) from None
    finally:
        link.close()


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _view(lake: Lake, kind: str, files: list[str]) -> str:
    listed = ", ".join(f"'{_quoted(path)}'" for path in files)
    day = "strptime(parse_filename(filename, true), '%Y-%m-%d')::DATE"
    source = f"read_parquet([{listed}], union_by_name=true, filename=true)"
    if kind != "days":
        return f"CREATE VIEW {kind} AS SELECT {day} AS day, * EXCLUDE (filename) FROM {source}"
    there: set[str] = set()
    for path in {files[0], files[-1], *files}:
        with Reader(lake.root / kind / path.rsplit("/", 1)[-1]) as reader:
            there |= reader.names
    columns = ["resource", _moment(lake, day), f"{day} AS day", "slot", "state"]
    columns += [_metric(name) for name in METRICS if name in there]
    columns += [
        f"nullif({name}, {2 ** (COLUMNS[name].itemsize * 8) - 1}) AS {name}" for name in CAPACITIES if name in there
    ]
    return f"CREATE VIEW samples AS SELECT {', '.join(columns)} FROM {source} WHERE state > 0"


def _moment(lake: Lake, day: str) -> str:
    """Seconds since 1970, UTC, of a sample."""
    return f"epoch({day})::BIGINT - {lake.utc_offset_s} + slot::BIGINT * {lake.step_s} + sec AS ts"


def _metric(name: str) -> Any:
    if METRICS[name].percent:
        return f"nullif({name}, 65535) / 100.0 AS {name}"
    return f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END AS {name}"
