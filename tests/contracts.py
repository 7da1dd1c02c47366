"""Contracts of the house that import-linter does not bring: a room is entered by its door.

``doors``: whoever is outside a folder names what the folder's ``__init__`` gives out in ``__all__``, and nothing behind it.
A name may be a verb, a type, or a module that is a subject of its own (``from quota.directory import catalog``).
"""

from __future__ import annotations

import ast
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
    tree = ast.parse((Path(room.replace(".", "/")) / "__init__.py").read_text(encoding="utf-8"))
    for statement in tree.body:
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
