"""The fonts that reports are set in: Noto Sans SC under the SIL Open Font License, brought by npm, carried by the wheel."""

from __future__ import annotations

from pathlib import Path

FAMILY = "Noto Sans SC"
FILES = ("NotoSansSC-Regular.ttf", "NotoSansSC-Bold.ttf")
LICENCE = "NotoSansSC-OFL.txt"


def folder() -> Path:
    """Where they lie. Raises RuntimeError where one is missing."""
    found = Path(__file__).resolve().parent.parent / "fonts"
    for name in FILES:
        if not (found / name).is_file():
            raise RuntimeError(f"no font at {found / name}: run python -m console.assets")
    return found
