"""Secrets by reference: the book, exports, logs and pages say where a secret lies, never what it is.

    file:/run/secrets/prometheus    the file's content, without the line's end
    env:PROMETHEUS_PASSWORD         a variable of the process
    store:gov-x86.password          the book's own encrypted store (quota.vault)

A reference is looked up each time an adapter speaks to its cloud, so that a secret is changed where it lies and nothing
has to be registered again. Whoever names a place also names the server that it is sent to: so only files in folders that
the machine's owner set aside for secrets are read, and none of the house's own variables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quota.errors import N_, Invalid

_REFERENCE = re.compile(r"file:/.+|env:[A-Za-z_][A-Za-z0-9_]*|store:[A-Za-z0-9._-]{1,64}")


FOLDERS = (Path("/run/secrets"),)
"""Where files with secrets lie if nothing else is said: what containers are given."""

OURS = "GUANJIA_"
LONGEST = 8192


def by_reference(reference: str, folders: Sequence[Path] = FOLDERS) -> str:
    """The secret in the file or variable that ``reference`` names. Raises Invalid saying what is wrong with that place."""
    kind, _colon, place = reference.partition(":")
    if kind == "env":
        if place.startswith(OURS):
            raise Invalid("secret.ours", N_("环境变量 %(name)s 是本系统自己的,不能作为云的口令"), name=place)
        found = os.environ.get(place)
        if not found:
            raise Invalid("secret.env", N_("环境变量 %(name)s 没有设置"), name=place)
        return found
    if kind == "file":
        path = Path(place).resolve()
        if not any(path.is_relative_to(one.resolve()) for one in folders):
            raise Invalid(
                "secret.folder", N_("口令文件 %(path)s 不在存放口令的目录中:%(folders)s"), path=place,
                folders=", ".join(map(str, folders)),
            )  # fmt: skip
        try:
            if path.stat().st_size > LONGEST:
                raise Invalid("secret.long", N_("口令文件 %(path)s 过大"), path=place)
            found = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise Invalid("secret.file", N_("无法读取口令文件 %(path)s：%(why)s"), path=place, why=why) from None
        if not found:
            raise Invalid("secret.empty", N_("口令文件 %(path)s 是空的"), path=place)
        return found
    raise Invalid("secret.store", N_("无法在此打开加密存储中的口令 %(name)s"), name=place)


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret lies. It shows itself as its reference alone; ``reveal`` looks it up."""

    reference: str
    look_up: Callable[[str], str] = field(default=by_reference, repr=False, compare=False)

    @staticmethod
    def check(reference: str, name: str = "") -> None:
        """Raises Invalid, not repeating it, for what is no reference: it may be the secret itself."""
        if not _REFERENCE.fullmatch(reference):
            raise Invalid(
                "secret.clear",
                N_("这里写口令在哪里，不写口令本身：file:/路径、env:<变量名>或 store:<名称>"),
                field=name,
            )

    def reveal(self) -> str:
        """The secret as it is now. Raises Invalid naming the place where it should be."""
        return self.look_up(self.reference)

    def __str__(self) -> str:
        return self.reference
