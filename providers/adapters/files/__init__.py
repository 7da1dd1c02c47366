"""A cloud without an interface: its company puts files into a folder, and its staff answer orders in files."""

from __future__ import annotations

from providers.adapters.files.cloud import FilesCloud

__all__ = [
    "FilesCloud",
]
