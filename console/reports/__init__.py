"""Reports on paper and screens: an edition's inputs become one document, and that a page, PDF, docx, xlsx and HTML."""

from __future__ import annotations

from console.reports.documents import ChartBlock, Document, HeadingBlock, Paragraph, Table
from console.reports.files import FORMATS, MIME, chosen, document, drawn, name, source, write
from console.reports.making import due, make
from console.reports.settlements import settlement
from console.reports.years import billing_preview, billing_year

__all__ = [
    "FORMATS",
    "MIME",
    "ChartBlock",
    "Document",
    "HeadingBlock",
    "Paragraph",
    "Table",
    "billing_preview",
    "billing_year",
    "chosen",
    "document",
    "drawn",
    "due",
    "make",
    "name",
    "settlement",
    "source",
    "write",
]
