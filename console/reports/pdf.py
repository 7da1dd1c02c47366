"""A document as PDF, by Typst: fonts embedded, charts as vectors, its date that of the report, so that the same document is the
same bytes on every machine and day."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typst

from console.reports import fonts
from console.reports.documents import ChartBlock, Document, HeadingBlock, Paragraph, Table

TEMPLATE = Path(__file__).with_name("report.typ")
DOTS_PER_INCH = 144
SIDES = 2
"""Letters that a column's margins take."""
WHOLE = 8
"""Letters of a heading that is not broken: four characters."""


def pdf(document: Document, author: str = "") -> bytes:
    """The pages. Raises RuntimeError where the fonts are not there."""
    files = {"main": TEMPLATE.read_bytes(), **_files(document, author)}
    made = typst.compile(files, format="pdf", timestamp=_instant(document), **_settings())
    return bytes(made)


def picture(svg: str) -> bytes:
    """A chart as PNG, for what cannot show vectors."""
    page = '#set page(width: auto, height: auto, margin: 0pt)\n#image("chart.svg", width: 160mm)'
    made = typst.compile(
        {"main": page.encode(), "chart.svg": _dressed(svg)}, format="png", ppi=DOTS_PER_INCH, **_settings()
    )
    return bytes(made)


def _settings() -> dict[str, Any]:
    return {"font_paths": [str(fonts.folder())], "ignore_system_fonts": True}


def _instant(document: Document) -> int:
    return int(datetime.fromisoformat(document.end).replace(tzinfo=UTC).timestamp())


def _dressed(svg: str) -> bytes:
    """With the font that is embedded, in place of whatever a browser has."""
    return svg.replace("system-ui, sans-serif", fonts.FAMILY).encode()


def _files(document: Document, author: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    blocks: list[dict[str, Any]] = []
    for block in document.blocks:
        match block:
            case HeadingBlock(text, level):
                blocks.append({"kind": "heading", "text": text, "level": level})
            case Paragraph(text, note):
                blocks.append({"kind": "paragraph", "text": text, "note": note})
            case ChartBlock(_title, svg, told):
                name = f"chart-{len(files)}.svg"
                files[name] = _dressed(svg)
                blocks.append({"kind": "chart", "file": name, "told": told})
            case Table():
                blocks.append(_table(block))
    data = {
        "title": document.title,
        "subtitle": document.subtitle,
        "author": author,
        "end": [int(part) for part in document.end.split("-")],
        "lang": document.language,
        "fonts": {"body": fonts.FAMILY, "title": fonts.FAMILY},
        "facts": document.facts,
        "footer": document.footer,
        "blocks": blocks,
    }
    return {"data.json": json.dumps(data, ensure_ascii=False).encode(), **files}


def _table(table: Table) -> dict[str, Any]:
    written = [[_breakable(cell) for cell in row] for row in table.written()]
    heads = [column.heading for column in table.columns]
    return {
        "kind": "table",
        "title": table.title if table.captioned else "",
        "columns": [{"label": head, "right": column.right} for head, column in zip(heads, table.columns, strict=True)],
        "widths": [_share([head, *(row[at] for row in written[:400])]) for at, head in enumerate(heads)],
        "rows": written,
    }


def _share(cells: list[str]) -> float:
    """How much of a table's width a column gets: what nine of ten of its cells need, none less than a little."""
    wide = sorted(_width(cell) for cell in cells)
    return float(min(max(wide[-(-9 * (len(wide) - 1) // 10)], _word(cells[0]), 6), 34) + SIDES)


def _width(text: str) -> int:
    """Of Latin letters; a Chinese character is two."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text if one != "\u200b")


def _word(head: str) -> int:
    """What a heading needs: all of a short one, else its longest Latin word, or a third of it where it may break anywhere."""
    if _width(head) <= WHOLE:
        return _width(head)
    latin = max((len(one) for one in re.findall(r"[!-~]+", head)), default=0)
    return max(latin + 1, _width(head) // 3)


def _breakable(text: str) -> str:
    """A digest or an identifier may break anywhere: a space of no width after every eighth character."""
    if len(text) < 24 or any(unicodedata.east_asian_width(one) in "WF" for one in text) or " " in text:
        return text
    return "\u200b".join(text[at : at + 8] for at in range(0, len(text), 8))
