"""Every operation of the description is sent what fits it and what does not, by somebody who may call it: nothing fails, and
what is answered is what the description says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from limits import RateLimitItemPerMinute
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as conformance

from console.api import Operation, door
from tests.console.test_api import ROOT, place, program, scopes  # noqa: F401 - fixtures


def rejects_what_does_not_fit(context: Any, response: Any, case: Any) -> bool | None:
    """Lists and objects are no values of an address's query: what is made of them for the way may fit, or be nothing at all."""
    if any(isinstance(one, list | dict) for one in (case.query or {}).values()):
        return None
    return conformance.negative_data_rejection(context, response, case)


CHECKED: list[Any] = [
    checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_schema_conformance,
    rejects_what_does_not_fit,
]
EXAMPLES = int(os.environ.get("GUANJIA_API_EXAMPLES", "0"))
"""How much is sent to each operation by `make test-api`, something else each time; 0: a little, always the same."""
BOUNDED = settings(
    max_examples=EXAMPLES or 2,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LOGINS = ("supervisor1", "tenant1", "provider1", "authority1", "sysadmin1", "secadmin1", "audadmin1", "auditor1")


@pytest.fixture
def described(app: Flask, place: Any) -> Iterator[tuple[dict[str, Operation], Any]]:  # noqa: F811
    held = door.gate(app)
    held.per_token = RateLimitItemPerMinute(1_000_000)
    return (
        {f"{one.method} {one.name}": one for one in held.operations.values()},
        schemathesis.openapi.from_wsgi(f"{ROOT}/openapi.json", app),
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "does not fit"])
def test_every_operation_answers_as_it_is_described(described: Any, program: Callable[..., Any], mode: Any) -> None:  # noqa: F811
    known, schema = described
    tokens = {login: program(login).token for login in LOGINS}
    asked, wrong = 0, []
    for found in schema.get_all_operations():
        operation = found.ok()
        mine = next(one for one in known.values() if one.name == operation.definition.raw["operationId"])
        login = next(one for one in LOGINS if one[:-1] in mine.roles)
        try:
            _send(
                operation.as_strategy(generation_mode=mode),
                {"Authorization": f"Bearer {tokens[login]}", "Accept-Encoding": "identity"},
            )
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, (
                mine.name
            )  # an operation that takes nothing has nothing wrong to send
        except BaseExceptionGroup as failed:
            wrong.append(f"{mine.name}: {failed.exceptions[0]}")
        asked += 1
    assert not wrong, "\n".join(wrong)
    assert asked == len(known)


def _send(cases: Any, headers: dict[str, str]) -> None:
    @BOUNDED
    @given(case=cases)
    def send(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKED)

    send()
