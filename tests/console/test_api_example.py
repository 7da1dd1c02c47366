"""The example of the documents, run as it stands against a console on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from threading import Thread
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests.console.test_api import Program, place, program, scopes  # noqa: F401 - fixtures
from tests.patience import PATIENCE, until
from tests.suite.outside import ROOT

EXAMPLE = ROOT / "docs" / "operators" / "file_request.py"


@pytest.mark.slow
def test_the_example_files_a_request_and_follows_it(app: Any, place: Any, program: Any, tmp_path: Any) -> None:  # noqa: F811
    tenant, supervisor = program("tenant1"), program("supervisor1")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    said = tmp_path / "said"
    try:
        with said.open("w") as out:
            process = subprocess.Popen(
                [
                    sys.executable,
                    str(EXAMPLE),
                    str(place.pool),
                    "4",
                    "8",
                    "年报系统集中申报期间需要扩容,按去年同期峰值测算",
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "GUANJIA_URL": f"http://127.0.0.1:{server.server_port}",
                    "GUANJIA_TOKEN": tenant.token,
                    "GUANJIA_EVERY_S": "0.1",
                    "no_proxy": "127.0.0.1",
                },
            )
        until(lambda: "in_review, waits for supervisor" in said.read_text("utf-8"), "the request in review")
        waiting = supervisor.get("/decisions").get_json()["items"][0]
        decision = {"decision": "reject", "reason": "依据不足", "generation": waiting["generation"]}
        assert supervisor.post(f"/decisions/{waiting['id']}", decision).status_code == 200
        assert process.wait(PATIENCE) == 0
    finally:
        server.shutdown()
    assert re.search(r"rejected, waits for nobody\n$", said.read_text("utf-8"))


def test_the_example_is_no_longer_than_a_page() -> None:
    code = [line for line in EXAMPLE.read_text("utf-8").splitlines() if line.strip()]
    assert len(code) <= 50
