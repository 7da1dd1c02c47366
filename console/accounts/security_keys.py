"""Security keys and passkeys as second factors (WebAuthn). Pure.

A key signs a challenge together with the address that its browser stands at: what is proven to a copy of the house at another
address proves nothing here. Which maker's key it is, is not asked (no attestation); its PIN or fingerprint where it has one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url, generate_challenge
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from console.accounts.factor_kinds import FactorAnswer, Site
from quota.errors import N_

LONGEST = 32_768
"""Characters of what a browser tells of a key: some thousands in truth."""
WAIT_MS = 120_000
LOCAL = ("localhost",)
"""Names under which browsers let keys be asked without https: this machine."""


class SecurityKey:
    """What is kept: JSON of the credential's id and public key, the host that it is bound to, how it is reached. The state is the
    key's own count of its signatures (many keys count none)."""

    label = N_("安全密钥")
    several = True

    def new(self) -> str:
        return bytes_to_base64url(generate_challenge())

    def enrolled(self, begun: str, answer: FactorAnswer) -> tuple[str, int] | None:
        if answer.site is None or not 0 < len(answer.text) <= LONGEST:
            return None
        try:
            told = json.loads(answer.text)
            made = verify_registration_response(
                credential=told,
                expected_challenge=base64url_to_bytes(begun),
                expected_rp_id=answer.site.host,
                expected_origin=answer.site.origin,
            )
            kept = {
                "id": bytes_to_base64url(made.credential_id),
                "key": bytes_to_base64url(made.credential_public_key),
                "host": answer.site.host,
                "transports": [one.value for one in _transports(told["response"].get("transports"))],
            }
        except Exception:
            # The library reads what a stranger sent through JSON, CBOR and ASN.1 of others, each with faults of its own.
            return None
        return json.dumps(kept), made.sign_count

    def verify(self, kept: str, state: int, answer: FactorAnswer) -> int | None:
        site, key = answer.site, json.loads(kept)
        if site is None or not answer.challenge or key["host"] != site.host or not 0 < len(answer.text) <= LONGEST:
            return None
        try:
            told = json.loads(answer.text)
            if told["id"] != key["id"]:
                return None
            proven = verify_authentication_response(
                credential=told,
                expected_challenge=answer.challenge,
                expected_rp_id=site.host,
                expected_origin=site.origin,
                credential_public_key=base64url_to_bytes(key["key"]),
                credential_current_sign_count=state,
            )
        except Exception:  # as above
            return None
        return proven.new_sign_count


def is_answer(text: str) -> bool:
    """Whether ``text`` is what a browser tells of a key, and no code that somebody typed."""
    return text.lstrip().startswith("{")


def signed_challenge(text: str) -> bytes:
    """To which challenge an answer says that it is, unproven; empty where that can't be read."""
    if len(text) > LONGEST:
        return b""
    try:
        return base64url_to_bytes(
            json.loads(base64url_to_bytes(json.loads(text)["response"]["clientDataJSON"]))["challenge"]
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return b""


def site(address: str) -> Site | None:
    """The site at ``address`` (a URL); None where browsers ask for no keys: without https, or where it has a number for a name."""
    try:
        found = urlsplit(address)
        # Browsers bind keys to a name as it is looked up: one in Chinese by its ASCII form (xn--…).
        host, port = (found.hostname or "").encode("idna").decode("ascii").lower(), found.port
    except ValueError:
        return None
    if not host or host.replace(".", "").isdigit() or ":" in host:
        return None
    if found.scheme != "https" and not (found.scheme == "http" and host in LOCAL):
        return None
    usual = port is None or (found.scheme, port) in (("https", 443), ("http", 80))
    return Site(f"{found.scheme}://{host}" + ("" if usual else f":{port}"), host)


def bound_to(public_url: str) -> str:
    """The name that keys have to be bound to in a house that people reach at ``public_url``: this machine's own where none is set; ""
    where browsers ask for none. Never told by a request: whoever sends one chooses what host it names."""
    if not public_url:
        return LOCAL[0]
    found = site(public_url)
    return found.host if found is not None else ""


def making(where: Site, *, city: str, person_id: int, login: str, name: str, begun: str, kept: Sequence[str]) -> str:
    """What a browser is asked to make a key by, as JSON: none that is ``kept`` already."""
    return options_to_json(
        generate_registration_options(
            rp_id=where.host,
            rp_name=city,
            user_id=hashlib.sha256(f"guanjia person {person_id}".encode()).digest(),
            user_name=login,
            user_display_name=name,
            challenge=base64url_to_bytes(begun),
            timeout=WAIT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.DISCOURAGED,
                user_verification=UserVerificationRequirement.PREFERRED,
            ),
            exclude_credentials=_named(where, kept),
        )
    )


def asking(where: Site, challenge: bytes, kept: Sequence[str]) -> str:
    """What a browser is asked to have one of the keys sign, as JSON; empty where none of them is of this site."""
    named = _named(where, kept)
    if not named:
        return ""
    return options_to_json(
        generate_authentication_options(
            rp_id=where.host,
            challenge=challenge,
            timeout=WAIT_MS,
            allow_credentials=named,
            user_verification=UserVerificationRequirement.PREFERRED,
        )
    )


def usable(kept: Sequence[str], host: str) -> int:
    """How many of the keys are bound to ``host``."""
    return sum(json.loads(one)["host"] == host for one in kept)


def _named(where: Site, kept: Sequence[str]) -> list[PublicKeyCredentialDescriptor]:
    keys = [json.loads(one) for one in kept]
    return [
        PublicKeyCredentialDescriptor(
            id=base64url_to_bytes(key["id"]), transports=_transports(key["transports"]) or None
        )
        for key in keys
        if key["host"] == where.host
    ]


def _transports(told: Any) -> list[AuthenticatorTransport]:
    """Those of ``told`` that are known; a browser may name others."""
    found = []
    for one in told if isinstance(told, list) else ():
        with suppress(ValueError):
            found.append(AuthenticatorTransport(one))
    return found
