"""Kinds of keys that sign anchors: Ed25519, and ECDSA on P-256 and P-384 for modules that have no Ed25519. Pure.

A key is a JWK (RFC 7518, RFC 8037); its algorithm follows from its curve (RFC 7518, RFC 9864), so that no header can say another.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature


@dataclass(frozen=True, slots=True)
class Curve:
    """``name`` in a JWK of ``kind``, the ``algorithm`` of its signatures, the ``digest`` that is signed (none: all of what is said),
    bytes of a coordinate, and by which parameters a module names it (DER)."""

    kind: str
    name: str
    algorithm: str
    digest: str
    size: int
    parameters: tuple[bytes, ...]

    def jwk(self, point: bytes) -> dict[str, str] | None:
        """The key at ``point`` as a module tells it (X9.62 uncompressed, or the 32 bytes of Ed25519), bare or in an OCTET STRING;
        None where it is neither."""
        bare = self.size if self.kind == "OKP" else 1 + 2 * self.size
        if len(point) == bare + 2 and point[:2] == bytes((4, bare)):
            point = point[2:]
        if len(point) != bare or (self.kind == "EC" and point[0] != 4):
            return None
        told = {"kty": self.kind, "crv": self.name}
        if self.kind == "OKP":
            return told | {"x": coded(point)}
        return told | {"x": coded(point[1 : 1 + self.size]), "y": coded(point[1 + self.size :])}


EDWARDS = (b"\x13\x0cedwards25519", bytes.fromhex("06032b6570"), bytes.fromhex("06092b06010401da470f01"))
CURVES = (
    Curve("OKP", "Ed25519", "Ed25519", "", 32, EDWARDS),
    Curve("EC", "P-256", "ES256", "sha256", 32, (bytes.fromhex("06082a8648ce3d030107"),)),
    Curve("EC", "P-384", "ES384", "sha384", 48, (bytes.fromhex("06052b81040022"),)),
)
ECDSA: Mapping[str, tuple[Callable[[], ec.EllipticCurve], Callable[[], hashes.HashAlgorithm]]] = {
    "P-256": (ec.SECP256R1, hashes.SHA256),
    "P-384": (ec.SECP384R1, hashes.SHA384),
}


def of_parameters(parameters: bytes) -> Curve | None:
    """The curve that a module names by ``parameters``; None for others."""
    return next((one for one in CURVES if parameters in one.parameters), None)


def of_key(jwk: Mapping[str, Any]) -> Curve:
    """The curve of a key. Raises ValueError for what is no key of these, KeyError for what lacks a part."""
    for one in CURVES:
        if (jwk["kty"], jwk["crv"]) == (one.kind, one.name):
            for part in _parts(one):
                if len(plain(jwk[part])) != one.size:
                    raise ValueError(f"{part} of its key is not {one.size} bytes")
            return one
    raise ValueError(f"no {', '.join(one.name for one in CURVES)} key")


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638: SHA-256 over the required members, base64url. Raises ValueError for what is no key of these."""
    told = {name: jwk[name] for name in ("crv", "kty", *_parts(of_key(jwk)))}
    spelled = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    return coded(hashlib.sha256(spelled).digest())


def verify(jwk: Mapping[str, Any], signature: bytes, data: bytes) -> None:
    """Raises InvalidSignature where it is not that of the key over ``data``, ValueError for what is no key or signature."""
    curve = of_key(jwk)
    if curve.kind == "OKP":
        Ed25519PublicKey.from_public_bytes(plain(jwk["x"])).verify(signature, data)
        return
    if len(signature) != 2 * curve.size:
        raise ValueError(f"a signature of {curve.algorithm} has {2 * curve.size} bytes")
    made, digest = ECDSA[curve.name]
    x, y, r, s = (
        int.from_bytes(one)
        for one in (plain(jwk["x"]), plain(jwk["y"]), signature[: curve.size], signature[curve.size :])
    )
    key = ec.EllipticCurvePublicNumbers(x, y, made()).public_key()
    key.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest()))


def coded(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def plain(text: str) -> bytes:
    """The bytes of base64url. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _parts(curve: Curve) -> tuple[str, ...]:
    return ("x",) if curve.kind == "OKP" else ("x", "y")
