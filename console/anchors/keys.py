"""The key that signs anchors: in a hardware module (``modules``), or a file outside the book, 0600 (Ed25519)."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.anchors.curves import coded, thumbprint
from console.anchors.modules import SCHEME, ModuleSigner
from console.anchors.statements import Signer
from console.settings import Settings
from quota.errors import N_, Invalid

OTHERS = 0o077


class FileSigner:
    """A private key in a PEM file (PKCS 8). Raises Invalid where others can read it, or it is none."""

    algorithm = "Ed25519"

    def __init__(self, path: Path) -> None:
        if stat.S_IMODE(path.stat().st_mode) & OTHERS:
            raise Invalid("anchor.key_open", N_("锚点密钥 %(path)s 他人可读,请改为 0600"), path=str(path))
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError):
            raise Invalid("anchor.key_bad", N_("%(path)s 不是 Ed25519 私钥(PEM,不加口令)"), path=str(path)) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Invalid("anchor.key_bad", N_("%(path)s 不是 Ed25519 私钥(PEM,不加口令)"), path=str(path))
        self._key = key
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.public: Mapping[str, str] = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": coded(raw),
        }
        self.key_id = thumbprint(self.public)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def signer(settings: Settings) -> Signer:
    """The house's own: in its module where one is set; else a file, made at the first use. Raises Invalid."""
    if settings.anchor_pkcs11:
        return ModuleSigner(settings.anchor_pkcs11)
    path = settings.anchor_key_file
    if not path.exists():
        made(path)
    return FileSigner(path)


def named(key: str) -> Signer:
    """The signer of a key that is there: a module's, by its URI, or a file. Raises Invalid."""
    if key.startswith(SCHEME):
        return ModuleSigner(key)
    if not Path(key).is_file():
        raise Invalid("anchor.no_key", N_("没有密钥文件 %(path)s"), path=key)
    return FileSigner(Path(key))


def made(path: Path) -> None:
    """A new private key at ``path``, readable by its owner alone. One that is there stays."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
