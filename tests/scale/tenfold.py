"""A city ten times as large: each department, machine, request, case, … nine times more, in one copy of its book.

What a city has few of however large it is (companies, pools, rules, prices, months) stays; all that belongs to what is
copied is copied with it, by the keys that the tables themselves declare. The copies are not sealed: they are looked at.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Column, String, Table, UniqueConstraint, func, select

from console.schema import models  # noqa: F401 - every table of the house is known from here on
from metering.judging.findings import Assessment
from quota.base import Base
from quota.db import Book

STAYING = {
    "alert_mappings", "endpoint_days", "outage_signals", "probe_endpoints",
    "approval_rules", "assessment_formulas", "assessment_records", "assessments", "audit_head", "bills", "calendar_days", "case_openings",
    "anchor_publications", "anchors", "break_glass", "campaigns", "catalog_items", "delegations", "change_freezes", "change_windows", "cloud_providers", "cloud_targets", "compatibility", "demand_rounds", "request_form_fields", "feed_names", "feeds", "file_contents", "finding_archives", "formula_drafts", "identity_rules", "identity_sources", "intakes",
    "inventory_listings", "known_figures", "labour_rates", "maintenances", "measured_visits", "month_closings", "performance_classes", "performance_tests", "policy_days", "policy_drafts", "policy_replays", "policy_suspensions", "policy_versions",
    "pool_capacities", "pools", "probes", "contracts", "coverage_days", "resource_classes", "protected_tags", "push_sources", "report_editions", "report_inputs", "reconciliations", "rectification_steps", "rectifications", "row_seals", "rule_drafts", "scoring_looks", "sealed_segments", "scorecard_appeals",
    "scorecard_marks", "scorecards", "seal_head", "search_entries", "seal_layouts", "sealed_secrets", "sealings", "staged_files", "size_presets", "statement_inputs", "statement_runs", "surplus_notices", "hosted_equipment", "supervision_alerts", "supervision_excesses", "supervision_items", "survey_results", "surveys", "system_visits", "tariffs", "verification_runs", "visit_series",
}  # fmt: skip
"""Tables of which a larger city has no more rows."""

UNDECLARED = {
    "requests": {"resource_id": "resources", "extends_id": "requests"},
    "work_orders": {"request_id": "requests", "case_id": "cases"},
    "cases": {"request_id": "requests"},
    "tickets": {"request_id": "requests"},
    "kept_forecasts": {},
}
"""Columns that point to a row without a key that says so."""


def tenfold(source: Path, target: Path, times: int = 10) -> None:
    """Write the book at ``source``, ``times`` as large, to ``target``."""
    with sqlite3.connect(source) as whole:
        whole.execute("VACUUM INTO ?", (str(target),))
    whole.close()
    book = Book(f"sqlite:///{target}")
    with book.reading() as tx:
        newest = tx.scalar(select(func.max(Assessment.id)))
    book.dispose()
    out = sqlite3.connect(target, isolation_level=None)
    out.execute("PRAGMA journal_mode = OFF")
    out.execute("PRAGMA synchronous = OFF")
    out.execute("PRAGMA foreign_keys = OFF")
    out.execute("CREATE TEMP TABLE copies (k INTEGER PRIMARY KEY)")
    out.executemany("INSERT INTO copies VALUES (?)", [(k,) for k in range(1, times)])
    growing = [table for table in Base.metadata.sorted_tables if table.name not in STAYING]
    spans = {table.name: _span(out, table) for table in growing}
    for table in growing:
        columns = [column.name for column in table.columns]
        values = [_copied(table, column, spans) for column in table.columns]
        only = f"AND t.assessment_id = {newest}" if table.name == "findings" else ""
        out.execute(
            f"INSERT INTO {table.name} ({', '.join(map(_quoted, columns))}) "
            f"SELECT {', '.join(values)} FROM {table.name} t CROSS JOIN copies c WHERE true {only}"
        )
    out.execute("UPDATE audit_head SET sequence = (SELECT max(sequence) FROM audit_records)")
    out.close()


def _quoted(name: str) -> str:
    return f'"{name}"'


def _key(table: Table) -> Column[object] | None:
    """The number that the rows of ``table`` are known by, if it is one."""
    keys = list(table.primary_key.columns)
    return keys[0] if len(keys) == 1 and keys[0].type.python_type is int else None


def _span(out: sqlite3.Connection, table: Table) -> int:
    key = _key(table)
    if key is None:
        return 0
    found = out.execute(f"SELECT coalesce(max({key.name}), 0) FROM {table.name}").fetchone()
    return int(found[0])


def _copied(table: Table, column: Column[object], spans: dict[str, int]) -> str:
    """What a copy has in a column: a row of its own kind's copy, another name, or the same."""
    old = f"t.{_quoted(column.name)}"
    if column is _key(table):
        return f"{old} + c.k * {spans[table.name]}"
    pointed = UNDECLARED.get(table.name, {}).get(column.name)
    for key in column.foreign_keys:
        pointed = key.column.table.name
    if pointed in spans:
        return f"{old} + c.k * {spans[pointed]}"
    if table.name == "kept_forecasts" and column.name == "scope_id":
        cases = " ".join(f"WHEN '{one}' THEN {spans[f'{one}s']}" for one in ("resource", "department", "system"))
        return f"{old} + c.k * (CASE t.scope {cases} ELSE 1000000 END)"
    if any(column is _name(one, table, spans) for one in _uniques(table)):
        return f"{old} || '-' || c.k"
    return old


def _uniques(table: Table) -> list[list[Column[object]]]:
    """Columns of which no two rows may have the same."""
    found = [list(one.columns) for one in table.constraints if isinstance(one, UniqueConstraint)]
    found += [list(one.columns) for one in table.indexes if one.unique]
    return [*found, list(table.primary_key.columns)]


def _name(columns: list[Column[object]], table: Table, spans: dict[str, int]) -> Column[object] | None:
    """The one of these columns that a copy has another name in: none where it points to another row anyway."""
    if any(
        column is _key(table) or any(key.column.table.name in spans for key in column.foreign_keys)
        for column in columns
    ):
        return None
    texts = [column for column in columns if isinstance(column.type, String)]
    return max(texts, key=lambda one: one.type.length or 1000) if texts else None  # type: ignore[attr-defined]
