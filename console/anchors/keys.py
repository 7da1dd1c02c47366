"""The key that signs anchors: a file outside the book, 0600, or whatever else keeps to ``Signer`` (a hardware module).

Ed25519 of the library ``cryptography``. It has no SM2 (no other library was examined for this): a city that
must sign with SM2 brings a ``Signer`` for its module, and a check beside it.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.anchors.statements import thumbprint
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
            "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
        }
        self.key_id = thumbprint(self.public)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def signer(settings: Settings) -> FileSigner:
    """The house's own; its key is made at the first use."""
    path = settings.anchor_key_file
    if not path.exists():
        made(path)
    return FileSigner(path)


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
