"""Requests: what a department asks for, held from submission until it is decided, delivered and accepted.

``submit`` hands one in by the approval ``rules`` in force, ``approvals.sign`` takes each signature, ``fulfilment`` is told of
the delivery. ``tables`` are the rows, ``terms`` until when; ``kinds`` has a file for each request kind, ``declarations`` what it says."""

from __future__ import annotations

from quota.requests import (
    approvals,
    asks,
    declarations,
    finds,
    fulfilment,
    kinds,
    notices,
    rulebook,
    rules,
    signing_together,
    terms,
)
from quota.requests import moves as _moves  # noqa: F401 - what of the requests a reorganisation moves, registered
from quota.requests.approvals import DECISION_LABELS, Decision
from quota.requests.asks import Ask, Line
from quota.requests.declarations import (
    KIND_LABELS,
    About,
    Compared,
    RequestKind,
    Term,
    declared,
    kind_of,
    known,
    register,
)
from quota.requests.notices import NOTICE_LABELS, NoticeKind, NoticeReading, RequestNotice
from quota.requests.rulebook import ApprovalRule
from quota.requests.rules import FACTS, MAY_TAKE, SIGNED, STEP_LABELS, Condition, Rule, StepName
from quota.requests.submission import (
    draft,
    drawn,
    lock,
    must_be,
    own,
    plan,
    request,
    resubmit,
    revise,
    submit,
    visible,
    whose_turn,
    withdraw,
)
from quota.requests.tables import (
    OPEN,
    STATE_LABELS,
    Request,
    RequestLine,
    RequestState,
)
from quota.requests.tasks import Task
from quota.requests.trials import Trial, trial

__all__ = [
    "DECISION_LABELS",
    "FACTS",
    "KIND_LABELS",
    "MAY_TAKE",
    "NOTICE_LABELS",
    "OPEN",
    "SIGNED",
    "STATE_LABELS",
    "STEP_LABELS",
    "About",
    "ApprovalRule",
    "Ask",
    "Compared",
    "Condition",
    "Decision",
    "Line",
    "NoticeKind",
    "NoticeReading",
    "Request",
    "RequestKind",
    "RequestLine",
    "RequestNotice",
    "RequestState",
    "Rule",
    "StepName",
    "Task",
    "Term",
    "Trial",
    "approvals",
    "asks",
    "declarations",
    "declared",
    "draft",
    "drawn",
    "finds",
    "fulfilment",
    "kind_of",
    "kinds",
    "known",
    "lock",
    "must_be",
    "notices",
    "own",
    "plan",
    "register",
    "request",
    "resubmit",
    "revise",
    "rulebook",
    "rules",
    "signing_together",
    "submit",
    "terms",
    "trial",
    "visible",
    "whose_turn",
    "withdraw",
]
