"""Text files as people have them, turned into UTF-8 blocks of whole lines, with line numbers that are
right.

Understood: gzip, UTF-8 with or without BOM, UTF-16 with BOM, GB18030, Windows and old Mac line ends. Memory
is bounded by BLOCK whatever the file's size or the length of its lines.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from providers.metrics import Array
from providers.readers.refusals import Reading, unusable

BLOCK = 16 << 20
"""Bytes read at once."""

HUGE = 64 << 10
"""A line longer than this is no row of a table."""

SEPARATORS = ";,\t|"
"""What may stand between the cells of a line."""

TROUBLES = ("line.fields", "line.quotes", "line.huge", "line.encoding", "line.blank", "line.return")

REPLACED = "\ufffd".encode()


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Whole lines in UTF-8, each ended by one newline; ``first`` is the number of the first, from 1.

    ``cut`` marks the piece after the last line end: a line that may have been cut off.
    """

    data: bytes
    first: int
    cut: bool = False


def magic(path: Path) -> bytes:
    """The first bytes of a file, by which its container is known. Raises Invalid for an empty or unreadable one, by its name:
    where an upload was laid is nobody's business."""
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise unusable("file.unreadable", path.name, why=error.strerror or str(error)) from error
    if not head:
        raise unusable("file.empty", path.name)
    return head


def blocks(path: Path, name: str, reading: Reading) -> Iterator[TextBlock]:
    """The text of ``path`` in blocks of whole lines. Notes the encoding where it is not UTF-8.

    Raises Invalid for what is not text: binary content, an unknown encoding, a damaged gzip stream.
    """
    packed = magic(path)[:2] == b"\x1f\x8b"
    decoder = Decoder(name, reading)
    line, rest = 1, b""
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            for raw in decoder.utf8(stream):
                rest += raw
                end = rest.rfind(b"\n") + 1
                if not end:
                    rest = rest[: HUGE + 1]  # still too long to be taken, no longer able to fill the memory
                    continue
                data, rest = rest[:end], rest[end : end + HUGE + 1] if len(rest) - end > HUGE else rest[end:]
                data = decoder.clean(data, line)
                yield TextBlock(data, line)
                line += data.count(b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise unusable("file.gzip", name, why=str(error)) from error
    except OSError as error:
        raise unusable("file.unreadable", name, why=error.strerror or str(error)) from error
    if rest:
        yield TextBlock(decoder.clean(rest, line, cut=True), line, cut=True)
    elif line == 1:
        raise unusable("file.empty", name)


class Decoder:
    """Bytes in whatever encoding → UTF-8 with ``\\n`` line ends."""

    def __init__(self, name: str, reading: Reading) -> None:
        self.name = name
        self.reading = reading
        self.encoding: str | None = None  # None until the first byte that is not ASCII
        self.old_mac = False

    def utf8(self, stream: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
        """Pieces of the stream without a BOM; UTF-16 decoded, old Mac line ends turned."""
        first = stream.read(BLOCK)
        wide = None
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            self.encoding = "utf-16"
            wide = codecs.getincrementaldecoder("utf-16")(errors="replace")
            self.reading.note("text.encoding", encoding="UTF-16")
        elif first.startswith(codecs.BOM_UTF8):
            self.encoding, first = "utf-8", first[3:]
        head = wide.decode(first).encode() if wide else first
        if (nul := head.find(b"\0", 0, HUGE)) >= 0:
            start = head.rfind(b"\n", 0, nul) + 1
            raise unusable("file.binary", self.name, line=head.count(b"\n", 0, nul) + 1, column=nul - start + 1)
        self.old_mac = b"\n" not in head and b"\r" in head
        while head:
            yield head.replace(b"\r", b"\n") if self.old_mac else head
            raw = stream.read(BLOCK)
            head = wide.decode(raw).encode() if wide else raw

    def clean(self, data: bytes, line: int, *, cut: bool = False) -> bytes:
        """Whole lines → UTF-8. A line with a few broken characters keeps U+FFFD, to be refused as a
        line."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r\n", b"\n")  # twice: line ends turned twice are common
        if self.encoding == "utf-16" or data.isascii():
            return data
        if self.encoding is None:
            self.encoding = "utf-8" if cut else self.guess(data, line)
            if self.encoding != "utf-8":
                self.reading.note("text.encoding", encoding=self.encoding.upper())
        try:
            return data.decode(self.encoding).encode()
        except UnicodeDecodeError:  # line by line, so that a broken character swallows no line end
            return b"\n".join(line.decode(self.encoding, "replace").encode() for line in data.split(b"\n"))

    def guess(self, data: bytes, line: int) -> str:
        """UTF-8 or GB18030, whichever reads more of the characters beyond ASCII than it breaks."""
        for encoding in ("utf-8", "gb18030"):
            try:
                data.decode(encoding)
            except UnicodeDecodeError:
                continue
            return encoding
        for encoding in ("utf-8", "gb18030"):
            text = data[: 1 << 20].decode(encoding, "replace")
            broken = text.count("\ufffd")
            if broken <= sum(not character.isascii() for character in text) - broken:
                return encoding
        raise unusable("file.encoding", self.name, line=line)


@dataclass(frozen=True, slots=True)
class TextLines:
    """Lines with the right number of fields: their bytes, their numbers in the file, and where each one
    starts."""

    data: bytes
    numbers: Array
    starts: Array
    separator: str

    def __len__(self) -> int:
        return len(self.numbers)

    def text(self, row: int) -> str:
        start = int(self.starts[row])
        return self.data[start : self.data.index(b"\n", start)].decode("utf-8", "replace")

    def cell(self, row: int, column: int) -> str:
        """The text of one field; ``column`` from 0."""
        return fields(self.text(row), self.separator)[column]


def fields(line: str, separator: str) -> list[str]:
    """The fields of one line, without quotes and surrounding blanks."""
    if '"' not in line:
        return [one.strip() for one in line.split(separator)]
    return [one.strip() for one in next(csv.reader([line.replace("\r", " ")], delimiter=separator), [])]


def split(block: TextBlock, separator: str, width: int, reading: Reading, *, positional: bool = False) -> TextLines:
    """The lines of a block that have ``width`` fields; all others are counted in ``reading``.

    Blank lines are passed over, unless the format is ``positional`` (a value's place in the file is its
    time).
    """
    if block.cut:
        reading.rows += 1
        reading.refuse("line.cut", block.first, None, None, block.data[:400].decode("utf-8", "replace"))
        return TextLines(b"", np.empty(0, np.int64), np.empty(0, np.int64), separator)
    data = block.data.replace(b";\t", b";") if separator == ";" else block.data  # as Bitbrains writes it
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw == 10)
    starts = np.concatenate(([0], ends[:-1] + 1))
    length = ends - starts
    separators = raw == ord(separator)
    trouble = np.zeros(len(ends), np.uint8)
    if b'"' in data:
        quotes = raw == 34
        opened = np.cumsum(quotes, dtype=np.int64)
        before = np.concatenate(([0], opened[ends[:-1]]))
        inside = (opened - np.repeat(before, length + 1)) % 2 == 1
        separators &= ~inside
        trouble[(opened[ends] - before) % 2 == 1] = 2
        # A quote opens only at the start of a field and closes only at its end; otherwise readers disagree.
        at = np.flatnonzero(quotes)
        edge = separators | (raw == 10) | quotes
        stray = np.where(inside[at], (at > 0) & ~edge[at - 1], ~edge[np.minimum(at + 1, len(raw) - 1)])
        trouble[np.searchsorted(ends, at[stray])] = 2
    found = np.diff(np.searchsorted(np.flatnonzero(separators), np.concatenate((starts, [len(raw)])))) + 1
    trouble[(found != width) & (trouble == 0)] = 1
    trouble[length > HUGE] = 3
    if REPLACED in data:
        leads = np.flatnonzero(raw == REPLACED[0])
        broken = [int(at) for at in leads if data[at : at + 3] == REPLACED]
        trouble[np.searchsorted(ends, broken)] = 4
    if b"\r" in data:  # a line end to other readers
        trouble[np.searchsorted(ends, np.flatnonzero(raw == 13))] = 6
    if b"\0" in data:
        trouble[np.searchsorted(ends, np.flatnonzero(raw == 0))] = 4
    blank = length == 0
    if width == 1 or blank.any() or (found == 1).any():
        for bare in np.flatnonzero((found == 1) & (length < 200)):
            blank[bare] = not data[starts[bare] : ends[bare]].strip()
    trouble[blank] = 5
    numbers = block.first + np.arange(len(ends), dtype=np.int64)
    reading.rows += len(ends) - (0 if positional else int(blank.sum()))
    if trouble.any():
        for code, reason in enumerate(TROUBLES, 1):
            rows = np.flatnonzero(trouble == code)
            if not len(rows) or (reason == "line.blank" and not positional):
                continue
            for at in rows[: reading.count(reason, len(rows), rows=True)]:
                text = data[starts[at] : min(ends[at], starts[at] + 400)].decode("utf-8", "replace")
                reading.example(reason, int(numbers[at]), None, None, text)
        keep = trouble == 0
        data = raw[np.repeat(keep, length + 1)].tobytes()
        numbers = numbers[keep]
        starts = np.concatenate(([0], np.cumsum(length[keep] + 1)[:-1])) if len(numbers) else np.empty(0, np.int64)
    return TextLines(data, numbers, starts, separator)
