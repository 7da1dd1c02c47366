"""The catalog: Chinese source texts from templates and code, their English in ``translations/en``.

Chinese itself is a translation, too, made here: sources whose marks are of the other width (``console.marks``) have an
entry in ``translations/zh_CN``, so that a page shows one punctuation whatever its sources were typed with.

``python -m console.i18n extract``   take up new texts, drop old ones (translations are kept, nothing is guessed)
``python -m console.i18n missing``   print the texts without English as JSON
``python -m console.i18n fill FILE`` enter translations from a JSON object {text: English} ("-" for standard input)
``python -m console.i18n check``     exit 1 naming what is missing, fuzzy or has other places than its source
``python -m console.i18n compile``   write the .mo files that the console reads

Every command that writes holds a lock, so that two may run at once.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from console.marks import chinese

ROOT = Path(__file__).resolve().parent.parent
TRANSLATIONS = Path(__file__).resolve().parent / "translations"
MARKS = Path(__file__).resolve().parent / "marks.py"
LANGUAGES = ("en",)
SOURCE = "zh_CN"
SOURCES = ("console", "metering", "providers", "quota", "templates")
KEYWORDS = {"_": None, "N_": None, "gettext": None, "lazy": None, "lazy_gettext": None, "ngettext": (1, 2)}
METHODS = [("**.py", "python"), ("**.html", "jinja2"), ("**.txt", "jinja2")]
OPTIONS = {
    "**.html": {"silent": "false", "encoding": "utf-8"},
    "**.txt": {"silent": "false", "encoding": "utf-8"},
}
CHINESE = re.compile(r"[\u3400-\u9fff\uff00-\uffef\u3000-\u303f]")
SPACED = "，、；：:。"
"""Marks that bring the blank after them with them, which English writes by itself."""
PLACE = re.compile(r"%\((\w+)\)[sdf]")
_TEXT = r'_\("([^"]+)"\)'
_ICON = r"(?:\{\{ ui\.icon\([^)]*\) \}\})?\s*"
BUTTONS = re.compile(
    rf'submit={_TEXT}|post_button\({_TEXT[:-2]}|action=\({_TEXT}|<button\b[^>]*>{_ICON}\{{\{{ {_TEXT}|class="btn[^>]*>{_ICON}\{{\{{ {_TEXT}'
)
"""Words of buttons in templates, which English begins with a capital; pages see to that of labels themselves (``words.capital``)."""


def path(language: str) -> Path:
    return TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"


def extracted() -> Catalog:
    """All texts marked for translation in the house's packages and templates."""
    catalog = Catalog(project="guanjia", charset="utf-8", fuzzy=False)
    for source in SOURCES:
        for _file, _line, message, _comments, context in extract_from_dir(
            ROOT / source, METHODS, OPTIONS, KEYWORDS, strip_comment_tags=True
        ):
            catalog.add(message, context=context)
    return catalog


def read(language: str) -> Catalog:
    """The catalog of ``language`` as it stands; empty where there is none."""
    file = path(language)
    if not file.exists():
        return Catalog(locale=language, project="guanjia", charset="utf-8", fuzzy=False)
    with file.open("rb") as stream:
        return read_po(stream, locale=language)


def write(language: str, catalog: Catalog) -> None:
    file = path(language)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        # Sorted and without line numbers: a changed template changes only its own texts.
        write_po(
            stream,
            catalog,
            width=0,
            no_location=True,
            omit_header=False,
            sort_output=True,
            ignore_obsolete=True,
        )
    temporary.replace(file)


def extract(language: str) -> Catalog:
    """Bring the catalog of ``language`` up to the sources; call with the lock held."""
    before, after = read(language), Catalog(locale=language, project="guanjia", charset="utf-8", fuzzy=False)
    # Babel writes these two whenever it writes; fixed, they make no difference between two runs.
    after.creation_date = after.revision_date = before.creation_date
    for message in extracted():
        if message.id:
            known = before.get(message.id, message.context)
            after.add(message.id, known.string if known else None, context=message.context, flags=message.flags)
    write(language, after)
    return after


def on_buttons() -> set[str]:
    """Texts of the templates that stand on buttons."""
    found: set[str] = set()
    for template in (ROOT / "templates").rglob("*.html"):
        for match in BUTTONS.finditer(template.read_text("utf-8")):
            found.update(text for text in match.groups() if text)
    return found


def problems(language: str) -> Iterator[str]:
    """A sentence for each text of the sources that ``language`` does not have in good order."""
    catalog, buttons = read(language), on_buttons()
    for message in extracted():
        if not message.id:
            continue
        source = message.id if isinstance(message.id, str) else message.id[0]
        known = catalog.get(message.id, message.context)
        if known is None:
            yield f"not in the catalog: {source}"
            continue
        translations = [known.string] if isinstance(known.string, str) else list(known.string or ())
        if known.fuzzy:
            yield f"fuzzy: {source}"
        if not translations or not all(translations):
            yield f"not translated: {source}"
        for text in translations:
            if text and sorted(set(PLACE.findall(source))) != sorted(set(PLACE.findall(text))):
                yield f"other places: {source!r} → {text!r}"
            if source in buttons and text[:1].islower():
                yield f"a button begins with a capital: {source!r} → {text!r}"
            if text and text != text.rstrip() and source == source.rstrip() and source[-1] not in SPACED:
                yield f"blank at the end: {source!r} → {text!r}"
            if text and CHINESE.search(text):
                yield f"Chinese in the translation: {source!r} → {text!r}"


def english(texts: Iterable[str]) -> dict[str, str]:
    """Source text → its English; the text itself where the catalogue has none."""
    catalog = read("en")
    return {one: str(known.string) if (known := catalog.get(one)) and known.string else one for one in texts}


def missing(language: str) -> list[str]:
    """Source texts without a translation."""
    catalog = read(language)
    return [
        str(message.id)
        for message in extracted()
        if message.id and not ((known := catalog.get(message.id, message.context)) and known.string)
    ]


def compile_all(force: bool = False) -> int:
    """Write the .mo of every language that is older than what it is made of; how many were written."""
    count = 0
    for language, source in [*((one, path(one)) for one in LANGUAGES), (SOURCE, path("en"))]:
        target = path(language).with_suffix(".mo")
        if not source.exists() or (not force and _fresh(target, source, MARKS)):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}.tmp")  # two processes may do it at once
        with temporary.open("wb") as stream:
            write_mo(stream, in_order() if language == SOURCE else read(language))
        temporary.replace(target)
        count += 1
    return count


def _fresh(target: Path, *sources: Path) -> bool:
    return target.exists() and target.stat().st_mtime >= max(one.stat().st_mtime for one in sources)


def in_order() -> Catalog:
    """The sources that Chinese marks make other: source → as it is shown."""
    catalog = Catalog(locale=SOURCE, project="guanjia", charset="utf-8", fuzzy=False)
    for message in read("en"):
        if message.id and chinese(str(message.id)) != message.id:
            catalog.add(message.id, chinese(str(message.id)))
    return catalog


def fill(language: str, translations: dict[str, str]) -> list[str]:
    """Take up the sources, enter ``translations``; those that no source has."""
    catalog = extract(language)
    strangers = []
    for source, text in translations.items():
        message = catalog.get(source)
        if message is None:
            strangers.append(source)
        else:
            message.string = text
    write(language, catalog)
    return strangers


@contextmanager
def locked() -> Iterator[None]:
    """Wait for other commands that write the catalog."""
    TRANSLATIONS.mkdir(exist_ok=True)
    folder = os.open(TRANSLATIONS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m console.i18n", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["extract", "missing", "fill", "check", "compile"])
    parser.add_argument("file", nargs="?", help="JSON for fill")
    options = parser.parse_args(argv)
    if options.command == "check":
        found = [f"{language}: {one}" for language in LANGUAGES for one in problems(language)]
        print("\n".join(found) or "complete")
        return 1 if found else 0
    if options.command == "missing":
        print(json.dumps(dict.fromkeys(missing("en"), ""), ensure_ascii=False, indent=1))
        return 0
    with locked():
        if options.command == "extract":
            for language in LANGUAGES:
                extract(language)
                print(f"{language}: {len(missing(language))} texts without translation")
        elif options.command == "fill":
            if not options.file:
                parser.error("fill needs a file")
            text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text(encoding="utf-8")
            strangers = fill("en", json.loads(text))
            for one in strangers:
                print(f"no source has: {one}", file=sys.stderr)
            compile_all()
            print(f"en: {len(missing('en'))} texts without translation")
            return 1 if strangers else 0
        else:
            print(f"{compile_all(force=True)} compiled")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
