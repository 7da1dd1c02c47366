"""Attachments are handed out as files to keep, never shown by the browser as pages of ours."""

from __future__ import annotations

import io

from flask import Blueprint, Response, send_file

from console.access import BUSINESS, allow
from console.attachments import visible
from console.book import reading
from quota import attachments

blueprint = Blueprint("attachments", __name__, url_prefix="/attachments")


@blueprint.get("/<int:attachment_id>")
@allow(*BUSINESS)
def download(attachment_id: int) -> Response:
    """The file. Raises NotFound for who may not see what it was put forward in."""
    tx = reading()
    one = visible(tx, attachment_id)
    body = io.BytesIO(attachments.content(tx, one))
    answer = send_file(body, mimetype=one.media_type, as_attachment=True, download_name=one.name, max_age=0)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["Cache-Control"] = "private, no-store"
    return answer
