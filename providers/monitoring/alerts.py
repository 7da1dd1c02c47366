"""What Alertmanager hands over: the body of its webhook, version 4, read into alerts. Pure.

Alertmanager sends a group again whenever it changes and every ``repeat_interval``, may send it twice where several of its
instances run, and after an outage of its own late: an alert is known by its fingerprint and by when it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from quota.errors import N_, Invalid

MOST_BYTES = 2_000_000
MOST_ALERTS = 1000
MOST_LABELS = 64
MOST_TEXT = 2048
"""Characters of a label or annotation that are read; what is longer is cut."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. ``ended_at`` None: it goes on."""

    fingerprint: str
    labels: dict[str, str]
    summary: str
    began_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """``truncated``: how many alerts of the group Alertmanager left out."""

    alerts: Sequence[Alert]
    truncated: int


class _AlertShape(BaseModel):
    status: Literal["firing", "resolved"]
    labels: dict[str, str] = Field(max_length=MOST_LABELS)
    annotations: dict[str, str] = Field(default_factory=dict, max_length=MOST_LABELS)
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime | None = Field(default=None, alias="endsAt")
    fingerprint: str = Field(pattern=r"^[0-9a-f]{16}$")


class _GroupShape(BaseModel):
    version: Literal["4"]
    truncated: int = Field(default=0, ge=0, alias="truncatedAlerts")
    alerts: list[_AlertShape] = Field(max_length=MOST_ALERTS)


def read(body: bytes) -> AlertGroup:
    """The alerts of a body. Raises Invalid with the place that can't be read: nothing of such a body is taken."""
    if len(body) > MOST_BYTES:
        raise Invalid("alerts.large", N_("告警通知超过 %(most)s 字节"), most=MOST_BYTES)
    try:
        shape = _GroupShape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "$"
        raise Invalid(
            "alerts.form", N_("告警通知的 %(place)s 不合要求:%(what)s"), place=place, what=first["msg"]
        ) from None
    return AlertGroup([_alert(one, number) for number, one in enumerate(shape.alerts)], shape.truncated)


def _alert(one: _AlertShape, number: int) -> Alert:
    for text in (*one.labels, *one.labels.values(), *one.annotations.values()):
        if "\x00" in text:  # no database holds it
            raise Invalid(
                "alerts.form", N_("告警通知的 %(place)s 不合要求:%(what)s"), place=f"alerts.{number}", what="NUL"
            )
    ended = one.ends_at if one.status == "resolved" else None
    if one.status == "resolved" and (ended is None or ended < one.starts_at):
        raise Invalid(
            "alerts.form", N_("告警通知的 %(place)s 不合要求:%(what)s"), place=f"alerts.{number}.endsAt",
            what="resolved before it began",
        )  # fmt: skip
    labels = {name[:128]: text[:MOST_TEXT] for name, text in one.labels.items()}
    summary = one.annotations.get("summary") or labels.get("alertname") or one.fingerprint
    return Alert(one.fingerprint, labels, " ".join(summary.split())[:256], one.starts_at, ended)
