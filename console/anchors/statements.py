"""What an anchor says, as a JWS (RFC 7515, compact) signed with Ed25519 or ECDSA (``curves``). Pure.

The header carries the public key, so that an anchor can be checked with nothing else at hand; whether that key is the house's
is for who compares to know. ``next_key`` in a statement says which key comes after its own.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature

from console.anchors import curves
from console.anchors.curves import coded, plain, thumbprint, verify
from quota.errors import N_, Invalid
from quota.seals import plain as spelled
from quota.seals import sm3

TYPE = "guanjia-anchor+jws"
LONGEST = 1_000_000
SUFFIX = ".jws"
"""Of files with anchors."""


class BadAnchor(ValueError):
    """It is no anchor, or its signature is not that of its key."""


class Signer(Protocol):
    """What signs: ``public`` is its JWK (``curves``), ``key_id`` the thumbprint of that (RFC 7638)."""

    algorithm: str
    key_id: str
    public: Mapping[str, str]

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``; may ask a device, so no transaction is open meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class Anchored:
    """What an anchor says: how many audit records and sealings there are, the digest of the last of each, and how many rows each
    table under seal has. ``previous`` is the fingerprint of the anchor before."""

    sequence: int
    at: datetime
    city: str
    records: int
    record_digest: str
    sealings: int
    seal_digest: str
    rows: Mapping[str, int]
    previous: str
    key_id: str
    next_key: Mapping[str, str] | None = None


def fingerprint(token: str) -> str:
    """SM3 of a token, hex."""
    return sm3(token.encode()).hex()


def short(token: str) -> str:
    """The beginning of its fingerprint, as it is printed: 3f2a-77c1-09be-d410."""
    begun = fingerprint(token)[:16]
    return "-".join(begun[low : low + 4] for low in range(0, 16, 4))


def signed(said: Anchored, by: Signer) -> str:
    """The token of a statement. Raises Invalid where the signer's two halves don't belong together: nobody could ever verify it."""
    header = {"alg": by.algorithm, "typ": TYPE, "kid": by.key_id, "jwk": dict(by.public)}
    told = {name: spelled(getattr(said, name)) for name in said.__slots__ if name != "key_id"}
    body = ".".join(coded(json.dumps(part, ensure_ascii=False, sort_keys=True).encode()) for part in (header, told))
    signature = by.sign(body.encode())
    try:
        verify(by.public, signature, body.encode())
    except (InvalidSignature, ValueError):
        raise Invalid("anchor.pair", N_("锚点密钥的公钥与私钥不成对")) from None
    return f"{body}.{coded(signature)}"


def opened(token: str) -> Anchored:
    """What a token says. Raises BadAnchor."""
    try:
        if len(token) > LONGEST:
            raise ValueError("too long")
        body, _, signature = token.strip().rpartition(".")
        head, told = (json.loads(plain(part)) for part in body.split("."))
        if head["typ"] != TYPE or head["alg"] != curves.of_key(head["jwk"]).algorithm:
            raise ValueError(f"of type {head['typ']}, signed by {head['alg']}")
        if thumbprint(head["jwk"]) != head["kid"]:
            raise ValueError("its key is not the one that it names")
        curves.verify(head["jwk"], plain(signature), body.encode())
        return _read(told, head["kid"])
    except InvalidSignature:
        raise BadAnchor("its signature is not that of its key") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise BadAnchor(f"it is no anchor: {error}") from None


def _read(told: Mapping[str, Any], key_id: str) -> Anchored:
    at = datetime.fromisoformat(told["at"])
    if at.tzinfo is None:
        raise ValueError("its time has no zone")
    if told["next_key"] is not None:
        thumbprint(told["next_key"])
    return Anchored(
        sequence=_number(told["sequence"]),
        at=at,
        city=str(told["city"]),
        records=_number(told["records"]),
        record_digest=str(told["record_digest"]),
        sealings=_number(told["sealings"]),
        seal_digest=str(told["seal_digest"]),
        rows={str(name): _number(count) for name, count in told["rows"].items()},
        previous=str(told["previous"]),
        key_id=key_id,
        next_key=told["next_key"],
    )


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{value!r} is no count")
    return value
