"""A sheet with headings of its own in a browser: as a supervisor who has never seen the page meets it, at both widths."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import expect

from console.book import EXTENSION
from quota.actors import Role, steward
from quota.directory.pools import CloudProvider, Pool
from tests.providers.test_column_mappings import HEADS, ROWS


@pytest.mark.parametrize(("width", "language"), [(1440, "zh_CN"), (390, "en")])
def test_a_sheet_is_explained_tried_and_kept(
    live, open_page, check, shot, tmp_path: Path, width: int, language: str
) -> None:
    with live.app.extensions[EXTENSION].book.transaction(steward()) as tx:
        company = CloudProvider(code=f"sheet-{width}", name=f"表格云{width}")
        tx.add(company)
        tx.flush()
        tx.add(
            Pool(
                code=f"sheet-{width}",
                name=f"表格池{width}",
                provider_id=company.id,
                arch="aarch64",
                zone="政务外网",
                adapter="files",
            )
        )
    book = openpyxl.Workbook()
    for row in (["某市政务云资产台账"], [*HEADS, f"备注{width}"], *([*row, ""] for row in ROWS)):
        book.active.append(row)
    book.save(tmp_path / "cmdb.xlsx")
    page = open_page(Role.SUPERVISOR, width, language=language)
    page.goto("/inventories/new")
    page.select_option("#pool", label=f"表格池{width}")
    page.set_input_files("#file", tmp_path / "cmdb.xlsx")
    page.click("main button.btn-primary")
    page.wait_for_url("**/inventories/mappings/new?*")
    expect(page.locator("#column_1")).to_have_value("id")
    expect(page.locator("#column_6")).to_have_value("memory_gb")
    expect(page.locator("#unit_7")).to_have_value("TB")
    check(page)
    shot(page, "mapping-proposed", full=True)
    page.click("button[value=try]")
    expect(page.locator("#errors")).to_be_visible()
    check(page)
    page.select_option("#unit_6", "MB")
    for word in ("已下线", "未启动"):
        page.locator("tr", has_text=word).last.locator("select").select_option("stopped")
    page.click("button[value=try]")
    expect(page.locator("button[value=enter]")).to_be_visible()
    check(page)
    shot(page, "mapping-tried", full=True)
    page.click("button[value=keep]")
    page.wait_for_url("**/inventories/mappings/*")
    check(page)
    shot(page, "mapping-kept")
    page.goto("/inventories/mappings/")
    check(page)
