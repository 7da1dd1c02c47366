"""The trail in words: nothing is ever written to it that has none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from console.pages.quota.quota import COMMANDS
from console.words import audit, names
from console.words.audit import CASE_ACTIONS
from quota.actors import Role
from quota.ledger import Act
from tests.console.conftest import Visit

ACTION = re.compile(r"[a-z_]+\.[a-z_]+")
ROOT = Path(__file__).resolve().parents[2]


def booked() -> set[str]:
    """Every command that the sources book entries with: what is moved by its whole name, and what a ``command`` is."""
    found: set[str] = set()
    for path in (ROOT / "quota" / "ledger").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            named = [each.value for each in node.keywords if each.arg == "command"]
            at = {"_move": 1, "_undo": 1}.get(called(node))
            for what in named + ([node.args[at]] if at is not None else []):
                found |= {each.value for each in ast.walk(what) if isinstance(each, ast.Constant)}
    return {one for one in found if isinstance(one, str)} | {one.value for one in Act if one is not Act.MOVE}


def test_every_command_that_entries_are_booked_with_has_a_word() -> None:
    assert {"convert", "expire", "hand_over", "provision", "take_back"} <= booked()
    assert booked() <= COMMANDS.keys()


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def written() -> set[str]:
    """Every action that the sources write to the trail by its whole name, themselves or through a function that takes
    an ``action``."""
    nodes = [
        node
        for package in ("quota", "providers", "metering", "console")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ]
    through = {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef) and "action" in {one.arg for one in node.args.args}
    }
    return {
        one.value
        for node in nodes
        if isinstance(node, ast.Call) and (called(node) == "audit" or called(node) in through)
        for argument in node.args[: 1 if called(node) == "audit" else None]
        for one in ([argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument])
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and ACTION.fullmatch(one.value)
    }


def test_every_action_has_a_word() -> None:
    actions = written()
    assert len(actions) > 90
    assert sorted(actions - set(audit.ACTIONS)) == []
    assert set(CASE_ACTIONS) <= set(audit.ACTIONS)


@pytest.mark.parametrize("language", ["zh_CN", "en"])
def test_the_list_shows_words_and_codes_and_finds_by_either(client_of, language: str) -> None:
    visit: Visit = client_of(Role.AUDITOR)
    visit.set_cookie("language", language)
    word = {"zh_CN": "登录", "en": "Log in"}[language]
    for asked in ("", "?action=login.ok", f"?action={word}"):
        page = visit.get(f"/audit/{asked}").text
        assert f'{word} <small class="gj-code">login.ok</small>' in page, asked
        assert {"zh_CN": "人员", "en": "People"}[language] in page
    assert "login.ok" not in visit.get("/audit/?action=nothing-like-it").text


def test_names_are_learnt_a_kind_at_a_time(app, house, city) -> None:
    from sqlalchemy import event

    asked: list[str] = []
    with app.test_request_context("/"):
        app.preprocess_request()
        refs = [f"department:{one.id}" for one in city.departments]
        names.learn([*refs, "resource:999", "house:1", "nonsense"])
        event.listen(house.engine, "before_cursor_execute", lambda *of: asked.append(of[2]))
        assert [names.subject(one) for one in refs] == [f"使用单位 {one.name}" for one in city.departments]
    assert asked == []
