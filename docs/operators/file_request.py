"""Files a request by the API and follows it until somebody has decided.

    GUANJIA_URL=https://guanjia.example.gov.cn GUANJIA_TOKEN=gj_… python file_request.py POOL VCPU GB "why"

The token needs the scopes requests:read and requests:act. Nothing but Python's own library is needed.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

ROOT = os.environ["GUANJIA_URL"].rstrip("/")


def call(method, path, body=None, **headers):
    """(headers, answer); ends with the refusal's sentence where there is one."""
    headers |= {"Authorization": f"Bearer {os.environ['GUANJIA_TOKEN']}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        asked = urllib.request.Request(ROOT + path, data, headers, method=method)  # noqa: S310 - the house that one names
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            return answer.headers, json.load(answer)
    except urllib.error.HTTPError as refused:
        problem = json.load(refused)
        places = "; ".join(f"{one['field']}: {one['detail']}" for one in problem["errors"])
        sys.exit(f"{problem['code']}: {problem['detail']} {places}")


def main(pool, vcpu, memory, why):
    key = str(uuid.uuid4())  # sent again with the same body, it files nothing twice
    body = {"amount_vcpu": int(vcpu), "amount_memory": int(memory), "justification": why}
    _headers, made = call("POST", f"/api/v1/requests/new/create?pool={pool}", body, **{"Idempotency-Key": key})
    headers, draft = call("GET", made["location"])
    call("POST", f"{made['location']}/submit", {}, **{"If-Match": headers["ETag"]})
    print(f"{draft['number']} is handed in")
    state = ""
    while True:
        _headers, now = call("GET", made["location"])
        if now["state"] != state:
            state = now["state"]
            print(f"{now['number']}: {state}, waits for {now['turn'] or 'nobody'}", flush=True)
        if state not in ("draft", "in_review"):
            return
        time.sleep(float(os.environ.get("GUANJIA_EVERY_S", "30")))


if __name__ == "__main__":
    main(*sys.argv[1:])
