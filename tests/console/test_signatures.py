"""Where the city wants a second person's word, a program is none: whatever role a service has, and however it comes."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

from console.accounts import accounts
from console.api import TokenKind, tokens
from metering.batches import batches
from metering.batches.alike import Alike
from metering.cases import CaseAct
from metering.simulation import drafts
from metering.statements import disputes
from providers import comments
from providers.assessment import appeals, formula_drafts
from providers.base import Responsibility
from providers.billing import incidents
from providers.observation import held_listings
from providers.observation.listings import Listing
from quota.actors import Actor, Role
from quota.db import Book, Tx
from quota.errors import NotAllowed
from quota.inventory import takeovers
from quota.requests import approvals, proposals
from tests.console.test_api import ROOT, Program, actor_of, drafted, place, program, scopes, told  # noqa: F401 - fixtures
from tests.suite.outside import ROOT as SOURCE

GROUP = Alike(CaseAct.RULE, "reclaim", "idle", 1, "objection")
SIGNATURES: dict[str, tuple[Role, Callable[[Tx], Any]]] = {
    "approvals.take": (Role.AUTHORITY, lambda tx: approvals.take(tx, 1, 1, "x")),
    "takeovers.propose": (Role.SUPERVISOR, lambda tx: takeovers.propose(tx, None, "x", [1], key="k")),
    "takeovers.confirm": (Role.AUTHORITY, lambda tx: takeovers.confirm(tx, 1, 1)),
    "proposals.sign": (Role.AUTHORITY, lambda tx: proposals.sign(tx, 1)),
    "drafts.enact": (Role.AUTHORITY, lambda tx: drafts.enact(tx, 1, 1, reason="x")),
    "disputes.settle": (Role.AUTHORITY, lambda tx: disputes.settle(tx, 1, generation=1, fen=0, text="x")),
    "formula_drafts.enact": (Role.AUTHORITY, lambda tx: formula_drafts.enact(tx, 1, "x", reason="x")),
    "appeals.rule": (Role.SUPERVISOR, lambda tx: appeals.rule(tx, 1, upheld=False, ruling="x")),
    "incidents.settle": (Role.SUPERVISOR, lambda tx: incidents.settle(tx, 1, 1, Responsibility.PROVIDER, "x")),
    "incidents.merge": (Role.SUPERVISOR, lambda tx: incidents.merge(tx, 1, 1, 2, "x")),
    "comments.rule": (Role.SUPERVISOR, lambda tx: comments.rule(tx, 1, upheld=True, text="x")),
    "held_listings.end": (Role.SUPERVISOR, lambda tx: held_listings.end(tx, Listing(), "x")),
    "batches.begin": (Role.SUPERVISOR, lambda tx: batches.begin(tx, GROUP, {1: 1}, {}, "x", key="k")),
}


@pytest.mark.parametrize("verb", SIGNATURES)
def test_a_service_gives_no_signature(house: Book, verb: str) -> None:
    role, sign = SIGNATURES[verb]
    with pytest.raises(NotAllowed, match=r"sign\.person"), house.transaction(Actor("r", "r", role, program=True)) as tx:
        sign(tx)


def test_whatever_asks_for_another_person_asks_for_a_person() -> None:
    """A verb that refuses somebody for what he did before counts persons; so it refuses programs, too."""
    lacking = set()
    for package in ("quota", "providers", "metering"):
        for path in sorted((SOURCE / package).rglob("*.py")):
            text = path.read_text("utf-8")
            if "actor.login" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef) and _counts_persons(node):
                    said = ast.unparse(node)
                    if "must_sign()" not in said:
                        lacking.add(f"{path.relative_to(SOURCE)}: {node.name}")
    assert lacking == {"metering/batches/batches.py: _go_on"}, "it carries on what one person signed"


def _counts_persons(function: ast.FunctionDef) -> bool:
    """Whether it raises NotAllowed right after a comparison with the actor's login."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and "actor.login" in ast.unparse(node.test):
            raised = [one for one in node.body if isinstance(one, ast.Raise)]
            if any("NotAllowed(" in ast.unparse(one) for one in raised):
                return True
    return False


@pytest.fixture
def robot(app: Any, house: Book, scopes: Any) -> Program:  # noqa: F811
    """A service with all that a supervisor may do, let in by both administrators."""
    with house.transaction(actor_of(house, "sysadmin1")) as tx:
        who = accounts.enrol_service(tx, "robot", "巡检平台", Role.SUPERVISOR, department=None, provider=None)
        row, secret = tokens.make(tx, who, "nightly", scopes(Role.SUPERVISOR), 30, TokenKind.SERVICE)
        service, token = who.id, row.id
    with house.transaction(actor_of(house, "secadmin1")) as tx:
        accounts.grant(tx, accounts.service(tx, service), Role.SUPERVISOR)
        tokens.confirm(tx, token)
    return Program(app.test_client(), secret)


def test_a_request_waits_for_a_person_whatever_a_service_says(robot: Program, program: Any, place: Any) -> None:  # noqa: F811
    tenant = program("tenant1")
    path = drafted(tenant, place, "filed-2026-0001").get_json()["location"].removeprefix(ROOT)
    assert tenant.post(f"{path}/submit", {"generation": 1}).status_code == 200
    one = robot.get(path).get_json()
    body = {"decision": "reject", "reason": "依据不足", "generation": one["generation"]}
    number = path.rpartition("/")[2]
    assert told(robot.post(f"/decisions/{number}", body), 403)["code"] == "sign.person"
    assert robot.get("/decisions").get_json()["items"] == []
    assert robot.get(path).get_json()["state"] == "in_review"
    assert program("supervisor1").post(f"/decisions/{number}", body).status_code == 200, (
        "a person's token is the person"
    )
