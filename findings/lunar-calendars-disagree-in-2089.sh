#!/usr/bin/env bash
# Two kept libraries of the Chinese lunar calendar, borax 4.1.3 (a table) and sxtwl 2.0.7 (astronomy), give Mid-autumn (the 15th of
# the 8th month) the same day in every year from 2000 to 2099 but one: in 2089 they are a day apart.
set -euo pipefail
home=$(mktemp -d); trap 'rm -rf "$home"' EXIT
python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check borax==4.1.3 sxtwl==2.0.7
"$home/venv/bin/python" - <<'PY'
from datetime import date
from importlib.metadata import version
import sxtwl
from borax.calendars.lunardate import LunarDate


def by_astronomy(year):
    day = sxtwl.fromLunar(year, 8, 15)
    return date(day.getSolarYear(), day.getSolarMonth(), day.getSolarDay())


apart = {
    year: (LunarDate(year, 8, 15).to_solar_date(), by_astronomy(year))
    for year in range(2000, 2100)
    if LunarDate(year, 8, 15).to_solar_date() != by_astronomy(year)
}
print("borax", version("borax"), "sxtwl", version("sxtwl"))
for year, (table, sky) in apart.items():
    print(year, "borax", table, "sxtwl", sky)
assert apart == {2089: (date(2089, 9, 19), date(2089, 9, 18))}, apart
PY
