"""The keys of a house, sealed apart from everything else: who has a backup has no key, who has keys has no backup.

What is a secret of the data directory (the keys of sessions and of second factors, the settings file, files with clouds' secrets) and of the
environment is sealed with the backup key, which is kept outside the house: it opens nothing else.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from cryptography.fernet import InvalidToken

from console import settings as house_settings
from console.settings import Settings
from quota import vault
from quota.errors import N_, Invalid

SETTINGS = house_settings.FILE
FOLDER = "secrets"
ENVIRONMENT = tuple(one.name for one in fields(Settings) if not one.repr and one.name != "backup_key")
"""Settings that are secrets: what of them came from the environment is in no file."""
RESTORED = "restored.env"


KEYS = (".key", ".pem")
"""Ends of the names of files that are keys: of sessions, of second factors, of anchors, and whatever comes."""


def is_secret(name: str) -> bool:
    """Whether a file of the data directory (by its name there) is one of the keys."""
    return name in (SETTINGS, RESTORED) or name.endswith(KEYS) or name.startswith(FOLDER + "/")


def seal(settings: Settings) -> bytes:
    """All keys, sealed with the backup key of the settings. Raises Invalid for what is no key."""
    files = {name: base64.b64encode(path.read_bytes()).decode() for name, path in _files(settings.data)}
    given = {name: str(getattr(settings, name)) for name in ENVIRONMENT if getattr(settings, name)}
    told = json.dumps({"files": files, "settings": given}, sort_keys=True).encode()
    return vault.keys(settings.backup_key).encrypt(told)


def opened(sealed: bytes, key: str) -> dict[str, bytes]:
    """Name in the data directory → what was in it; settings of the environment as ``restored.env``. Raises Invalid."""
    try:
        told = json.loads(vault.keys(key).decrypt(sealed))
    except InvalidToken:
        raise Invalid("backup.key", N_("备份密钥打不开这份密钥备份")) from None
    found = {name: base64.b64decode(content) for name, content in told["files"].items() if is_secret(name)}
    if told["settings"]:
        lines = [f"GUANJIA_{name.upper()}={value}" for name, value in sorted(told["settings"].items())]
        found[RESTORED] = ("\n".join(lines) + "\n").encode()
    return found


def write(found: Mapping[str, bytes], data: Path) -> None:
    """Lay the keys into the data directory, readable by its owner alone."""
    for name, content in found.items():
        target = data / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _files(data: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        if is_secret(name) and name != RESTORED and path.is_file() and not name.startswith("."):
            yield name, path
