"""Where somebody knocks from. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """``address`` is the client's, as the trusted proxies say; ``browser`` how it names itself; ``device`` the mark of a
    browser that the account which is tried has been logged in with before, empty for any other."""

    address: str
    request_id: str = ""
    browser: str = ""
    device: str = ""
