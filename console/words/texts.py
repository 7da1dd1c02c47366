"""Figures, times, words: everything that a page or an export writes, in the reader's language and the city's time.

Unknown is "—", never 0. Units stand beside figures; thousands are separated; prose has three significant digits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from babel.support import NullTranslations, Translations
from flask import Flask, g, request
from flask_babel import Babel, gettext
from flask_babel.speaklater import LazyString
from markupsafe import Markup, escape

from console.book import book, reading, settings
from console.programs import asked
from console.words.states import STATES, State
from quota.actors import ROLE_LABELS, Role
from quota.calendar import WorkingDays, working_days
from quota.directory import CatalogItem
from quota.errors import N_
from quota.requests import formbook
from quota.units import CLASSES, Amount, Arch, ClassCode, Commodity, shown

LANGUAGES = {"zh_CN": "中文", "en": "English"}
SOURCE = "zh_CN"
SPOKEN = {"zh-CN": "zh_CN", "zh": "zh_CN", "en": "en"}
"""Languages as Accept-Language names them."""
COOKIE = "language"
TRANSLATIONS = Path(__file__).resolve().parents[1] / "translations"
UNKNOWN = "—"
ARCH_LABELS = {
    Arch.X86_64: "x86_64",
    Arch.AARCH64: "aarch64",
    Arch.LOONGARCH64: "loongarch64",
    Arch.SW_64: "sw_64",
    Arch.MIPS64: "mips64",
    Arch.ANY: N_("不限架构"),
}


def lazy(message: str, **places: Any) -> LazyString:
    """``_`` for what is made before there is a reader: labels and messages of forms."""
    return LazyString(_, message, **places)


def _(message: str, **places: Any) -> str:
    """``message`` in the reader's language, its ``%(places)s`` filled."""
    text = _found(message)
    return agreed(text % places if places else text)


def _in_template(message: str, **places: Any) -> str:
    """``_`` for templates: places are escaped unless they are markup; a text without places may hold a plain %."""
    text = _found(message)
    return agreed(escape(text) % places) if places else agreed(text.replace("%%", "%"))


def _found(message: str) -> str:
    # A list asks for hundreds of words; in the language of the sources there is little to look up.
    if request and language() == SOURCE:
        return _in_order().gettext(message)
    found = str(gettext(message))
    if found != message:
        return found
    return CLASSES.english(message) or formbook.english(message) or message  # what people named


@cache
def _in_order() -> NullTranslations:
    """Sources whose marks are shown otherwise than they were typed."""
    return Translations.load(TRANSLATIONS, [SOURCE])


def agreed(text: str) -> str:
    """``1 {case|cases}`` → ``1 case``: a translation gives both words where a figure before them decides.

    Chinese has one word for both, so its texts never say this. Without a figure the second word stands.
    """
    if "|" not in text:
        return text
    found = _AGREES.sub(lambda m: m[1] + m[2] + (m[3] if m[1] == "1" else m[4]), text)
    found = _EITHER.sub(lambda m: m[2], found)
    return Markup(found) if isinstance(text, Markup) else found  # noqa: S704 - it was safe, and words are


_AGREES = re.compile(r"(?<![\d.,])(\d[\d,.]*)([^{}|\d]*)\{([^{}|]*)\|([^{}|]*)\}")
_EITHER = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")


def language() -> str:
    """The language of this request: the reader's choice (a program's by Accept-Language), else the installation's."""
    if g and (held := g.get("language")):  # asked hundreds of times a page
        return str(held)
    if not request:
        return settings().language
    if asked.by_program():
        chosen = SPOKEN.get(request.accept_languages.best_match(SPOKEN) or "", "")
    else:
        chosen = request.cookies.get(COOKIE, "")
    g.language = chosen if chosen in LANGUAGES else settings().language
    return str(g.language)


def sentence(message: str, params: Mapping[str, Any] | None = None) -> str:
    """A refusal's sentence in the reader's language. Words of the trade among ``params`` are translated, too."""
    if not message:
        return ""
    text = _found(message)
    if not params:
        return agreed(text.replace("%%", "%"))
    try:
        return agreed(text % {name: _word(value) for name, value in params.items()})
    except (KeyError, TypeError, ValueError):
        return text


def _word(value: Any) -> Any:
    if isinstance(value, str) and value:
        return _("、").join(_(part) for part in value.split("、") if part)
    if isinstance(value, float | Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        return number(value)
    return when(value) if isinstance(value, date) else value


def number(value: float | Decimal | None, digits: int = 3) -> str:
    """Whole numbers in full with thousands separated; others to ``digits`` significant digits; "—" for unknown."""
    if value is None or (isinstance(value, float | Decimal) and not math.isfinite(value)):
        return UNKNOWN
    if value == int(value):
        return f"{int(value):,}"
    if abs(value) >= 10**digits:
        return f"{round(value):,}"
    places = digits - 1 - math.floor(math.log10(abs(float(value))))
    written = f"{value:,.{max(places, 0)}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def quantity(value: float | Decimal | None, unit: str) -> str:
    """A figure with its unit (translated): ``1,024 GB``. Unknown has no unit."""
    text = number(value)
    return text if text == UNKNOWN or not unit else agreed(f"{text} {_found(unit)}")


def percent(points: float | None, digits: int = 3) -> str:
    """Percentage points → ``12.3 %``."""
    text = number(points, digits)
    return text if text == UNKNOWN else f"{text} %"


def share(part: float | None, whole: float | None) -> str:
    """``part`` of ``whole`` in per cent; unknown where the whole is nothing."""
    return percent(100 * part / whole if part is not None and whole else None)


def amount(figure: int | None, kind: ClassCode | str | Commodity) -> str:
    """Base units of a kind → ``128 GB``."""
    one = kind.kind if isinstance(kind, Commodity) else ClassCode(kind)
    return UNKNOWN if figure is None else quantity(shown(one, figure), CLASSES[one].shown)


def amounts(what: Amount | Mapping[str, int] | None) -> str:
    """``8 vCPU · 16 GB 内存 · 100 GB 块存储``; the kinds in their fixed order."""
    if not what:
        return UNKNOWN
    given = {ClassCode(kind): figure for kind, figure in what.items()}
    parts = [
        amount(given[kind], kind) + ("" if CLASSES[kind].label == CLASSES[kind].shown else " " + _(CLASSES[kind].label))
        for kind in CLASSES
        if kind in given
    ]
    return " · ".join(parts)


def item_name(item: CatalogItem) -> str:
    """What a catalogue's item is called in the reader's language, where it has a name of its own there."""
    return item.name_en if language() == "en" and item.name_en else item.name


def kind_label(kind: ClassCode | str | Commodity) -> str:
    """``vCPU``, ``内存``; a class says its architecture, too: ``内存 · aarch64``."""
    if isinstance(kind, Commodity):
        label = _(CLASSES[kind.kind].label)
        return label if kind.arch is Arch.ANY else f"{label} · {kind.arch.value}"
    return _(CLASSES[ClassCode(kind)].label)


def when(value: datetime | date | None, only: str = "") -> str:
    """``2026-11-23 14:05`` in the city's time; ``only="date"`` or a plain date without the clock."""
    if value is None:
        return UNKNOWN
    if isinstance(value, datetime):
        return value.astimezone(settings().zone).strftime("%Y-%m-%d" if only == "date" else "%Y-%m-%d %H:%M")
    return value.isoformat()


def _calendar() -> WorkingDays:
    if "working_days" not in g:
        g.working_days = working_days(reading(), settings().zone)
    found: WorkingDays = g.working_days
    return found


def days_left(due: datetime | None) -> str:
    """``剩3个工作日``, ``今天到期``, ``逾期2个工作日``; says where the calendar of that year is not published."""
    if due is None:
        return UNKNOWN
    now, days = book().clock(), _calendar()
    if due < now:
        late = -days.between(now, due)
        return _("逾期%(days)s个工作日", days=late) if late else _("今天逾期")
    left = days.between(now, due)
    text = _("剩%(days)s个工作日", days=left) if left else _("今天到期")
    local = due.astimezone(settings().zone).date()
    return text if days.published(local) else text + _("（日历未发布，按法定节日和周末推算）")


def overdue(due: datetime | None) -> bool:
    return due is not None and due < book().clock()


def codelike(value: Any) -> bool:
    """Whether a cell is a time, or a number or name of a thing (``SQ-2026-000016``), which no line should break."""
    if isinstance(value, date):
        return True
    if isinstance(value, Markup):
        value = value.striptags()
    return isinstance(value, str) and 0 < len(value) <= 24 and value.isascii() and " " not in value


def show(value: Any) -> str:
    """Any value of a list's cell as text."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return _("是") if value else _("否")
    if isinstance(value, int | float | Decimal):
        return number(value)
    if isinstance(value, date):
        return when(value)
    if isinstance(value, list | tuple | set | frozenset):
        return _("、").join(show(one) for one in value)
    return str(value)


def plain(text: str | None) -> str:
    """A text without the blanks that HTML would fold anyway, cut for a cell."""
    return re.sub(r"\s+", " ", text or "").strip()


def state(code: str) -> State:
    """The word, icon and tone of a state's code. Raises KeyError for a code that nobody has named."""
    return STATES[str(code)]


def role(code: Role | str | None) -> str:
    """The name of a role."""
    return _(ROLE_LABELS[Role(code)]) if code else UNKNOWN


def joined(words: Iterable[str]) -> str:
    return _("、").join(_(word) for word in words)


def capital(label: str) -> str:
    """What stands by itself, over a column or beside a field, as English begins it; codes and ``vCPU`` stay. Words of the trade are
    written small where they stand within a sentence."""
    text = label if isinstance(label, Markup) else str(label)
    return text[:1].upper() + text[1:] if _WORD.match(text) else text


_WORD = re.compile(r"[a-z]+(?![\w.:/=-])")


FILTERS = {
    "capital": capital,
    "number": number, "quantity": quantity, "percent": percent, "amount": amount, "amounts": amounts,
    "kind": kind_label, "item_name": item_name, "when": when, "days_left": days_left, "show": show, "plain": plain, "word": _,
    "joined": joined, "sentence": sentence, "role": role,
}  # fmt: skip


def attach(app: Flask) -> None:
    """Babel with Chinese as the source, and the filters."""
    Babel(app, default_locale=SOURCE, locale_selector=language)
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.globals.update(_=_in_template, gettext=_in_template)
    app.jinja_env.globals.update(
        units=CLASSES, share=share, overdue=overdue, state_of=state, language=language, LANGUAGES=LANGUAGES
    )
    app.jinja_env.tests["overdue"] = overdue
    app.jinja_env.tests["codelike"] = codelike
