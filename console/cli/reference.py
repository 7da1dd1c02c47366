"""``guanjia reference DIR``: the tables of docs/operators that follow from the code alone: settings, jobs, metrics, reasons."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import click

from console.jobs import PLAN
from console.settings import PREFIX, Settings

MADE = "Made by `guanjia reference docs/operators`; a test holds it to the code."


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def reference(folder: Path) -> None:
    """Write settings.md, jobs.md, metrics.md and waiting.md into FOLDER, from the code."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in pages().items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def pages() -> dict[str, list[str]]:
    """Name of each page → its lines."""
    return {
        "settings.md": list(settings()),
        "jobs.md": list(jobs()),
        "metrics.md": list(metrics()),
        "waiting.md": list(waiting()),
    }


def settings() -> Iterator[str]:
    """Every setting with its default, and what the line that declares it says of it."""
    said = _comments()
    yield "# Settings"
    yield ""
    yield f"Each is a variable of the environment, `{PREFIX}` and its name in capitals, or a key of `guanjia.toml` in the data"
    yield "directory; the environment goes first. A value that makes no sense stops the start and names its place."
    yield MADE
    yield ""
    yield "| Setting | Default | |"
    yield "|---|---|---|"
    for one in fields(Settings):
        default = "made at the first start" if one.name == "secret_key" else _plain(one.default)
        yield f"| `{one.name}` | {default} | {said.get(one.name, '')} |"


def _plain(value: object) -> str:
    text = "" if value is MISSING else str(value)
    return f"`{text}`" if text not in ("", ".") else "—"


def _comments() -> dict[str, str]:
    """Setting → the comment on its line in the class, or on one of its lines where they are several."""
    found: dict[str, str] = {}
    of = ""
    for line in inspect.getsource(Settings).splitlines():
        text, mark, comment = line.partition("#")
        name, colon, _type = text.strip().partition(":")
        if colon and name.isidentifier():
            of = name
        if text.strip() and mark and of and of not in found:
            found[of] = comment.strip().replace("|", "\\|")
    return found


def jobs() -> Iterator[str]:
    """Every job with its lane and schedule."""
    yield "# Jobs"
    yield ""
    yield "Jobs of one lane wait for each other, those of different lanes never. `guanjia run` has all lanes; `guanjia jobs"
    yield "--lane NAME` (again and again) runs some in a process of its own, `guanjia jobs --once JOB` one job now. A slot that was"
    yield "missed is run later, not skipped; two processes never do the same slot. Schedules are crontab lines in the city's time."
    yield "`collect`, `feeds`, `account` and `carry` deal with sources side by side: one that takes minutes is left to go on by itself (its page says that it is still going on), has"
    yield "no second turn meanwhile, and is told by the run after its end; a process that is stopped waits for it."
    yield MADE
    yield ""
    yield "| Job | | Lane | Schedule | Tries | Taken over after |"
    yield "|---|---|---|---|---|---|"
    for one in PLAN:
        minutes = int(one.lease.total_seconds() // 60)
        yield f"| `{one.name}` | {one.label} | {one.lane} | `{one.cron}` | {one.attempts} | {minutes} min |"


def waiting() -> Iterator[str]:
    """Every reason for which something waits, with its words in both languages."""
    from console.i18n import english
    from console.marks import chinese
    from console.words import waits

    yield "# Why something waits"
    yield ""
    yield "The closed list of reasons: of requests, orders and cases that wait, of what the last opening of cases passed over, and of what"
    yield "became of a step. Lists show the words, exports and programs get the code, `guanjia_waiting{reason=…}` counts by it. Codes stay as they"
    yield "are. Why something was refused is told by its refusal: a permanent code and a sentence, on the page and to programs alike."
    yield MADE
    yield ""
    yield "| Code | Chinese | English |"
    yield "|---|---|---|"
    words = english(waits.WAITS.values())
    for code, text in waits.WAITS.items():
        yield f"| `{code}` | {chinese(text)} | {words[text]} |"


SCRAPING = """\
What `/metrics` tells Prometheus: from this machine, or with `metrics_token` as a bearer token from elsewhere; in OpenMetrics
where the scraper asks for it. Gauges and transitions are read from the book at each scrape. Amounts are base units, ratios run
from 0 to 1, money is yuan; what is not known is left out.

```yaml
scrape_configs:
  - job_name: guanjia
    scheme: https
    scrape_interval: 1m
    authorization:
      credentials_file: /etc/prometheus/guanjia.token   # what `metrics_token` says, readable by Prometheus alone
    tls_config:
      ca_file: /etc/prometheus/city-ca.pem              # where the certificate is not of a public authority
    static_configs:
      - targets: [guanjia.example.gov.cn]
```

**How many series there are** is bounded. Departments have series of their own up to {departments}, systems up to {systems}: those with the
most machines; all others are told together under the code `{rest}`. Of policy versions the one in force and the one before it
have theirs (the version's page keeps the figures of each). Pools, resource classes, architectures, companies,
states, reasons, jobs and lanes are few by nature; methods that no browser sends are one. No label names a resource, a request or a person.
What a code stands for is told once, in `guanjia_pool_info`, `guanjia_department_info` and `guanjia_system_info`:
`guanjia_department_quota * on (department) group_left (name) guanjia_department_info`.

`guanjia_transitions_total` counts the audit trail, which only grows: `rate` and `increase` of it are right whichever process
answers and whenever it was started. What a process reckoned it keeps until a row that it rests on changes, as the rows' seals say:
at 100,000 resources a scrape takes 0.15 s of one core while nothing changed, 0.3 s after an assessment, 0.4 s to 0.7 s after entries
or listings. A web process reckons all of it in the background when it starts (1.6 s of one core; requests go on), so that its first
scrape takes 0.15 s as well; one that comes sooner waits for it. What was measured (`…_use_ratio`, `…_coverage_ratio`, `…_measured`,
`guanjia_reclaimable`) is of the latest assessment.

**Alerts and a dashboard** come along, in the source and in the offline bundle:

- `deploy/prometheus/guanjia.rules.yml`: copy it to `/etc/prometheus/`, name it under `rule_files`, and call the scrape's job
  `guanjia` as above. Each alert has a severity (critical: now; warning: today; info: this week), a summary, what to do, and the
  page to read on; its limits are defaults to be fitted. After a change: `promtool check rules guanjia.rules.yml`, and
  `promtool test rules guanjia.rules.test.yml` beside it, which has of each alert when it fires and when it does not.
- `deploy/grafana/guanjia.json`: in Grafana, Dashboards › New › Import; choose the Prometheus as its data source. The tests ask every
  panel's expression of a real Prometheus that scraped the demo city; no Grafana has drawn it yet.

The label `job` is Prometheus' own: what is labelled `job` below stands there as `exported_job`. Of the room on disks and of what agents
pushed and no fold has taken up, the disks are asked at each scrape."""


def metrics() -> Iterator[str]:
    """Every metric of ``/metrics``, as an empty house tells it."""
    from console import founding
    from console import metrics as told
    from console.app import create_app

    yield "# Metrics"
    yield ""
    yield from SCRAPING.format(
        departments=told.MOST_DEPARTMENTS, systems=told.MOST_SYSTEMS, rest=told.REST
    ).splitlines()
    yield MADE
    yield ""
    yield "| Metric | Type | Labels | |"
    yield "|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        held = founding.found(Settings(data=Path(folder)), demo=False)
        app = create_app(held)
        counted = {next(iter(one.describe())).name: one._labelnames for one in (told.REQUESTS, told.SECONDS)}
        families = {one.name: one for one in told.collect(app)}
        for name in sorted(families):
            one = families[name]
            declared: Iterable[str] = counted.get(name) or getattr(one, "_labelnames", None) or ()
            shown = name + {"counter": "_total", "info": "_info"}.get(one.type, "")
            labels = ", ".join(f"`{label}`" for label in sorted(declared)) or "—"
            yield f"| `{shown}` | {one.type} | {labels} | {one.documentation} |"
