"""Logs: lines for people, or a JSON object a line for a log server; each with the id of its request, none with a secret.

What is known to be a secret (settings of the kind) is blotted out wherever it turns up, and so is what stands where
secrets stand: after a name like password or token, in an address before the "@", after Bearer. Statements come without
their parameters (``quota.db``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from flask import g, has_request_context
from pythonjsonlogger.json import JsonFormatter

from console.settings import Settings

BLOT = "***"
SHORTEST = 6
"""A secret of fewer characters is not looked for: it would blot out words."""
TEXT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"
JSON = "%(levelname)s %(name)s %(request_id)s %(process)d %(message)s"

_NAMED = re.compile(
    r"(?i)(\b(?:[\w-]*(?:password|passwd|secret|token|credential|api[_-]?key|access[_-]?key)[\w-]*|pwd)\b[\"']?\s*[=:]\s*[\"']?)"
    r"(?!\*\*\*)([^\s\"'&,;)}\]]+)"
)
_ADDRESS = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)")
_ROW = re.compile(r"(\bDETAIL:\s+)[^\n]+")
"""What PostgreSQL adds to a refusal: the whole row that it refused."""
_TOKEN = re.compile(r"\b(gj_[0-9a-f]+_)[\w-]+")
"""A token wherever it stands, in an address too: it is named, without what opens anything (console.api.tokens)."""
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{6,}")


def blotted(text: str, known: Iterable[str] = ()) -> str:
    """``text`` without what is, or stands where, a secret."""
    for secret in known:
        text = text.replace(secret, BLOT)
    text = _ROW.sub(rf"\1{BLOT}", text)
    text = _TOKEN.sub(rf"\1{BLOT}", text)
    text = _BEARER.sub(rf"\1{BLOT}", text)
    text = _ADDRESS.sub(rf"\1{BLOT}\2", text)
    return _NAMED.sub(rf"\1{BLOT}", text)


def secrets_of(settings: Settings) -> list[str]:
    """What the settings hold of secrets, the longest first; of a list of keys each by itself."""
    found = {part for one in fields(settings) if not one.repr for part in str(getattr(settings, one.name)).split(",")}
    return sorted((one for one in found if len(one) >= SHORTEST), key=len, reverse=True)


class _Of(logging.Filter):
    """Gives each record the id of the request that it was written in."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = g.get("request_id", "-") if has_request_context() else "-"
        return True


class _Lines(logging.Formatter):
    def __init__(self, known: list[str], template: str = TEXT) -> None:
        super().__init__(template)
        self.known = known

    def format(self, record: logging.LogRecord) -> str:
        return blotted(super().format(record), self.known)


class _Objects(JsonFormatter):
    def __init__(self, known: list[str]) -> None:
        super().__init__(
            JSON, rename_fields={"levelname": "level", "name": "logger"}, timestamp=True, json_ensure_ascii=False
        )
        self.known = known

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Each text by itself: what is blotted out of an object must leave an object."""
        return {
            name: blotted(value, self.known) if isinstance(value, str) else value for name, value in log_data.items()
        }


def formatter(settings: Settings, template: str = TEXT) -> logging.Formatter:
    """How records are written: as the setting ``log_format`` says, lines by ``template``."""
    known = secrets_of(settings)
    return _Objects(known) if settings.log_format == "json" else _Lines(known, template)


def dressed(handler: logging.Handler, settings: Settings, template: str = TEXT) -> logging.Handler:
    """The handler, writing as the settings say."""
    handler.setFormatter(formatter(settings, template))
    handler.addFilter(_Of())
    return handler


def configure(settings: Settings, level: int = logging.WARNING) -> None:
    """Have this process write its log to standard error."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(dressed(logging.StreamHandler(), settings))
    root.setLevel(level)
