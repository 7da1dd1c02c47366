"""Which files are taken as evidence, told by what is in them, never by their names. Pure."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from dataclasses import dataclass

from quota.errors import N_, Invalid

LARGEST = 10 * 1024 * 1024
"""Bytes of one file."""
UNPACKED = 200 * 1024 * 1024
"""Bytes that a document may claim to unpack to."""
NAME_LENGTH = 120

_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
EXTENSIONS: dict[str, tuple[str, ...]] = {
    "application/pdf": (".pdf",),
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    _SHEET: (".xlsx",),
    _WORD: (".docx",),
    "text/plain": (".txt", ".csv"),
}
"""What a file is → how its name may end."""
ACCEPTED = ",".join(sorted(end for ends in EXTENSIONS.values() for end in ends))

_MARKUP = re.compile(r"^\s*<|<\s*(script|svg|html|iframe|object|embed)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file that is taken: its name without folders, and what it is."""

    name: str
    media_type: str


def recognise(name: str, content: bytes) -> Recognised:
    """What a file is. Raises Invalid naming the file: empty, too large, not of a kind that is taken, or by a name that
    says something else than its content."""
    clean = bare_name(name)
    if not content:
        raise Invalid("file.empty", N_("文件“%(name)s”是空的"), name=clean, field="files")
    if len(content) > LARGEST:
        raise Invalid(
            "file.large",
            N_("文件“%(name)s”为%(size)s MB,单个文件不超过%(most)s MB"),
            name=clean,
            size=f"{len(content) / 1024**2:.1f}",
            most=LARGEST // 1024**2,
            field="files",
        )
    media_type = _told(content)
    if media_type is None:
        raise Invalid(
            "file.kind",
            N_("文件“%(name)s”的内容不是可接受的类型:只接受PDF、PNG、JPEG、xlsx、docx、txt、csv"),
            name=clean,
            field="files",
        )
    if not clean.lower().endswith(EXTENSIONS[media_type]):
        raise Invalid(
            "file.name",
            N_("文件“%(name)s”的内容与扩展名不符,按内容应为%(ends)s"),
            name=clean,
            ends="、".join(EXTENSIONS[media_type]),
            field="files",
        )
    if media_type == "text/plain" and clean.lower().endswith(".csv"):
        media_type = "text/csv"
    return Recognised(clean, media_type)


def bare_name(name: str) -> str:
    """A file's own name: no folders, no control or direction marks, not longer than a line; its ending is kept."""
    text = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    text = "".join(one for one in text if unicodedata.category(one)[0] != "C").strip(" .")
    stem, dot, end = text.rpartition(".")
    if dot and stem:
        return f"{stem[: NAME_LENGTH - len(end[:10]) - 1]}.{end[:10]}"
    return text[:NAME_LENGTH] or N_("未命名")


def _told(content: bytes) -> str | None:
    if content.startswith(b"%PDF-"):
        return "application/pdf" if b"%%EOF" in content[-2048:] else None
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png" if content[12:16] == b"IHDR" and b"IEND" in content[-64:] else None
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg" if b"\xff\xd9" in content[-64:] else None
    if content.startswith(b"PK\x03\x04"):
        return _office(content)
    return "text/plain" if _is_text(content) else None


def _office(content: bytes) -> str | None:
    """A sheet or a document without macros that does not unpack to a flood."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            parts = package.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return None
    names = {one.filename for one in parts}
    if "[Content_Types].xml" not in names or len(parts) > 10_000 or sum(one.file_size for one in parts) > UNPACKED:
        return None
    if any(one.lower().endswith((".bin", ".exe", ".js", ".vbs")) and "vba" in one.lower() for one in names):
        return None
    if "xl/workbook.xml" in names:
        return _SHEET
    return _WORD if "word/document.xml" in names else None


def _is_text(content: bytes) -> bool:
    for encoding in ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if any(one < " " and one not in "\t\n\r\f" for one in text):
            return False
        return _MARKUP.search(text) is None
    return False
