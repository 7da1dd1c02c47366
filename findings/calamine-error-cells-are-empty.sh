#!/usr/bin/env bash
# python-calamine 0.9.1 (with openpyxl 3.1.5 to write the file): a cell that holds an error (#N/A) and a formula without a cached
# result both come back as '', the same as a cell that is empty. A reader of people's sheets cannot tell "nothing" from "broken".
set -euo pipefail
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check python-calamine==0.9.1 openpyxl==3.1.5
"$home/venv/bin/python" - "$home/sheet.xlsx" <<'PY'
import sys
from importlib.metadata import version
import openpyxl
from python_calamine import CalamineWorkbook

book = openpyxl.Workbook()
sheet = book.active
sheet.append(["name", "value"])
sheet.append(["an error", "#N/A"])
sheet["B2"].data_type = "e"
sheet.append(["a formula nobody has calculated", "=1+1"])
sheet.append(["nothing", None])
book.save(sys.argv[1])
rows = CalamineWorkbook.from_path(sys.argv[1]).get_sheet_by_index(0).to_python()
print("python-calamine", version("python-calamine"))
for row in rows:
    print(row)
assert openpyxl.load_workbook(sys.argv[1]).active["B2"].value == "#N/A", "the file does hold the error"
assert [row[1] for row in rows[1:3]] == ["", ""], rows
assert len(rows) == 3 or rows[3][1] == "", rows
PY
