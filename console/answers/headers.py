"""Headers that bind the browser: one fixed policy for every answer, with a nonce of its own for each.

No script and no style runs that is not a file of ours; the few data blocks that pages carry are let in by the nonce. Where a
view has set a stricter header itself, that one stands.
"""

from __future__ import annotations

import secrets

from flask import Flask, Response, g, request

POLICY = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
UNFRAMED = "frame-ancestors 'none'"
NONCED = ("script-src", "style-src")
FORBIDDEN = (
    "accelerometer",
    "browsing-topics",
    "camera",
    "geolocation",
    "gyroscope",
    "microphone",
    "payment",
    "usb",
)
"""What of a device no page asks for."""
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{one}=()" for one in FORBIDDEN),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
STAY = "max-age=31556926; includeSubDomains"
"""A year and a quarter of a day: for so long a browser that came by https comes by nothing else."""


def nonce() -> str:
    """The nonce of this answer; 32 characters."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(24)
    found: str = g.csp_nonce
    return found


def policy(frames: str = "") -> str:
    """The content security policy of this answer; ``frames``: origins whose pages may show it in a frame, by blanks."""
    allowed = POLICY | ({"frame-ancestors": frames} if frames else {})
    return "; ".join(
        f"{kind} {what} 'nonce-{nonce()}'" if kind in NONCED else f"{kind} {what}" for kind, what in allowed.items()
    )


def attach(app: Flask, *, https: bool) -> None:
    """Send every answer of ``app`` with the headers; ``https``: whether the console is reached by https alone."""
    app.jinja_env.globals["csp_nonce"] = nonce

    @app.after_request
    def _bind(response: Response) -> Response:
        for name, value in FIXED.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", policy())
        if UNFRAMED in response.headers["Content-Security-Policy"]:  # the old header knows no list of places
            response.headers.setdefault("X-Frame-Options", "DENY")
        if https and request.is_secure:
            response.headers.setdefault("Strict-Transport-Security", STAY)
        return response
