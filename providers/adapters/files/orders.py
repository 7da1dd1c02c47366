"""Orders as files: one JSON a order for the provider's staff, one JSON a answer from them.

``<folder>/orders/<key>.json`` is written once, under a temporary name and renamed. The staff answer with
``<folder>/outcomes/<key>.json``: ``{"state": "done" | "failed", "external_id": …, "amounts": {…}, "message": …}``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from providers.base import Order, Outcome, OutcomeState, ProviderFault, ServiceKind, Verb
from providers.readers import moment
from quota.errors import Refused
from quota.units import Amount, Arch


class OrderFiles:
    """The two folders. Raises ProviderFault where they cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.orders = folder / "orders"
        self.outcomes = folder / "outcomes"
        try:
            self.orders.mkdir(parents=True, exist_ok=True)
            self.outcomes.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProviderFault(str(error), transient=False) from error

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """Write the order unless it is there, and say what its answer is: PENDING while there is none."""
        name = _file_name(order.key)
        written = self.orders / name
        if not written.exists():
            try:
                _write(written, {**_plain(order), "ordered_at": now.astimezone(UTC).isoformat()})
            except OSError as error:
                raise ProviderFault(str(error), transient=True) from error
        return self._answer(order, now)

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """What its answer is, None where no such order was ever written. Raises ProviderFault for one that cannot be
        read."""
        written = self.orders / _file_name(key)
        return self._answer(_order(written), now) if written.exists() else None

    def _answer(self, order: Order, now: datetime) -> Outcome:
        answer = self.outcomes / _file_name(order.key)
        if not answer.exists():
            return Outcome(order.key, OutcomeState.PENDING, now)
        return _outcome(order, answer)


def _file_name(key: str) -> str:
    """A key as a file name; what could leave the folder or clash in case becomes a digest."""
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", key):
        return f"{key}.json"
    return f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _plain(order: Order) -> dict[str, Any]:
    return {
        "key": order.key,
        "verb": order.verb,
        "kind": order.kind,
        "arch": order.arch,
        "external_id": order.external_id,
        "amounts": {str(kind): figure for kind, figure in order.amounts.items()},
        "name": order.name,
        "department": order.department_code,
        "system": order.system_code,
    }


def _order(path: Path) -> Order:
    """The order that was written there."""
    try:
        said = json.loads(path.read_text("utf-8"))
        return Order(
            key=said["key"],
            verb=Verb(said["verb"]),
            kind=ServiceKind(said["kind"]),
            arch=Arch(said["arch"]),
            external_id=said["external_id"],
            amounts=Amount.from_json(said["amounts"]),
            name=said["name"],
            department_code=said["department"],
            system_code=said["system"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, Refused) as error:
        raise ProviderFault(f"{path.name}: {error}", transient=True) from error


def _write(path: Path, content: dict[str, Any]) -> None:
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, ensure_ascii=False, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _outcome(order: Order, answer: Path) -> Outcome:
    """What the staff answered. Raises ProviderFault (worth asking again) for an answer that makes no sense
    yet."""
    try:
        said = json.loads(answer.read_text("utf-8-sig"))
        state = OutcomeState(said["state"])
        at = moment(said["at"]) if "at" in said else None
        return Outcome(
            order.key,
            state,
            at.astimezone(UTC) if at and at.tzinfo else datetime.fromtimestamp(answer.stat().st_mtime, UTC),
            said.get("external_id") or order.external_id,
            Amount.from_json(said["amounts"])
            if "amounts" in said
            else order.amounts
            if state is OutcomeState.DONE
            else {},
            str(said.get("message", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, Refused) as error:
        raise ProviderFault(f"{answer.name}: {error}", transient=True) from error
