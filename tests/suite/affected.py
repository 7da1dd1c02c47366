"""Which files of tests a change may break, told by what they import: for the inner loop (`make test-fast`), where the whole suite
would keep one waiting. What it leaves out the whole suite runs.

A room (``quota/requests``, ``console/pages/cases``) is entered by its door, so a change anywhere in it concerns whoever names
the room. Rooms above it that use it are not followed: they have tests of their own contracts, and following them would end at
everything.

What tests share concerns all who share it: a ``conftest.py`` the folder that it lies in, a module of helpers (``tests/city``) whoever
imports it, be it by a conftest.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("quota", "providers", "metering", "console")
ALWAYS = ("tests/suite",)
"""What is quick and looks at the whole house."""
BESIDE = {
    "console/translations/": ("console.i18n", "console.words"),
    "console/migrations/": ("console.schema",),
    "templates/": ("console.frame", "console.forms", "console.lists"),
    "tests/city/": ("tests.city",),
}
"""What is no module, or none that a test imports by its name → the rooms of those who use it."""
STATIC = "console/static/"


def changed() -> set[str]:
    """Paths that differ from where this branch left the main one (on the main one itself: from the commit before), or that are not
    committed yet; relative to the root."""
    base = _git("merge-base", "HEAD", "main") or _git("rev-parse", "HEAD~1")
    if base == _git("rev-parse", "HEAD"):
        base = _git("rev-parse", "HEAD~1") or base
    told = [_git("diff", "--name-only", base), _git("ls-files", "--others", "--exclude-standard")]
    return {path for one in told for path in one.splitlines() if path}


@cache
def since() -> tuple[frozenset[str], frozenset[str]]:
    """(the changed paths, their rooms), looked up once a run."""
    paths = changed()
    return frozenset(paths), frozenset(rooms(paths))


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def room(path: str) -> str:
    """The dotted room of a module: its folder, or itself where it lies right under its package."""
    parts = Path(path).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 2 or parts[-1] == "__init__" else parts)


def rooms(paths: Iterable[str]) -> set[str]:
    """The rooms that ``paths`` lie in; of a template those of the views that draw it."""
    found: set[str] = set()
    for path in paths:
        top, _slash, rest = path.partition("/")
        if top in PACKAGES and path.endswith(".py"):
            found.add(room(path))
        elif top == "tests" and path.endswith(".py"):
            found.add(".".join(Path(path).with_suffix("").parts))
        if top == "templates" and "/" in rest:
            folder = f'"{rest.rpartition("/")[0]}/'
            found |= {
                room(str(view.relative_to(ROOT)))
                for view in (ROOT / "console").rglob("*.py")
                if folder in view.read_text(encoding="utf-8")
            }
        else:
            found |= {one for beside, of in BESIDE.items() if path.startswith(beside) for one in of}
    return found


@cache
def imported(path: Path) -> frozenset[str]:
    """Every dotted name that a file imports, with what it takes from there."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return frozenset(found)


def over(test: Path) -> list[Path]:
    """The conftests that hold for ``test``, the nearest first."""
    folders = [one for one in test.parents if one.is_relative_to(ROOT / "tests")]
    return [one / "conftest.py" for one in folders if (one / "conftest.py").exists()]


@cache
def shared(test: Path) -> frozenset[str]:
    """What ``test`` takes from other tests, itself or by its conftests."""
    said = frozenset[str]().union(imported(test), *(imported(one) for one in over(test)))
    return frozenset(one for one in said if one.startswith("tests."))


def concerned(test: Path, paths: Collection[str], of: Collection[str]) -> bool:
    """Whether ``test`` is to be run after a change of ``paths``, which lie in the rooms ``of``: it was changed, or a conftest over it,
    it always is, or it names one of the rooms, or files that pages load, where one was changed."""
    name = str(test.relative_to(ROOT))
    if name in paths or name.startswith(ALWAYS) or any(str(one.relative_to(ROOT)) in paths for one in over(test)):
        return True
    if any(one.startswith(STATIC) for one in paths) and "static/" in test.read_text(encoding="utf-8"):
        return True
    return any(said == one or said.startswith(f"{one}.") for said in imported(test) | shared(test) for one in of)
