"""Programs reach all of the console: every list, and every act that does not say why it is for people alone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from flask import Flask

from console.api import door, operations, serving
from console.programs import asked
from tests.suite.outside import ROOT


def test_every_act_is_reachable_or_says_why_not(app: Flask) -> None:
    assert [name for name, why in operations.left_out(app).items() if not why] == []


def test_every_list_is_reachable(app: Flask) -> None:
    """A module that exports a list declares one; the rest are parts of pages."""
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted(Path(ROOT / "console" / "pages").rglob("*.py"))
        if re.search(r"\.exported\(", text := path.read_text("utf-8")) and "@listed(" not in text
    ]
    assert silent == []


def test_every_act_has_a_body_that_its_form_reads(app: Flask) -> None:
    known = door.gate(app).operations.values()
    with app.test_request_context("/api/v1/requests"):
        asked.begin(asked.Asked())
        bodies = {one.name: serving.body_model(one) for one in known if one.takes is not None}
    assert len(bodies) > 100
    assert "UnboundField" not in str([one.model_json_schema() for one in bodies.values()])
    assert "generation" in bodies["requests.withdraw"].model_fields
    assert "generation" not in bodies["requests.draft.create"].model_fields
    assert set(bodies["decisions.decide"].model_fields) >= {"decision", "reason", "use_until", "quantity", "amount"}


def test_each_operation_has_an_address_of_its_own(app: Flask) -> None:
    """Of two at one address only the first is described, and answers."""
    places = Counter(
        (one.method, re.sub(r"<[^>]*>", "<>", one.rule)) for one in door.gate(app).operations.values() if not one.values
    )
    assert [place for place, often in places.items() if often > 1] == []


def test_addresses_are_those_of_the_pages(app: Flask) -> None:
    pages = {one.rule.rstrip("/") for one in app.url_map.iter_rules() if not one.endpoint.startswith("api.")}
    made = {
        re.sub(r"^/api/v1", "", one.rule)
        for one in door.gate(app).operations.values()
        if not one.values and not (one.listed and one.listed.at)
    }
    assert made - pages == set()
