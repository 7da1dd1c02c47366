"""Records what the services of a real OpenStack answer to our adapter (``make record-clouds``).

python -m tests.clouds.recording FOLDER [OUT]     FOLDER: of the services (tests/clouds/services.py)
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from subprocess import check_output
from typing import Any

from providers.adapters.openstack import OpenStackCloud
from providers.secrets import Secret
from tests.clouds.filling import LONG
from tests.clouds.recordings import FOLDER, Recorder
from tests.clouds.services import HOST, PORTS, WORD

NAMES = {
    "keystone": "identity", "nova": "compute", "cinder": "volumes", "glance": "images", "neutron": "network",
    "placement": "placement", "gnocchi": "metric",
}  # fmt: skip
PLACES = {f"http://{HOST}:{PORTS[service]}": name for service, name in NAMES.items()}
SERVICES = ("keystone", "nova", "openstack-placement", "glance", "neutron", "cinder", "gnocchi")
SPAN = timedelta(hours=2)


class TakenDown(OpenStackCloud):
    """The adapter, with what passes on its wire taken down."""

    def recorded_by(self, recorder: Recorder) -> TakenDown:
        self.session.heard = recorder.heard
        return self


def record(services: Path, out: Path) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    now -= timedelta(minutes=now.minute % 5 + 10)
    recorder = Recorder(PLACES)
    cloud = TakenDown(
        f"http://{HOST}:{PORTS['keystone']}/v3", user="admin", password=Secret("env:none", lambda _name: WORD), settle_s=0
    ).recorded_by(recorder)  # fmt: skip
    print(cloud.probe(now))
    cloud.inventory(now)
    cloud.quotas(now)
    cloud.capacity(now)
    for _batch in cloud.samples(now - SPAN, now):
        pass
    _write(recorder, now, services, out)


def record_widths(services: Path, out: Path) -> None:
    """Of what was kept in two widths: listed, and measured as far back as the coarse one reaches."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    now -= timedelta(minutes=now.minute % 5 + 10)
    recorder = Recorder(PLACES)
    cloud = TakenDown(
        f"http://{HOST}:{PORTS['keystone']}/v3", user="admin", password=Secret("env:none", lambda _name: WORD), settle_s=0
    ).recorded_by(recorder)  # fmt: skip
    cloud.inventory(now)
    for _batch in cloud.samples(now - LONG, now):
        pass
    _write(recorder, now, services, out)


def _write(recorder: Recorder, now: datetime, services: Path, out: Path) -> None:
    about: dict[str, Any] = {
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "now": now.isoformat(),
        "services": _versions(services / "venv" / "bin" / "pip"),
        "openstacksdk": version("openstacksdk"),
    }
    recorder.recording(about).write(out)
    print(out, len(recorder.exchanges), "exchanges", out.stat().st_size, "bytes")


def _versions(pip: Path) -> dict[str, str]:
    told = check_output([str(pip), "freeze", "--disable-pip-version-check"], text=True)
    known = dict(line.lower().split("==", 1) for line in told.splitlines() if "==" in line)
    return {name: known[name] for name in SERVICES if name in known}


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER
    record(Path(sys.argv[1]), folder / "control-plane.jsonl")
    record_widths(Path(sys.argv[1]), folder / "widths.jsonl")
