"""Contracts of the house that import-linter does not bring: a room is entered by its door, and what says that it is pure is.

``doors``: whoever is outside a folder names what the folder's ``__init__`` gives out in ``__all__``, and nothing behind it.
A name may be a verb, a type, or a module that is a subject of its own (``from quota.directory import catalog``).

``pure``: a module whose docstring says "Pure" knows neither database nor lake nor pages, by whatever way.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class DoorsContract(Contract):
    """``roots``: the packages whose folders are rooms. ``corridors``: folders that only hold rooms."""

    type_name = "doors"

    roots = fields.ListField(subfield=fields.StringField())
    corridors = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        corridors = {*self.roots, *(self.corridors or ())}  # type: ignore[misc]
        rooms = {
            module
            for module in graph.modules
            if module.split(".")[0] in self.roots and module not in corridors and graph.find_children(module)  # type: ignore[operator]
        }
        given = {room: _given(room) for room in rooms}
        broken = sorted(
            {
                f"{importer} names {behind}, behind the door of {room}"
                for room in rooms
                for behind in graph.find_descendants(room)
                for importer in graph.find_modules_that_directly_import(behind)
                if importer != room and not importer.startswith(f"{room}.")
                if not _through_the_door(graph, importer, behind, room, given[room])
            }
        )
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["broken"]:
            output.print_error(line)


def _given(room: str) -> frozenset[str]:
    """What the door of ``room`` gives out: its ``__all__``."""
    for statement in _tree(room).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets
        ):
            return frozenset(ast.literal_eval(statement.value))
    return frozenset()


def _through_the_door(graph: ImportGraph, importer: str, behind: str, room: str, given: frozenset[str]) -> bool:
    """Whether each import of ``behind`` by ``importer`` is ``from room import name`` of a name that is given out."""
    parent, _, name = behind.rpartition(".")
    lines = [one["line_contents"] for one in graph.get_import_details(importer=importer, imported=behind)]
    return parent == room and name in given and all(line.startswith(f"from {room} import ") for line in lines)


class PureContract(Contract):
    """``roots``: where modules say so; ``forbidden_modules``: what those may not reach, directly or through others."""

    type_name = "pure"

    roots = fields.ListField(subfield=fields.StringField())
    forbidden_modules = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        broken = []
        for module in sorted(one for one in graph.modules if one.split(".")[0] in self.roots and _says_pure(one)):  # type: ignore[operator]
            for found, chain in _reached(graph, module).items():
                if found.split(".")[0] in self.forbidden_modules:  # type: ignore[operator]
                    broken.append(f"{module} says that it is pure and reaches {found}: {' -> '.join(chain)}")
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["broken"]:
            output.print_error(line)


def _reached(graph: ImportGraph, start: str) -> dict[str, tuple[str, ...]]:
    """Whatever ``start`` reaches, by which way. Of a door only what is asked for at it counts, not all that it gives out."""
    found: dict[str, tuple[str, ...]] = {}
    waiting = [(start, (start,))]
    while waiting:
        module, way = waiting.pop()
        if graph.is_module_squashed(module):
            continue
        asked = _asked(module)
        for imported in graph.find_modules_directly_imported_by(module):
            if not any(one == imported or one.startswith(f"{imported}.") for one in _named(asked)):
                continue  # for its types alone
            behind = _behind(imported) if imported in asked else {}
            for one in {behind.get(name, imported) for name in asked[imported]} if behind else {imported}:
                if one not in found:
                    found[one] = (*way, one)
                    waiting.append((one, found[one]))
    return found


def _tree(module: str) -> ast.Module:
    path = Path(module.replace(".", "/"))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _asked(module: str) -> dict[str, set[str]]:
    """What ``module`` imports when it runs: from where, which names."""
    found: dict[str, set[str]] = {}
    waiting: list[ast.AST] = [_tree(module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.setdefault(node.module, set()).update(one.name for one in node.names)
        elif isinstance(node, ast.Import):
            found.update({one.name: set() for one in node.names if one.name not in found})
        waiting += ast.iter_child_nodes(node)
    return found


def _named(asked: dict[str, set[str]]) -> set[str]:
    return {*asked, *(f"{module}.{name}" for module, names in asked.items() for name in names)}


def _behind(room: str) -> dict[str, str]:
    """What a door gives out: name → the module that it comes from. Empty for what is no door."""
    if not (Path(room.replace(".", "/")) / "__init__.py").exists():
        return {}
    return {
        one.asname or one.name: f"{room}.{one.name}" if node.module == room else str(node.module)
        for node in _tree(room).body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(room)
        for one in node.names
    }


def _says_pure(module: str) -> bool:
    return bool(re.search(r"\bPure\b", ast.get_docstring(_tree(module)) or ""))
