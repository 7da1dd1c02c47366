#!/usr/bin/env bash
# openstacksdk 4.22.0: wait_for_server (and every wait_for_status) looks at the object that it is given before it asks the cloud.
# Where that object still shows the status that is waited for — as after a reboot, a migration or a volume's extend, which
# begin and end in the same status — it returns at once, without a single request, and "the updated resource" is the old one.
set -euo pipefail
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check openstacksdk==4.22.0
"$home/venv/bin/python" -W ignore - <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import openstack

asked = []
STATES = iter(["ACTIVE", "REBOOT", "REBOOT", "ACTIVE"])


class Nova(BaseHTTPRequestHandler):
    """A server that is ACTIVE when it is first looked at, REBOOT twice after it was told to, and ACTIVE again."""

    def _say(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if not self.path.endswith("/servers/one"):
            here = f"http://{self.headers['Host']}/v2.1/"
            told = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1"}
            return self._say(200, json.dumps({"version": {**told, "links": [{"rel": "self", "href": here}]}}).encode())
        asked.append(next(STATES))
        self._say(200, json.dumps({"server": {"id": "one", "name": "one", "status": asked[-1]}}).encode())

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked.append("reboot")
        self._say(202)

    def log_message(self, *_args):
        pass


nova = ThreadingHTTPServer(("127.0.0.1", 0), Nova)
threading.Thread(target=nova.serve_forever, daemon=True).start()
cloud = openstack.connect(
    auth_type="none", auth={"endpoint": f"http://127.0.0.1:{nova.server_port}"}, load_yaml_config=False, load_envvars=False,
    compute_endpoint_override=f"http://127.0.0.1:{nova.server_port}/v2.1", compute_api_version="2", region_name="here",
)
server = cloud.compute.get_server("one")
cloud.compute.reboot_server(server, "SOFT")
same = cloud.compute.wait_for_server(server, status="ACTIVE", interval=0.1, wait=30)
print("openstacksdk", version("openstacksdk"))
print("the service was asked:", asked)
assert asked == ["ACTIVE", "reboot"], "it asks now whether the reboot is over"
assert same is server
again = cloud.compute.wait_for_server(cloud.compute.get_server("one"), status="ACTIVE", interval=0.1, wait=30)
print("and with a fresh object:", asked)
assert asked == ["ACTIVE", "reboot", "REBOOT", "REBOOT", "ACTIVE"]
PY
