"""A document as a text that offices go on with (docx): real headings, tables whose heads repeat, page numbers."""

from __future__ import annotations

import io
from typing import Any

from docx import Document as Blank
from docx.enum.section import WD_ORIENT
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Pt, RGBColor

from console.reports import archives
from console.reports.documents import ChartBlock, Document, HeadingBlock, Paragraph, Table
from console.reports.pdf import picture
from console.reports.sheets import clean

BODY, TITLE, LATIN = "FangSong", "SimHei", "Times New Roman"
"""Fonts that offices have; none is embedded: whoever opens the text goes on with their own."""

GREY = RGBColor(0x59, 0x59, 0x59)


def docx(document: Document, author: str = "") -> bytes:
    """The file."""
    blank = Blank()
    _styles(blank, document)
    blank.core_properties.title = clean(f"{document.title} {document.subtitle}")
    blank.core_properties.author = clean(author or document.title)
    blank.core_properties.last_modified_by = ""
    blank.core_properties.comments = ""
    blank.core_properties.language = "zh-CN" if document.language == "zh" else "en"
    _front(blank, document)
    for block in document.blocks:
        match block:
            case HeadingBlock(text, level):
                blank.add_heading(clean(text), min(level, 3))
            case Paragraph(text, note):
                _paragraph(blank, text, note=note, indent=document.language == "zh")
            case ChartBlock():
                _chart(blank, block)
            case Table():
                _table(blank, block)
    out = io.BytesIO()
    blank.save(out)
    return archives.timeless(out.getvalue(), document.end)


def _styles(blank: Any, document: Document) -> None:
    section = blank.sections[0]
    section.orientation = WD_ORIENT.PORTRAIT
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    section.left_margin = section.right_margin = Cm(2.6)
    section.top_margin, section.bottom_margin = Cm(3), Cm(2.6)
    for name, font, size in (
        ("Normal", BODY, 12), ("Heading 1", TITLE, 15), ("Heading 2", TITLE, 13), ("Title", TITLE, 20),
    ):  # fmt: skip
        style = blank.styles[name]
        style.font.size = Pt(size)
        style.font.color.rgb = RGBColor(0, 0, 0)
        _font(style.element.get_or_add_rPr(), font)
    footer = section.footer.paragraphs[0]
    footer.alignment = WD_ALIGN_PARAGRAPH.CENTER
    run = footer.add_run(clean(document.footer) + "  ")
    run.font.size = Pt(8)
    _field(footer, "PAGE")


def _font(properties: Any, east_asian: str) -> None:
    fonts = properties.find(qn("w:rFonts"))
    if fonts is None:
        fonts = OxmlElement("w:rFonts")
        properties.insert(0, fonts)
    for name in list(fonts.attrib):
        del fonts.attrib[name]
    for name, value in (("ascii", LATIN), ("hAnsi", LATIN), ("cs", LATIN), ("eastAsia", east_asian)):
        fonts.set(qn(f"w:{name}"), value)


def _field(paragraph: Any, code: str) -> None:
    """A field that whoever opens the text fills: the number of the page."""
    for kind in ("begin", None, "end"):
        run = paragraph.add_run()
        run.font.size = Pt(9)
        if kind is None:
            told = OxmlElement("w:instrText")
            told.set(qn("xml:space"), "preserve")
            told.text = f" {code} "
        else:
            told = OxmlElement("w:fldChar")
            told.set(qn("w:fldCharType"), kind)
        run._r.append(told)


def _front(blank: Any, document: Document) -> None:
    title = blank.add_paragraph(clean(document.title), style="Title")
    title.alignment = WD_ALIGN_PARAGRAPH.CENTER
    under = blank.add_paragraph(clean(document.subtitle))
    under.alignment = WD_ALIGN_PARAGRAPH.CENTER
    table = blank.add_table(rows=0, cols=2, style="Table Grid")
    table.alignment = WD_TABLE_ALIGNMENT.CENTER
    for name, value in document.facts:
        cells = table.add_row().cells
        _write(cells[0], name)
        _write(cells[1], value)


def _paragraph(blank: Any, text: str, *, note: bool, indent: bool) -> None:
    paragraph = blank.add_paragraph()
    run = paragraph.add_run(clean(text))
    if note:
        run.font.size, run.font.color.rgb = Pt(9), GREY
    elif indent:
        paragraph.paragraph_format.first_line_indent = Pt(24)


def _chart(blank: Any, chart: ChartBlock) -> None:
    shape = blank.add_picture(io.BytesIO(picture(chart.svg)), width=Cm(15.5))
    about = shape._inline.docPr
    about.set("descr", clean(chart.told))
    about.set("title", clean(chart.title))


def _table(blank: Any, table: Table) -> None:
    if table.captioned:
        caption = blank.add_paragraph()
        caption.paragraph_format.keep_with_next = True
        caption.add_run(clean(table.title)).bold = True
    written = table.written()
    made = blank.add_table(rows=1 + len(written), cols=len(table.columns), style="Table Grid")
    made.alignment = WD_TABLE_ALIGNMENT.CENTER
    # Cells are taken row by row: asking a table for a cell walks the whole of it.
    rows = made._tbl.tr_lst
    _row(rows[0], [column.heading for column in table.columns], [column.right for column in table.columns], head=True)
    for row, cells in zip(rows[1:], written, strict=True):
        _row(row, cells, [column.right for column in table.columns])


def _row(row: Any, cells: list[str], right: list[bool], *, head: bool = False) -> None:
    if head:
        row.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    for cell, text, at_right in zip(row.tc_lst, cells, right, strict=True):
        paragraph = cell.p_lst[0]
        if at_right:
            paragraph.get_or_add_pPr().get_or_add_jc().set(qn("w:val"), "right")
        run = paragraph.add_r()
        properties = run.get_or_add_rPr()
        if head:
            properties.append(OxmlElement("w:b"))
        size = OxmlElement("w:sz")
        size.set(qn("w:val"), "17")
        properties.append(size)
        run.add_t(clean(text))


def _write(cell: Any, text: str) -> None:
    run = cell.paragraphs[0].add_run(clean(text))
    run.font.size = Pt(10.5)
