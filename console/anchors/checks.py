"""Anchors held against the book: what was signed and published before says where the chains ended then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import func, select

from console.anchors.curves import thumbprint
from console.anchors.statements import LONGEST, SUFFIX, Anchored, BadAnchor, opened
from console.anchors.tables import Anchor
from quota import inspection
from quota.audit import AuditRecord
from quota.db import Tx
from quota.sealing import Sealing
from quota.seals import GENESIS

Told = tuple[str, str]
"""Where an anchor was found (a path, or "anchors: row 7"), and its token."""


def read(places: Iterable[Path]) -> tuple[list[Told], list[str]]:
    """The anchors in files and folders, and a sentence for each place that cannot be read."""
    found: list[Told] = []
    said: list[str] = []
    for place in places:
        try:
            paths = sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place]
            if not paths:
                said.append(f"{place}: there is no anchor in it")
            for path in paths:
                if path.stat().st_size > LONGEST:
                    said.append(f"{path}: it is no anchor: too long")
                else:
                    found.append((str(path), path.read_text(encoding="ascii", errors="replace").strip()))
        except OSError as error:
            said.append(f"{place}: cannot be read: {error.strerror or error}")
    return found, said


def compare(tx: Tx, outside: Iterable[Told], *, trusted: str = "") -> Iterator[str]:
    """Hold anchors, those of the book and those from ``outside``, against the book: a sentence for each that it does not bear out.

    ``trusted``: the id of a key that is known to be the house's; without it the oldest anchor's is believed. Keys that a
    trusted one names as its next are trusted as well.
    """
    problems: list[str] = []
    own = [(f"anchors: row {one.sequence}", one.token) for one in inspection.rows(tx, select(Anchor), problems)]
    known: set[str] = {trusted} if trusted else set()
    by_number: dict[int, str] = {}
    for where, token, said in _in_order([*outside, *own], problems):
        if not known:
            known.add(said.key_id)
        if said.key_id not in known:
            yield f"{where}: is signed by key {said.key_id}, which is not the house's"
            continue
        if said.next_key is not None:
            known.add(thumbprint(said.next_key))
        if by_number.setdefault(said.sequence, token) != token:
            yield f"{where}: is not what another anchor {said.sequence} says"
        yield from _held(tx, where, said)
    yield from problems
    for number in sorted(by_number.keys() - {one[1] for one in _numbers(own)}):
        yield f"anchors: row {number} is missing, and was published"


def _in_order(found: Iterable[Told], problems: list[str]) -> list[tuple[str, str, Anchored]]:
    opened_ones = []
    for where, token in found:
        try:
            opened_ones.append((where, token, opened(token)))
        except BadAnchor as bad:
            problems.append(f"{where}: {bad}")
    return sorted(opened_ones, key=lambda one: (one[2].sequence, one[2].at, one[0]))


def _numbers(own: Iterable[Told]) -> Iterator[tuple[str, int]]:
    for where, token in own:
        try:
            yield where, opened(token).sequence
        except BadAnchor:
            continue


def _held(tx: Tx, where: str, said: Anchored) -> Iterator[str]:
    """Where the chains ended then, they must still pass."""
    for name, column, digest, number, wanted in (
        ("audit_records", AuditRecord.sequence, AuditRecord.digest, said.records, said.record_digest),
        ("sealings", Sealing.sequence, Sealing.digest, said.sealings, said.seal_digest),
    ):
        of = f"anchor {said.sequence} of {said.at:%Y-%m-%d %H:%M} UTC"
        if number == 0:
            if wanted != GENESIS:
                yield f"{where}: says that {name} ends at 0 with a digest"
            continue
        found = tx.scalar(select(digest).where(column == number))
        if found is None:
            end = tx.scalar(select(func.max(column))) or 0
            yield f"{name}: row {number} is gone: {of} ({where}) saw it, the chain ends at {end}: it was cut"
        elif found != wanted:
            yield f"{name}: row {number} is not what {of} ({where}) saw: the chain was rewritten at or before it"
