"""A request is held from submission until it is decided, seen and touched only by whom it concerns."""

from __future__ import annotations


def test_a_request_goes_all_the_way(town) -> None:
    request = town.submit()
    assert town.figures() == {"supply": -200, "free": 192, "held": 8}
    request = town.approve(request, "checker", "reviewer", "chief")
    assert request.state == "approved"
    assert town.figures() == {"supply": -200, "free": 192, "used": 8}
