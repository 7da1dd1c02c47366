"""Seals: the SM3 digests (GB/T 32905-2016) that chain audit records and ledger entries.

The digest is the only cryptography that the book needs. It sits behind ``Digest`` so that a city with a hardware
security module can put its own in place with ``use``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from cryptography.hazmat.primitives import hashes

Digest = Callable[[bytes], bytes]

GENESIS = "0" * 64
"""What the first link of every chain points back to."""


def sm3(data: bytes) -> bytes:
    """SM3 of ``data``, 32 bytes."""
    hasher = hashes.Hash(hashes.SM3())
    hasher.update(data)
    return hasher.finalize()


_digest: Digest = sm3


def use(digest: Digest) -> None:
    """Seal with ``digest`` from now on (an HSM, say). Chains sealed before verify only with what sealed them."""
    global _digest
    _digest = digest


_AS_THEY_ARE = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it, the same on every database: UTC instants to the microsecond, enums by value."""
    kind = type(value)
    if kind in _AS_THEY_ARE:  # nearly all of it: every row that is written passes here
        return value
    if kind is dict:
        return {
            key if type(key) is str else str(plain(key)): item if type(item) in _AS_THEY_ARE else plain(item)
            for key, item in value.items()
        }
    if kind is list:
        return [item if type(item) in _AS_THEY_ARE else plain(item) for item in value]
    if kind is Decimal:
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain(item) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    return value


def canonical(record: Mapping[str, Any]) -> bytes:
    """One spelling of ``record``: sorted keys, no spaces, UTF-8."""
    return json.dumps(plain(record), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def seal(data: bytes) -> str:
    """Hex digest of ``data`` as it is."""
    return _digest(data).hex()


def fingerprint(record: Mapping[str, Any]) -> str:
    """Hex digest of ``record`` alone."""
    return _digest(canonical(record)).hex()


def link(previous: str, record: Mapping[str, Any]) -> str:
    """Hex digest of ``record`` chained to ``previous`` (hex)."""
    return _digest(previous.encode() + b"\n" + canonical(record)).hex()
