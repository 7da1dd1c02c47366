"""A security key made of software, for tests without a browser: what Chromium would tell of one, or anything else."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 1, 4, 64


def coded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def plain(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class SoftKey:
    """ES256. ``count``: of its signatures; ``counts``: whether it counts them at all."""

    origin: str = "http://localhost"
    counts: bool = True
    count: int = 0
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def made(self, options: str) -> str:
        """What a browser tells that asked this key to be enrolled."""
        asked = json.loads(options)
        numbers = self.private.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public
        data = self._data(asked["rp"]["id"], PRESENT | VERIFIED | ATTESTED) + attested
        response = {
            "clientDataJSON": coded(self._client("webauthn.create", asked["challenge"])),
            "attestationObject": coded(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            "transports": ["usb", "unheard-of"],
        }
        return self._told(response)

    def signed(self, options: str, **otherwise: Any) -> str:
        """What a browser tells that asked this key to sign; ``otherwise``: of the challenge, host or flags."""
        asked = json.loads(options)
        if self.counts:
            self.count += 1
        client = self._client("webauthn.get", otherwise.get("challenge", asked["challenge"]))
        data = self._data(otherwise.get("host", asked["rpId"]), otherwise.get("flags", PRESENT | VERIFIED))
        signature = self.private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": coded(client), "authenticatorData": coded(data), "signature": coded(signature)}
        return self._told(response)

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()

    def _data(self, host: str, flags: int) -> bytes:
        return hashlib.sha256(host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _told(self, response: dict[str, Any]) -> str:
        return json.dumps({"id": coded(self.id), "rawId": coded(self.id), "type": "public-key", "response": response})
