"""What people type, matched with the rows that they may mean."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from sqlalchemy import Select, case, func, literal, or_, select

from console.words import _
from quota.db import Tx
from quota.directory import Department, System

Choosable = Select[int, str, str]
"""A query of what may be chosen: its columns are ``id``, ``code`` and ``name``."""

MOST = 60
"""Choices that a list shows; where there are more, one types."""
SUGGESTED = 20
LONGEST = 200
"""Characters of a text that is looked for."""
PIECES = 8
"""Characters of what was not found, and pairs of them, by which its like are looked for."""
ALIKE = 0.4
"""How much of a name and of what was typed must be the same for the one to be near the other."""
BRACKETS = (("（", "）"), (" (", ")"), ("(", ")"))
"""About the code, behind the name: as either language writes them, and as people do."""


@dataclass(frozen=True, slots=True)
class Named:
    """A row that may be chosen."""

    id: int
    code: str
    name: str

    @property
    def written(self) -> str:
        """As the field writes it; typed like this, it is found again."""
        return _("%(name)s（%(code)s）", name=self.name, code=self.code)


class Unclear(Exception):
    """What was typed means none, or several. Its text is a sentence in the reader's language, with those that it may mean."""


def departments(*, within: Collection[int] | None = None, ended: bool = False) -> Choosable:
    """Departments, of ``within`` alone where it is given; those that have ended where they may be asked for."""
    query = select(Department.id, Department.code, Department.name)
    if not ended:
        query = query.where(Department.active)
    return query if within is None else query.where(Department.id.in_(within))


def systems(*, within: Collection[int] | None = None) -> Choosable:
    """Information systems in use, of the departments ``within`` alone where it is given."""
    query = select(System.id, System.code, System.name).where(System.active)
    return query if within is None else query.where(System.department_id.in_(within))


def some(tx: Tx, among: Choosable, most: int) -> list[Named]:
    """The first ``most`` by name."""
    columns = among.selected_columns
    rows = tx.execute(among.order_by(columns["name"], columns["id"]).limit(most))
    return [Named(*row) for row in rows]


def by_id(tx: Tx, among: Choosable, number: int) -> Named | None:
    row = tx.execute(among.where(among.selected_columns["id"] == number)).first()
    return None if row is None else Named(*row)


def suggested(tx: Tx, among: Choosable, text: str) -> list[Named]:
    """At most ``SUGGESTED`` whose name or code holds ``text``, those that begin so first."""
    columns, text = among.selected_columns, text.strip()[:LONGEST]
    if not text:
        return some(tx, among, SUGGESTED)
    code, name = columns["code"], columns["name"]
    begins = or_(name.istartswith(text, autoescape=True), code.istartswith(text, autoescape=True))
    holds = or_(name.icontains(text, autoescape=True), code.icontains(text, autoescape=True))
    query = among.where(holds).order_by(case((begins, 0), else_=1), name, columns["id"]).limit(SUGGESTED)
    return [Named(*row) for row in tx.execute(query)]


def found(tx: Tx, among: Choosable, text: str) -> Named:
    """The one whose code or name ``text`` is, or both as they are written. Part of a name is not enough, be it of one alone:
    who types half a word may mean one that is not there. Raises Unclear."""
    text = text.strip()[:LONGEST]
    columns = among.selected_columns
    code, name = columns["code"], columns["name"]
    written = or_(*(name + opens + code + closes == text for opens, closes in BRACKETS))
    rows = [
        Named(*row)
        for row in tx.execute(
            among.where(or_(func.lower(code) == text.lower(), name == text, written))
            .order_by(code, columns["id"])
            .limit(SUGGESTED + 1)
        )
    ]
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise Unclear(_("“%(text)s”不止一个，请按编码填写：%(near)s", text=text, near=_listed(rows)))
    near = like(tx, among, text)
    if near:
        raise Unclear(_("没有“%(text)s”。相近的有：%(near)s", text=text, near=_listed(near)))
    raise Unclear(_("没有“%(text)s”。请填写编码，或完整的名称", text=text))


def like(tx: Tx, among: Choosable, text: str, most: int = 5) -> list[Named]:
    """Those that ``text`` may have meant, the likeliest first: of what holds it, else of what has most of its characters, alone or in
    pairs."""
    rows: Sequence[Named] = suggested(tx, among, text)
    if not rows:
        columns = among.selected_columns
        pairs = [text[i : i + 2] for i in range(min(len(text) - 1, PIECES))]
        pieces = list(dict.fromkeys([*pairs, *text[:PIECES]]))
        either = [
            or_(*(columns[one].icontains(piece, autoescape=True) for one in ("name", "code"))) for piece in pieces
        ]
        shared = sum((case((one, 1), else_=0) for one in either), literal(0))
        query = among.where(or_(*either)).order_by(shared.desc(), columns["id"]).limit(SUGGESTED)
        rows = [Named(*row) for row in tx.execute(query)]
    alike = {one: max(_alike(text, one.name), _alike(text, one.code)) for one in rows}
    found = sorted(rows, key=lambda one: -alike[one])[:most]
    return [one for one in found if alike[one] >= ALIKE or text.lower() in f"{one.name} {one.code}".lower()]


def _alike(text: str, word: str) -> float:
    return SequenceMatcher(None, text.lower(), word.lower()).ratio()


def _listed(rows: Sequence[Named]) -> str:
    told = _("、").join(one.written for one in rows[:SUGGESTED])
    return told + ("…" if len(rows) > SUGGESTED else "")
