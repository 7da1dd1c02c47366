"""Anchors: signed statements of where the book's chains end, published outside of it, and held against it later.

Who can write to the database and run this program can forge whole chains. What was signed and published before says otherwise.
"""

from __future__ import annotations

from console.anchors.checks import compare, read
from console.anchors.curves import thumbprint
from console.anchors.keys import FileSigner, signer
from console.anchors.making import copies, due, folder, make, name_next, newest, rotate
from console.anchors.modules import ModuleSigner
from console.anchors.publishing import AnchorsPublished, file_name, publish, unpublished, waiting
from console.anchors.statements import Anchored, BadAnchor, Signer, opened, short
from console.anchors.tables import WAYS, Anchor, AnchorPublication, PublicationState, Way

__all__ = [
    "WAYS",
    "Anchor",
    "AnchorPublication",
    "Anchored",
    "AnchorsPublished",
    "BadAnchor",
    "FileSigner",
    "ModuleSigner",
    "PublicationState",
    "Signer",
    "Way",
    "compare",
    "copies",
    "due",
    "file_name",
    "folder",
    "make",
    "name_next",
    "newest",
    "opened",
    "publish",
    "read",
    "rotate",
    "short",
    "signer",
    "thumbprint",
    "unpublished",
    "waiting",
]
