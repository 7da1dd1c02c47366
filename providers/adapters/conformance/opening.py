"""How an adapter is opened: options that a form can be made of, secrets that stay where they are, nobody spoken to."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from providers.base import ProviderFault
from providers.options import OptionShape, fields, kept, read
from providers.secrets import Secret
from quota.errors import Refused

SECRETIVE = re.compile(r"password|passwd|secret|token|bearer|api_?key", re.IGNORECASE)


class OpeningSuite:
    """``adapter``: the class, with its ``Options``. ``options``: such as open it against something that answers, in a folder
    of the test's own. ``unreachable``: such as lead to nobody; None where there is nobody to be reached."""

    adapter: ClassVar[Any]

    def options(self, folder: Path) -> Mapping[str, Any]:
        raise NotImplementedError("say with which options your adapter is opened")

    def unreachable(self, folder: Path) -> Mapping[str, Any] | None:  # noqa: ARG002
        return None

    def opened(self, options: Mapping[str, Any]) -> Any:
        told = read(self.adapter.Options, options)
        return self.adapter(**{one.name: getattr(told, one.name) for one in fields(type(told))})

    @pytest.fixture
    def given(self, tmp_path: Path) -> Mapping[str, Any]:
        return self.options(tmp_path)

    def test_each_option_has_a_label_and_a_shape_that_a_form_has_a_field_for(self) -> None:
        for one in fields(self.adapter.Options):
            assert one.label, f"{one.name}: without a label"
            assert one.label != one.name, f"{one.name}: its label is its name"

    def test_what_lets_us_in_is_a_secret(self) -> None:
        clear = [
            one.name
            for one in fields(self.adapter.Options)
            if SECRETIVE.search(one.name) and one.shape is not OptionShape.SECRET
        ]
        assert clear == [], "declare these as Secret: what is no reference would stand in the book"

    def test_options_are_plain_json_and_say_the_same_when_read_again(self, given: Mapping[str, Any]) -> None:
        plain = kept(self.adapter.Options, given)
        assert kept(self.adapter.Options, json.loads(json.dumps(plain))) == plain

    def test_what_is_missing_or_unknown_is_refused_by_its_name(self, given: Mapping[str, Any]) -> None:
        with pytest.raises(Refused) as refused:
            self.opened({**given, "surely_no_option": 1})
        assert refused.value.params.get("field") == "surely_no_option"
        for one in fields(self.adapter.Options):
            if one.required:
                with pytest.raises(Refused) as refused:
                    self.opened({name: value for name, value in given.items() if name != one.name})
                assert refused.value.params.get("field") == one.name

    def test_opening_speaks_to_nobody(self, given: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """Web processes open adapters to ask what they can do: none may wait for a cloud, or need its secrets."""

        def refused(*_args: object, **_more: object) -> None:
            raise AssertionError("the constructor speaks to somebody")

        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, refused)
        monkeypatch.setattr(socket, "getaddrinfo", refused)
        monkeypatch.setattr(Secret, "reveal", refused)
        self.opened(given)

    def test_who_cannot_be_reached_is_told_as_a_passing_fault(self, tmp_path: Path) -> None:
        options = self.unreachable(tmp_path)
        if options is None:
            pytest.skip("there is nobody to be reached")
        with pytest.raises(ProviderFault) as fault:
            self.spoken_to(self.opened(options))
        assert fault.value.transient
        assert str(fault.value)

    def spoken_to(self, one: Any) -> None:
        """Make it speak to its cloud."""
        raise NotImplementedError
