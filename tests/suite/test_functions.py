"""What every module of the four packages keeps: no function over seventy lines, signature and docstring included; no name twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.suite.outside import ROOT

PACKAGES = ("quota", "providers", "metering", "console")
LONGEST = 70  # lines


def longer_than(limit: int, root: Path) -> Iterator[str]:
    """Path and name of each function under ``root`` that is longer; migrations, which list tables, are left out."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                    if (node.end_lineno or node.lineno) - first >= limit:
                        yield f"{path.relative_to(root)}: {node.name}"


def test_no_function_is_longer_than_seventy_lines() -> None:
    assert not list(longer_than(LONGEST, ROOT)), "split these where they read better"


def test_a_long_function_is_found_wherever_it_hides(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
    body = "\n".join(f"            x = {n}" for n in range(LONGEST))
    (tmp_path / "quota" / "long.py").write_text(
        f"class A:\n    def outer(self):\n        def inner():\n{body}\n", "utf-8"
    )
    (tmp_path / "quota" / "short.py").write_text("def short():\n" + "    x = 1\n" * (LONGEST - 1), "utf-8")
    assert list(longer_than(LONGEST, tmp_path)) == ["quota/long.py: outer", "quota/long.py: inner"]


def shared_names(root: Path) -> dict[str, list[str]]:
    """Name of a class → the files that define one of that name, where there are several; what is private to its file is left out."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found.setdefault(node.name, []).append(str(path.relative_to(root)))
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_two_classes_have_one_name() -> None:
    """A reader who meets ``Outcome`` need not ask whose it is."""
    assert not shared_names(ROOT)


def test_a_second_class_of_a_name_is_found(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
    (tmp_path / "quota" / "a.py").write_text("class Window: ...\nclass _Own: ...\n", "utf-8")
    (tmp_path / "console" / "b.py").write_text("class Window: ...\nclass _Own: ...\n", "utf-8")
    assert shared_names(tmp_path) == {"Window": ["quota/a.py", "console/b.py"]}


ONCE = ("ABSENT", "LIVE", "OFF", "FROZEN", "MISSING", "SLOTS", "STEP_S", "METRICS", "Array")


def test_what_samples_are_made_of_is_said_once() -> None:
    """The grid, the states, the value that is none, the table of metrics: in providers/metrics.py, and nowhere again."""
    found: dict[str, list[str]] = {name: [] for name in ONCE}
    for package in (*PACKAGES, "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                for target in targets:
                    for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                        if isinstance(each, ast.Name) and each.id in found:
                            found[each.id].append(str(path.relative_to(ROOT)))
    assert found == {name: ["providers/metrics.py"] for name in ONCE}
