"""What a city enacts, as files: handed out, held against the house, drafted for two people to sign in the console."""

from __future__ import annotations

from console.cli.enacted.formulas import formula_group
from console.cli.enacted.rules import rules_group

__all__ = ["formula_group", "rules_group"]
