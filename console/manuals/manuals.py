"""The manuals as pages: ``docs/zh`` and ``docs/en``, in a wheel beside this module. Each role has one; what is said of single pages
stands once, in ``pages.md``, under an anchor for each page that the navigation leads to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from quota.actors import Role
from quota.errors import N_

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent.parent / "docs"
TEXTS = next(one for one in (HERE, DOCS) if (one / "zh").is_dir())
FOLDERS = {"zh_CN": "zh", "en": "en"}
"""Where the texts of each language lie."""
PICTURES = next(one for one in (HERE / "pictures", DOCS / "screenshots") if one.is_dir())

_ENTRY = re.compile(r'^### <a id="([a-z_-]+)"></a>(.+)$', re.M)
_PICTURE = re.compile(r"\(\.\./screenshots/([a-z0-9-]+\.png)\)")


@dataclass(frozen=True, slots=True)
class Manual:
    """One manual: whose it is, and what it is called."""

    name: str
    label: str
    roles: frozenset[Role]


MANUALS: Mapping[str, Manual] = {
    one.name: one
    for one in (
        Manual("departments", N_("使用单位手册"), frozenset({Role.TENANT})),
        Manual("supervision", N_("监督方与主管部门手册"), frozenset({Role.SUPERVISOR, Role.AUTHORITY, Role.AUDITOR})),
        Manual("providers", N_("云服务商手册"), frozenset({Role.PROVIDER})),
        Manual("administration", N_("管理员手册"), frozenset({Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN})),
    )
}


@dataclass(frozen=True, slots=True)
class ManualEntry:
    """What is said of one page."""

    anchor: str
    title: str
    html: Markup


@dataclass(frozen=True, slots=True)
class ManualSection:
    """Entries of one section of the navigation."""

    title: str
    entries: Sequence[ManualEntry]


def manual_of(role: Role) -> Manual:
    """The manual of a role."""
    return next(one for one in MANUALS.values() if role in one.roles)


def anchor(endpoint: str) -> str:
    """Under what a page of the navigation is spoken of."""
    return endpoint.replace(".", "-")


@cache
def narrative(name: str, language: str, pictures: str) -> Markup:
    """A manual's own text, its pictures at ``pictures`` (an address that ends with a slash)."""
    text = _text(name, language)
    return _rendered(_PICTURE.sub(lambda found: f"({pictures}{found[1]})", text.partition("\n")[2]))


@cache
def entries(language: str) -> Sequence[ManualSection]:
    """What is said of each page, by section."""
    found = []
    for part in re.split(r"^## ", _text("pages", language), flags=re.M)[1:]:
        title, _line, rest = part.partition("\n")
        pieces = _ENTRY.split(rest)[1:]
        of_it = [
            ManualEntry(name, said.strip(), _rendered(text))
            for name, said, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)
        ]
        found.append(ManualSection(title.strip(), of_it))
    return found


def _text(name: str, language: str) -> str:
    return (TEXTS / FOLDERS[language] / f"{name}.md").read_text("utf-8")


def _rendered(text: str) -> Markup:
    """Our own texts, without any HTML in them."""
    return Markup(MarkdownIt("commonmark", {"html": False}).render(text))  # noqa: S704 - of files that the wheel carries
