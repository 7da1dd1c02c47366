"""What every answer is sent with: compression, what it leaves alone, and a token that its length cannot tell."""

from __future__ import annotations

import gzip
import itertools
import re
import zlib

import brotli
import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from console.answers import MaskedCSRF
from console.answers.tokens import masked, unmasked
from quota.actors import Role

ACCEPTED = {"Accept-Encoding": "gzip, deflate, br"}
PAGE_TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Somebody who takes bodies as they come."""
    app.test_client_class = FlaskClient
    return app.test_client()


def plain(answer) -> bytes:
    how = answer.headers.get("Content-Encoding")
    return {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[how](answer.data)


@pytest.mark.parametrize("accepted", ["gzip", "br", "gzip, deflate, br"])
@pytest.mark.parametrize(
    "url", ["/login", "/static/app.css", "/static/icons.svg", "/static/vendor/tabler.min.css", "/metrics"]
)
def test_what_is_text_is_compressed_for_who_takes_it(client, url, accepted) -> None:
    whole = client.get(url)
    less = client.get(url, headers={"Accept-Encoding": accepted})
    assert less.headers["Content-Encoding"] in accepted
    assert int(less.headers["Content-Length"]) == len(less.data) < len(whole.data) * 0.75
    assert "Accept-Encoding" in less.headers["Vary"]
    assert "Content-Encoding" not in whole.headers
    if url.startswith("/static"):
        assert plain(less) == whole.data
        assert less.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("accepted", ["", "identity", "br;q=0, gzip;q=0", "compress"])
def test_who_takes_nothing_gets_it_as_it_is(client, accepted) -> None:
    for url in ("/login", "/static/app.css"):
        answer = client.get(url, headers={"Accept-Encoding": accepted})
        assert (answer.status_code, answer.headers.get("Content-Encoding")) == (200, None)


def test_a_static_file_has_one_tag_an_encoding_and_is_not_sent_twice(client) -> None:
    tags = set()
    for accepted in ("br", "gzip", "identity"):
        headers = {"Accept-Encoding": accepted}
        answer = client.get("/static/app.js", headers=headers)
        tags.add(answer.headers["ETag"])
        again = client.get("/static/app.js", headers={**headers, "If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        head = client.head("/static/app.js", headers=headers)
        assert (head.status_code, head.headers.get("Content-Encoding")) == (200, answer.headers.get("Content-Encoding"))
    assert len(tags) == 3
    assert client.get("/static/../app.py", headers=ACCEPTED).status_code == 404
    assert client.get("/static/none.css", headers=ACCEPTED).status_code == 404


def test_an_export_is_compressed_as_it_is_read(client_of) -> None:
    auditor = client_of(Role.AUDITOR)
    whole = auditor.get("/audit/?export=csv")
    assert whole.mimetype == "text/csv"
    for accepted in ("gzip", "br"):
        less = auditor.get("/audit/?export=csv", headers={"Accept-Encoding": accepted})
        assert less.headers["Content-Encoding"] == accepted
        assert len(less.data) < len(whole.data) / 2
        assert plain(less) == whole.data
    workbook = auditor.get("/audit/?export=xlsx", headers=ACCEPTED)
    assert "Content-Encoding" not in workbook.headers


def test_what_answers_a_form_is_not_compressed(client_of) -> None:
    clerk = client_of(Role.SYSADMIN)
    clerk.get("/password")
    answer = clerk.send("/password", {"old": "x", "password": "y", "again": "z"}, headers=ACCEPTED)
    assert (answer.mimetype, answer.headers.get("Content-Encoding")) == ("text/html", None)


def test_a_view_that_shows_a_secret_again_is_left_alone(app: Flask, client) -> None:
    def shown() -> Response:
        return Response("secret " * 500, headers={"Cache-Control": "no-store, no-transform"})

    app.view_functions["auth.login"] = shown
    assert "Content-Encoding" not in client.get("/login", headers=ACCEPTED).headers


def test_a_token_is_written_differently_in_every_answer(client_of) -> None:
    clerk = client_of(Role.SYSADMIN)
    written = [PAGE_TOKEN.search(clerk.get("/password").text).group(1) for _ in range(8)]
    assert len(set(written)) == 8
    assert len({unmasked(one).partition(".")[0] for one in written}) == 1, "one session has one token"
    for one, other in itertools.pairwise(written):
        alike = sum(a == b for a, b in zip(one, other, strict=False))
        assert alike < len(one) / 4
    clerk.token = written[0]
    assert clerk.send("/logout").status_code == 302


def test_how_long_an_answer_is_says_nothing_of_the_token(client_of) -> None:
    """The guess that repeats the token's own beginning makes the answer no shorter than one that does not."""
    clerk = client_of(Role.SYSADMIN)
    token = unmasked(PAGE_TOKEN.search(clerk.get("/password").text).group(1))

    def size(guess: str) -> float:
        sizes = [
            len(zlib.compress(clerk.get("/settings/people/", query_string={"q": guess}).data, 9)) for _ in range(12)
        ]
        return sum(sizes) / len(sizes)

    right, wrong = size(token[:48]), size(token[47::-1])
    assert abs(right - wrong) < 12, "the right guess would save two dozen bytes and more"


@pytest.mark.parametrize("token", ["", "IjEyMyI.abc.def", "x" * 400])
def test_a_masked_token_is_read_back(token) -> None:
    assert {unmasked(masked(token)) for _ in range(20)} == {token}


@pytest.mark.parametrize("given", ["é", "a", "====", "not base64 !", "AAA", "gICA", "A" * 100_000])
def test_what_is_no_token_is_refused(client_of, given) -> None:
    assert isinstance(unmasked(given), str)
    clerk = client_of(Role.SYSADMIN)
    assert clerk.post("/logout", data={"csrf_token": given}).status_code == 400


def test_the_protection_is_the_one_of_the_house(app: Flask) -> None:
    assert isinstance(app.extensions["csrf"], MaskedCSRF)
