"""What pyproject.toml cannot say: the templates lie beside the packages and travel inside ``console``, and a wheel carries what
pages load and the compiled translations, made where they are missing."""

import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
TEMPLATES = {
    "console." + ".".join(folder.relative_to(ROOT).parts): str(folder.relative_to(ROOT))
    for folder in [ROOT / "templates", *(ROOT / "templates").rglob("*")]
    if folder.is_dir()
}

MANUALS = {
    "console.manuals.zh": "docs/zh",
    "console.manuals.en": "docs/en",
    "console.manuals.pictures": "docs/screenshots",
}
"""What the manuals are read from: texts and pictures that the repository shows as well."""


class BuildHouse(build_py):
    """Take in the pages' assets (npm, once) and the translations before packages are copied."""

    def run(self) -> None:
        if not self.editable_mode:
            console = ROOT / "console"
            made = [*(console / "static" / "vendor").glob("*.min.*"), *(console / "fonts").glob("*.ttf")]
            for module in ([] if len(made) >= 5 else ["console.assets"]) + ["console.i18n"]:
                words = [] if module == "console.assets" else ["compile"]
                subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, check=True)
        super().run()


setup(
    packages=[*find_packages(include=["quota*", "providers*", "metering*", "console*"]), *TEMPLATES, *MANUALS],
    package_dir={**TEMPLATES, **MANUALS},
    package_data={
        "console": [
            "static/*",
            "static/vendor/*",
            "fonts/*",
            "reports/*.typ",
            "translations/*/LC_MESSAGES/*",
            "migrations/*.py",
            "migrations/*.mako",
            "migrations/versions/*.py",
        ],
        "console.manuals.zh": ["*.md"],
        "console.manuals.en": ["*.md"],
        "console.manuals.pictures": ["*-1440.png"],
        **{name: ["*.html", "*.txt"] for name in TEMPLATES},
    },
    cmdclass={"build_py": BuildHouse},
)
