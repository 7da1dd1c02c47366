"""草稿: what a department has typed or filed and not handed in, handed in at once; exceptions are taken out, and what is not ready stays
a draft, with its reason."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response

from console import frame
from console.access import allow
from console.book import actor, book, reading
from console.forms import done, refused_here
from console.pages.requests.requests import KINDS, what
from console.pages.requests.together import ticked, told
from console.programs import Given, asked, takes
from console.words import _, sentence
from quota.actors import Role
from quota.errors import N_, Refused
from quota.requests import together

blueprint = Blueprint("request_drafts", __name__, url_prefix="/requests/drafts")
frame.under("requests.index", "request_drafts")


@blueprint.route("/", methods=["GET", "POST"])
@allow(Role.TENANT)
@takes(None, Given("request", label=N_("申请:版本"), required=True, many=True))
def submit() -> str | Response | tuple[str, int]:
    """The department's drafts, looked through and handed in; then what became of each."""
    wrong, tx = "", reading()
    if request.method == "POST":
        try:
            became = together.submit_all(book(), actor(), ticked())
        except Refused as refused:
            wrong = refused_here(refused)
        else:
            went = [one for one in became if one.outcome is together.SignedOutcome.DONE]
            if asked.by_program():
                return told(became, "requests.index")
            if len(went) == len(became):
                said = _("已提交 %(n)s 份，未提交 %(left)s 份", n=len(went), left=len(became) - len(went))
                return done(said, "requests.index")
            return render_template(
                "request_drafts/done.html",
                done=became,
                went=went,
                labels=together.OUTCOME_LABELS,
                why=lambda one: sentence(one.refused.message, one.refused.params) if one.refused else "",
            )
    page = render_template(
        "request_drafts/submit.html",
        rows=together.drafts(tx),
        most=together.MOST,
        what=what,
        kinds=KINDS,
        ticked=ticked() if request.method == "POST" else None,
        who=actor().login,
        wrong=wrong,
    )
    return (page, 422) if wrong else page
