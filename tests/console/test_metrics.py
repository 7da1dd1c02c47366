"""What Prometheus scrapes is what promtool finds in order."""

from __future__ import annotations

import subprocess


def test_the_exposition_is_clean(client, house):
    client.get("/login")
    answer = client.get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"})
    assert answer.status_code == 200
    assert b"guanjia_ledger_conserved 1.0" in answer.data
    found = subprocess.run(
        ["promtool", "check", "metrics"],
        input=answer.data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, b"")


def test_strangers_are_kept_out(client):
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 403
