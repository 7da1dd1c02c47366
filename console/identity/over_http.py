"""What sources that speak HTTP (OIDC, CAS) are asked by: under https alone (or on this very machine), no redirect followed, no proxy of the
machine, bounded in size and time; and what kept one from answering, as a fault. Speaks to nobody by itself.
"""

from __future__ import annotations

import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import requests

from console.identity.sources import SourceFault
from providers.connection import fault_of

TIMEOUT_S, WHOLE_S = 5.0, 15.0
"""For a connection to be made and each pause within an answer; for the whole of an answer."""
LARGEST = 1024 * 1024
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def guarded(session: requests.Session, ca_file: str | None) -> None:
    """Hold a session to what is said above, but for time-outs and redirects, which are of each request."""
    session.trust_env = False  # neither proxies nor a .netrc of the machine
    session.verify = ca_file or ssl.get_default_verify_paths().cafile or True
    session.hooks["response"].append(_bounded)


def _bounded(answer: requests.Response, **_about: Any) -> requests.Response:
    """Read the answer here, as far as it may go. ``requests`` would read on for as long as something comes."""
    end, content = time.monotonic() + WHOLE_S, bytearray()
    for piece in answer.iter_content(16 * 1024):
        content += piece
        if len(content) > LARGEST or time.monotonic() > end:
            answer.close()
            raise SourceFault("large", urlsplit(answer.url).netloc)
    answer._content = bytes(content)
    return answer


def fault(error: OSError, uri: str) -> SourceFault:
    """What went wrong on the way there. What is no answer of the library is its own complaint of the file of certificates."""
    if not isinstance(error, requests.RequestException):
        return SourceFault("certificate", str(error))
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else error
    place = urlsplit(uri)
    told = fault_of(inner, f"{place.scheme}://{place.netloc}")
    return SourceFault(told.code or "unreachable", str(told))


def secure(uri: str) -> str:
    """``uri``, which may be asked. Raises SourceFault for every other."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError:
        raise SourceFault("insecure", uri[:200]) from None
    if host and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)):
        return uri
    raise SourceFault("insecure", uri[:200])
