"""Choosing among what a city may have a thousand of: departments, information systems.

What is short is a list to choose from. What is long is a text to type, a code or a name: the page suggests a few while one types
(at its own address, of what the very field offers), and what was typed is matched when it is sent, with scripts or without.
"""

from console.choices.fields import ChoiceField, ChoicesField
from console.choices.filtering import Narrowed, narrowed
from console.choices.matching import MOST, Choosable, by_id, departments, systems

__all__ = [
    "MOST",
    "ChoiceField",
    "ChoicesField",
    "Choosable",
    "Narrowed",
    "by_id",
    "departments",
    "narrowed",
    "systems",
]
