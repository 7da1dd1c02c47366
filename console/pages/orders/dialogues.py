"""Comments, disputes and rulings as pages take them: one small form under orders, incidents and bills alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import flash, request

from console.book import transaction
from console.forms import refused_here
from console.programs import Given
from console.security import row
from console.words import _, disclosure
from providers import comments
from quota.db import Tx
from quota.errors import N_, Refused


def thread(tx: Tx, subject: str) -> dict[str, Any]:
    """What templates/remarks/_thread.html shows under a page about ``subject``."""
    said = comments.of(tx, subject)
    disclosure.learn(one.text for one in said)
    return {
        "said": said,
        "remark_labels": comments.KIND_LABELS,
        "dispute": comments.open_dispute(tx, subject),
    }


REMARK = (
    Given("text", label=N_("说明"), required=True),
    Given("kind", label=N_("评论、争议或复核"), values=("comment", "dispute", "review")),
)
RULING = (
    Given("dispute", int, N_("争议"), required=True),
    Given("upheld", bool, N_("成立")),
    Given("text", label=N_("理由"), required=True),
)
"""What programs send for either."""


COMMENT = (REMARK[0],)
"""What programs send where there is nothing to contest."""


def say(subject: str, provider_id: int | None) -> None:
    """Keep what the visitor wrote about ``subject``: a comment, or what the button that he pressed names. A refusal is
    flashed; what was typed stays in the browser's history."""
    kinds = {"dispute": comments.dispute, "review": comments.review}
    _keep(kinds.get(request.form.get("kind", ""), comments.comment), subject, provider_id)


def comment(subject: str, tell: Callable[[Tx, comments.Remark], object]) -> None:
    """Keep what the visitor wrote about ``subject``, which no company answers for, and ``tell`` the others in the same transaction."""
    _keep(comments.comment, subject, None, tell)


def _keep(
    keep: Callable[[Tx, str, int | None, str], comments.Remark], subject: str, provider_id: int | None,
    tell: Callable[[Tx, comments.Remark], object] | None = None,
) -> None:  # fmt: skip
    try:
        with transaction() as tx:
            kept = keep(tx, subject, provider_id, request.form.get("text", ""))
            if tell is not None:
                tell(tx, kept)
    except Refused as refused:
        flash(refused_here(refused), "error")
    else:
        flash(_("已记录"), "success")


def rule(subject: str, issued_by: str = "") -> None:
    """Settle the dispute about ``subject`` that the form names. ``issued_by``: who may not, having issued what is
    contested."""
    try:
        with transaction() as tx:
            comments.rule(
                tx,
                request.form.get("dispute", 0, row),
                upheld=request.form.get("upheld") == "1",
                text=request.form.get("text", ""),
                subject=subject,
                issued_by=issued_by,
            )
    except Refused as refused:
        flash(refused_here(refused), "error")
    else:
        flash(_("已裁定"), "success")
