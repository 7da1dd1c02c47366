"""The product's two processes: the web server (gunicorn) and the jobs, side by side under one parent.

``guanjia run`` starts both and ends both; either ending by itself ends the other, so that nobody watches half a product.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from console.settings import Settings


class PortTaken(OSError):
    """Somebody listens there already."""


def environment(settings: Settings) -> dict[str, str]:
    """What the child processes are told: where the data are, and whether this is a demo."""
    counters = settings.data.resolve() / "counters"  # what gunicorn's workers count, each in a file of its own
    shutil.rmtree(counters, ignore_errors=True)
    counters.mkdir(parents=True)
    return {
        **os.environ,
        "GUANJIA_DATA": str(settings.data.resolve()),
        "GUANJIA_DEMO": str(settings.demo).lower(),
        "PROMETHEUS_MULTIPROC_DIR": str(counters),
    }


def web_command(host: str, port: int, workers: int, threads: int = 4) -> list[str]:
    """gunicorn with threads: pages wait for the book more than they compute."""
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        f"{host}:{port}",
        "--workers",
        str(workers),
        "--threads",
        str(threads),
        "--timeout",
        "120",  # until a worker whose main thread is silent is killed; on a busy machine importing the console takes its time
        "--worker-tmp-dir",
        "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp",  # noqa: S108 - heartbeat files, made by gunicorn
        "--max-requests",
        "20000",
        "--max-requests-jitter",
        "2000",
        "--access-logfile",
        os.environ.get("GUANJIA_ACCESS_LOG", "/dev/null"),
        "--log-level",
        "warning",
        "console.wsgi:application",
    ]


def check_port(host: str, port: int) -> None:
    """Raise PortTaken before anything is started, instead of after."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(f"{host}:{port} cannot be listened on: {error.strerror}") from error


def run_both(settings: Settings, host: str, port: int, workers: int) -> int:
    """Start web and jobs, wait for a signal or for one of them to end, end the other; the exit code."""
    told = environment(settings)
    children = [
        subprocess.Popen(web_command(host, port, workers), env=told),  # noqa: S603
        subprocess.Popen([sys.executable, "-m", "console.cli", "jobs"], env=told),
    ]
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    code = 0
    while not stopping:
        ended = [one for one in children if one.poll() is not None]
        if ended:
            code = ended[0].returncode or 1
            break
        time.sleep(0.3)
    for one in children:
        if one.poll() is None:
            one.terminate()
    deadline = time.monotonic() + 15
    for one in children:
        try:
            one.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()
    return code
