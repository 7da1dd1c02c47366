"""Answers compressed: pages and exports as they are made, static files once a process.

A secret that stands on a page again and again, beside text that somebody else chose, could be guessed by the length of
compressed answers (BREACH). The one that stands on every page, the CSRF token, is masked (``console.answers.tokens``). Others
(first passwords, tokens of sources and agents) are shown once, in the answer to a POST, and only answers to GET and HEAD are
compressed. A view that shows one again says ``Cache-Control: no-transform``. The session's cookie does not come along when
another site has the browser load an image, a script or a frame of ours.
"""

from __future__ import annotations

import os
import zlib
from functools import lru_cache
from pathlib import Path

import brotli
from flask import Flask, Response, request
from flask_compress import Compress

MIMETYPES = (
    "application/json",
    "application/openmetrics-text",
    "application/problem+json",
    "image/svg+xml",
    "text/calendar",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/plain",
)
ALGORITHMS = ("zstd", "br", "gzip")
STATIC_ALGORITHMS = ("br", "gzip")
"""Files are compressed once and sent often: what is smallest comes first."""
STATIC_BROTLI = 9
"""A quarter of a second for all files of a process; two levels higher takes three seconds, for a tenth less."""


def attach(app: Flask) -> None:
    """Compress what ``app`` answers. Call before whatever changes bodies registers, which is then run earlier."""
    app.config.update(
        COMPRESS_REGISTER=False,
        COMPRESS_MIMETYPES=list(MIMETYPES),
        COMPRESS_ALGORITHM=list(ALGORITHMS),
        COMPRESS_ALGORITHM_STREAMING=list(ALGORITHMS),
        COMPRESS_BR_LEVEL=4,
        COMPRESS_LEVEL=6,
    )
    compress = Compress(app)

    @app.after_request
    def _compress(response: Response) -> Response:
        if request.method not in ("GET", "HEAD") or request.endpoint is None:
            return response
        if request.endpoint == "static":
            return _static(app, response)
        if response.cache_control.no_transform or not request.accept_encodings.best_match(ALGORITHMS):
            return response
        answer: Response = compress.after_request(response)
        return answer


def _static(app: Flask, response: Response) -> Response:
    """A static file, from what was compressed of it before."""
    response.headers["Vary"] = "Accept-Encoding"
    if response.status_code == 200:
        # Their address names their content: it is never asked for again.
        response.headers["Cache-Control"] = f"public, max-age={app.config['SEND_FILE_MAX_AGE_DEFAULT']}, immutable"
    algorithm = request.accept_encodings.best_match(STATIC_ALGORITHMS)
    path = os.path.join(str(app.static_folder), (request.view_args or {}).get("filename", ""))
    if response.status_code != 200 or algorithm is None or response.mimetype not in MIMETYPES:
        return response
    body = _compressed(path, os.stat(path).st_mtime_ns, algorithm)
    tag, _weak = response.get_etag()
    response.close()
    response.direct_passthrough = False
    response.set_data(body)
    response.headers["Content-Encoding"] = algorithm
    response.set_etag(f"{tag}:{algorithm}")
    response.make_conditional(request)
    return response


@lru_cache(maxsize=64)
def _compressed(path: str, _changed: int, algorithm: str) -> bytes:
    """The file at ``path``, compressed."""
    body = Path(path).read_bytes()
    if algorithm == "br":
        return bytes(brotli.compress(body, quality=STATIC_BROTLI))
    return zlib.compress(body, zlib.Z_BEST_COMPRESSION, zlib.MAX_WBITS | 16)
