"""Documents that name the code are held to it: what is gone from one is gone from the other."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import click
import pytest
from babel.messages.pofile import read_po

from console.cli import main
from console.cli.reference import pages, settings
from console.settings import PREFIX, Settings
from tests.suite.outside import ROOT

PACKAGES = ("quota", "providers", "metering", "console")
DEV = ROOT / "docs" / "dev"
GUIDES = [*sorted((ROOT / "docs" / "operators").glob("connect-*.md")), ROOT / "docs" / "operators" / "founding.md"]


@pytest.mark.slow
def test_the_operators_tables_are_what_the_code_gives() -> None:
    for name, lines in pages().items():
        assert (ROOT / "docs" / "operators" / name).read_text("utf-8").splitlines() == lines, (
            f"run `guanjia reference docs/operators` again: {name}"
        )


def test_every_setting_says_what_it_is() -> None:
    said = {row.split("|")[1].strip(): row.split("|")[3].strip() for row in settings() if row.startswith("| `")}
    assert [name for name, text in said.items() if not text] == []


def test_every_room_has_a_line_on_the_map_and_every_line_a_room() -> None:
    text = (DEV / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"`((?:quota|providers|metering|console)(?:/\w+)*)/?`", text.split("## Walk 1")[0]))
    rooms = {
        str(one.parent.relative_to(ROOT))
        for package in PACKAGES
        for one in (ROOT / package).rglob("__init__.py")
        if "migrations" not in one.parts
    }
    inner = {one for one in rooms if one.startswith(("console/pages/", "providers/adapters/"))}
    assert named == rooms - inner


def test_what_the_glossary_calls_things_is_what_the_code_calls_them() -> None:
    defined: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    defined.add(node.name)
                    defined |= {
                        f"{node.name}.{target.id}"
                        for inner in node.body
                        if isinstance(inner, ast.Assign)
                        for target in inner.targets
                        if isinstance(target, ast.Name)
                    }
                    defined |= {
                        inner.target.id
                        for inner in node.body
                        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name)
                    }
                elif isinstance(node, ast.FunctionDef):
                    defined.add(node.name)
    rows = [line for line in (DEV / "glossary.md").read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    names = {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    assert names
    assert names - defined == set()


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    lost = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert lost == []


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_every_command_stands_in_the_table_of_commands(readme: str) -> None:
    rows = [one for one in (ROOT / readme).read_text("utf-8").splitlines() if one.startswith("| `guanjia ")]
    said = {word for row in rows for code in re.findall(r"`([^`]+)`", row) for word in code.split()[:2]}
    ours = {"replay": "the old name of rehearse", "reference": "writes pages of this repository"}
    assert set(main.commands) - {*said, *ours} == set()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_what_a_guide_has_people_click_stands_in_the_console(guide: Path) -> None:
    """Words in «…» and paths of menus are texts of the console, commands are commands, variables are settings."""
    text = guide.read_text("utf-8")
    with (ROOT / "console" / "translations" / "en" / "LC_MESSAGES" / "messages.po").open("rb") as stream:
        texts = {str(one.id) for one in read_po(stream) if one.id}
    whole = "\n".join(texts)
    quoted = {part.strip() for one in re.findall(r"«([^»]+)»", text) for part in one.replace("\n", " ").split("›")}
    menus = {part for one in re.findall(r"(?:[\u4e00-\u9fff]+ › )+[\u4e00-\u9fff]+", text) for part in one.split(" › ")}
    assert {one for one in quoted if one not in whole} == set()
    assert menus - texts == set()
    for words in re.findall(r"`guanjia ([a-z][a-z -]*)", text):
        found: click.Command = main
        for word in words.split():
            if not isinstance(found, click.Group) or word.startswith("-"):
                break
            assert word in found.commands, words
            found = found.commands[word]
    known = {f"{PREFIX}{one.name.upper()}" for one in fields(Settings)}
    assert set(re.findall(r"GUANJIA_[A-Z_]+", text)) <= known


def test_decisions_are_numbered_and_whole() -> None:
    rows = [
        line for line in (ROOT / "docs" / "decisions.md").read_text("utf-8").splitlines() if line.startswith("| D-")
    ]
    assert [row.split()[1] for row in rows] == [f"D-{number:03d}" for number in range(1, len(rows) + 1)]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}


def test_no_folder_is_a_corridor() -> None:
    """A folder holds twenty modules of its own at the most; more than that hides a subject."""
    crowded = {
        str(folder.relative_to(ROOT)): count
        for package in PACKAGES
        for folder in {one.parent for one in (ROOT / package).rglob("*.py") if "versions" not in one.parts}
        if (count := sum(one.name != "__init__.py" for one in folder.glob("*.py"))) > 20
    }
    assert crowded == {}
