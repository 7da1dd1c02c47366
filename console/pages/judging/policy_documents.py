"""Policies as documents: what a program sends becomes what the form would have sent, so that both are held to the same."""

from __future__ import annotations

import json
from typing import Any

from werkzeug.datastructures import MultiDict

from console.errors import Unfilled
from console.forms import places
from console.pages.judging.policy_forms import PolicyDraftForm, draft_form, layout
from metering.judging import Policy
from quota.db import Tx
from quota.errors import N_, Invalid

UNREAD = N_("策略文件无法识别:%(why)s")


def read(tx: Tx, document: str, reason: str) -> Policy:
    """The policy of a document, as the form would have made it. Raises Invalid for what is none, for what the form does not take
    (by its places), and for what the form cannot say."""
    wanted = _policy(document)
    given = _sent(draft_form(tx, wanted, wanted.effective_from, layout(wanted), posted=False))
    given["reason"] = reason
    form = draft_form(tx, wanted, wanted.effective_from, layout(wanted, given), given)
    form.validate()
    made = form.policy(wanted)
    if made is None or form.errors:
        raise Unfilled(places(form))
    if made.to_json() != wanted.to_json():
        lost = [name for name, value in wanted.to_json().items() if made.to_json()[name] != value]
        raise Invalid(
            "policy.document_lost",
            N_("策略文件中有表单不能表达的内容:%(names)s"),
            names=", ".join(lost),
            field="document",
        )
    return made


def _policy(document: str) -> Policy:
    try:
        plain = json.loads(document)
        if not isinstance(plain, dict):
            raise ValueError("not an object")
        found = Policy.from_json({**plain, "version": 1})
        sound = isinstance(found.name, str) and 0 < len(found.name) <= 32 and isinstance(found.frozen_is_live, bool)
        if not sound or not isinstance(found.sizing, str):
            raise ValueError("name, sizing, frozen_is_live")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Invalid(
            "policy.document", UNREAD, why=f"{type(error).__name__}: {error}"[:200], field="document"
        ) from None
    return found


def _sent(form: PolicyDraftForm) -> MultiDict[str, str]:
    """What a browser would send of the form as it is filled."""
    found: MultiDict[str, str] = MultiDict()
    for name, field in form._fields.items():
        data: Any = field.data
        if name == "csrf_token" or data is None or data is False:
            continue
        for one in data if isinstance(data, list | tuple) else [data]:
            found.add(name, "y" if one is True else _written(one))
    return found


def _written(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
