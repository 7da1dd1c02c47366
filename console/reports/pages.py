"""A document as one HTML file that needs nothing else: for archives, mail and screens."""

from __future__ import annotations

from markupsafe import escape

from console.reports.documents import Block, ChartBlock, Document, HeadingBlock, Paragraph, Table

STYLE = """
body{font:15px/1.7 "Noto Sans SC","Source Han Sans SC","Microsoft YaHei",system-ui,sans-serif;color:#1d1d1f;
margin:0 auto;max-width:960px;padding:32px 20px}
h1{font-size:26px;text-align:center;margin:0 0 4px}h2{font-size:20px;margin:36px 0 8px}h3{font-size:16px;margin:24px 0 6px}
.sub{text-align:center;margin:0 0 18px}.note{color:#595959;font-size:13px}.wrap{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13px;margin:6px 0 14px}caption{text-align:left;font-weight:600;padding:8px 0 4px}
th,td{border-bottom:1px solid #d9d9d9;padding:5px 8px;text-align:left;vertical-align:top;overflow-wrap:anywhere}
thead th{border-bottom:2px solid #1d1d1f}.r{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:normal}
svg{max-width:100%;height:auto}footer{margin-top:40px;color:#595959;font-size:12px}
@media print{body{max-width:none;padding:0}h2,h3{break-after:avoid}tr{break-inside:avoid}}
"""


def html(document: Document, author: str = "") -> bytes:  # noqa: ARG001 - every format is asked alike
    """The file, UTF-8."""
    lang = "zh-CN" if document.language == "zh" else "en"
    name = escape(f"{document.title} {document.subtitle}")
    facts = "".join(
        f"<tr><th scope='row'>{escape(one)}</th><td>{escape(value)}</td></tr>" for one, value in document.facts
    )
    body = "\n".join(map(_block, document.blocks))
    return (
        f"<!doctype html>\n<html lang='{lang}'><head><meta charset='utf-8'><meta name='viewport' "
        f"content='width=device-width,initial-scale=1'><title>{name}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(document.title)}</h1><p class='sub'>{escape(document.subtitle)}</p>"
        f"<table><tbody>{facts}</tbody></table>\n{body}</main><footer>{escape(document.footer)}</footer></body></html>\n"
    ).encode()


def _block(block: Block) -> str:
    match block:
        case HeadingBlock(text, level):
            return f"<h{level + 1}>{escape(text)}</h{level + 1}>"
        case Paragraph(text, note):
            return f"<p class='note'>{escape(text)}</p>" if note else f"<p>{escape(text)}</p>"
        case ChartBlock(_title, svg, told):
            return f"<figure aria-label='{escape(told)}'>{svg}</figure>"
        case Table():
            return _table(block)
    raise TypeError(block)


def _table(table: Table) -> str:
    right = [" class='r'" if column.right else "" for column in table.columns]
    head = "".join(
        f"<th scope='col'{way}>{escape(column.heading)}</th>" for column, way in zip(table.columns, right, strict=True)
    )
    rows = "\n".join(
        "<tr>" + "".join(f"<td{way}>{escape(cell)}</td>" for cell, way in zip(row, right, strict=True)) + "</tr>"
        for row in table.written()
    )
    caption = f"<caption>{escape(table.title)}</caption>" if table.captioned else ""
    return (
        f"<div class='wrap' tabindex='0' role='region' aria-label='{escape(table.title)}'><table>"
        f"{caption}<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )
