"""The forms of requests as a city enacts them: fields and annexes of its own, and what those of the house are called, each from a day on.

``today`` is a request kind with the form that counts now; ``form_of`` that of a request: of the day on which it was handed in."""

from __future__ import annotations

from quota.requests.formbook.enactment import (
    RequestFormField,
    begin,
    draft,
    form_field,
    form_of,
    newest,
    sign,
    today,
    withdraw,
)
from quota.requests.formbook.replacing import (
    SHAPE,
    ZONE,
    Replacement,
    replace,
    replaceable,
    reshaped,
    shapes_for,
)
from quota.requests.formbook.versions import (
    DEMAND_LABELS,
    LONGEST_HINT,
    LONGEST_LABEL,
    SHAPE_LABELS,
    FieldShape,
    FieldVersion,
    FormDemand,
    choices_of,
    english,
    fits,
)

__all__ = [
    "DEMAND_LABELS",
    "LONGEST_HINT",
    "LONGEST_LABEL",
    "SHAPE",
    "SHAPE_LABELS",
    "ZONE",
    "FieldShape",
    "FieldVersion",
    "FormDemand",
    "Replacement",
    "RequestFormField",
    "begin",
    "choices_of",
    "draft",
    "english",
    "fits",
    "form_field",
    "form_of",
    "newest",
    "replace",
    "replaceable",
    "reshaped",
    "shapes_for",
    "sign",
    "today",
    "withdraw",
]
