"""What a city sets: from the environment (``GUANJIA_*``), then ``guanjia.toml`` in the data directory, then defaults.

Every setting has one name: field ``lead_body`` is ``GUANJIA_LEAD_BODY`` in the environment and ``lead_body`` in the
file. A value that makes no sense stops the start with a sentence that names the place it came from.
"""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from metering.workbench import Secrets
from providers.observation import Caution
from quota import vault
from quota.db import Tx
from quota.directory import city
from quota.errors import Refused

PREFIX = "GUANJIA_"
FILE = "guanjia.toml"
DEFAULT_DATA = Path("data")


class BadSetting(ValueError):
    """A setting that makes no sense; the message names the place."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between two installations. Times are minutes unless the name says otherwise."""

    data: Path = DEFAULT_DATA  # the data directory: book, lake, spool, keys
    database: str = ""  # SQLAlchemy address; empty: sqlite in the data directory
    lake: Path = Path()  # empty: "lake" in the data directory
    secret_key: str = field(default="", repr=False)  # empty: made once and kept in the data directory, mode 0600
    secrets_key: str = field(
        default="", repr=False
    )  # opens the encrypted store of clouds' secrets; newest first, by commas (`guanjia secret new-key`)
    secrets_folder: Path = (
        Path()
    )  # where files with clouds' secrets may lie, too, beside "secrets" in the data directory
    city: str = "示例市"  # the city's name, as pages and letters write it
    lead_body: str = "市政务服务和数据管理局"  # the lead body's name (主管部门)
    time_zone: str = "Asia/Shanghai"  # the city's zone: working days, schedules, months
    language: str = "zh_CN"  # of who has not chosen: zh_CN or en
    demo: bool = False  # a demo city: passwords printed at the start stay as they are
    https: bool = False  # served under https: Secure cookies, HSTS
    metrics_token: str = field(default="", repr=False)  # lets a Prometheus elsewhere scrape /metrics
    trusted_proxies: int = 0  # reverse proxies in front whose X-Forwarded-* are believed
    idle_minutes: int = 30  # without a click, until one has to log in again
    session_hours: int = 8  # until one has to log in again in any case
    lock_after: int = 5  # failed logins from one place, until the next has to wait a minute
    lock_minutes: int = 15  # the wait after twice as many; after four times as many it is four times as long
    max_upload_mb: int = 64  # of a form with its files
    page_size: int = 50  # rows of a list
    wall_frames: str = ""  # origins that may show the cockpit's address in a frame, by blanks; empty: none
    public_url: str = ""  # where people reach the console: https://guanjia.example.gov.cn; in mails, in sign-in callbacks, and what security keys are bound to
    mail_server: str = ""  # host or host:port; empty: no mail is sent
    mail_security: str = "starttls"  # or "tls" from the first byte, or "none"
    mail_ca: Path = Path()  # certificates of the city's own authority; empty: those of the machine
    mail_user: str = ""  # empty: no login
    mail_password: str = field(default="", repr=False)  # of the mail user
    mail_from: str = ""  # 管家 <guanjia@example.gov.cn>
    stale_after_minutes: int = 60  # metered data older than this is warned of
    alert_silence_hours: int = (
        24  # an alert that is not repeated for so long, or probes that nobody reads, ended when last heard
    )
    # A listing that lacks more machines than this, and more than this share of its pool, ends none of them by itself: a
    # person has to look first. 100 percent lets every listing end whatever it lacks.
    listing_machines: int = 10  # machines that a listing may lack without a second look
    listing_percent: int = 20  # and per cent of its pool
    stops_an_hour: int = (
        30  # machines that orders may stop, put into the recycle bin or delete within an hour; the rest waits
    )

    log_format: str = "text"  # of the log on standard error: text, or json (an object a line)
    anchor_key: Path = Path()  # the private key that signs anchors; empty: "anchor.key" in the data directory
    anchor_pkcs11: str = ""  # the key in a hardware module that signs anchors instead: pkcs11:token=…;object=…?module-path=…&pin-source=file:…
    anchor_folder: Path = Path()  # where anchors lie as files: on another disk; empty: "anchors" in the data directory
    anchor_mail: str = ""  # addresses that anchors are mailed to, by commas
    anchor_webhook: str = ""  # a web address that anchors are posted to (https://…)
    backup_place: str = ""  # a folder on another disk, or s3://bucket/folder; empty: the job makes none
    backup_hours: int = 24  # between two backups
    backup_days: int = 14  # so many days keep their newest backup,
    backup_weeks: int = 8  # and so many weeks,
    backup_months: int = 12  # and so many months
    audit_folder: Path = Path()  # where files of the audit trail go; empty: "trail" in the data directory
    audit_keep_days: int = 400  # for so long they are kept: the law asks for half a year
    audit_syslog: str = ""  # host or host:port of a log server that takes syslog over TLS (6514); empty: none
    audit_syslog_ca: Path = Path()  # certificates of the city's own authority; empty: those of the machine
    audit_syslog_cert: Path = Path()  # what the house proves itself by to the log server; empty: it does not
    audit_syslog_key: Path = Path()  # the key of that certificate; empty: it is in the same file
    backup_key: str = field(default="", repr=False)  # seals the house's keys in backups; empty: they are not in them

    @property
    def zone(self) -> ZoneInfo:
        """The city's time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def caution(self) -> Caution:
        """How much a listing may end by itself."""
        return Caution(self.listing_machines, self.listing_percent)

    @property
    def secrets(self) -> Secrets:
        """How the secrets of clouds are looked up."""
        return Secrets(self.secrets_key, () if self.secrets_folder == Path() else (self.secrets_folder,))

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{(self.data / 'book.db').resolve()}"

    @property
    def lake_dir(self) -> Path:
        return self.lake if self.lake != Path() else self.data / "lake"

    @property
    def anchor_key_file(self) -> Path:
        return self.anchor_key if self.anchor_key != Path() else self.data / "anchor.key"

    @property
    def trail_folder(self) -> Path:
        return self.audit_folder if self.audit_folder != Path() else self.data / "trail"

    @property
    def syslog_place(self) -> tuple[str, int]:
        """(host, port) of the log server."""
        host, colon, port = self.audit_syslog.rpartition(":")
        return (host, int(port)) if colon else (port, SYSLOG_PORT)

    @property
    def mail_place(self) -> tuple[str, int]:
        """(host, port) of the mail server."""
        host, colon, port = self.mail_server.rpartition(":")
        return (host, int(port)) if colon else (port, MAIL_PORTS[self.mail_security])

    def key(self) -> str:
        """The key that signs sessions: as set, else made once in the data directory, readable by its owner alone."""
        return self.secret_key or self._kept("secret.key", lambda: secrets.token_hex(32), 32)

    def factors_key(self) -> str:
        """The keys that seal second factors, newest first, by commas: those of the encrypted store; where none is set, one
        made once in the data directory. What was sealed with that one still opens when the store has got keys."""
        own = self.data / "factors.key"
        if not self.secrets_key:
            return self._kept(own.name, vault.new_key, 44)
        return f"{self.secrets_key},{self._kept(own.name, vault.new_key, 44)}" if own.exists() else self.secrets_key

    def _kept(self, name: str, make: Callable[[], str], least: int) -> str:
        """What the file ``name`` of the data directory holds; made where there is none, readable by its owner alone."""
        path = self.data / name
        self.data.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            kept = path.read_text().strip()
            if len(kept) < least:
                raise BadSetting(f"{path}: the secret key is too short; delete the file to have a new one") from None
            return kept
        made = make()
        with os.fdopen(handle, "w") as file:
            file.write(made + "\n")
        return made


def named(settings: Settings, tx: Tx) -> Settings:
    """``settings`` with what the city says of itself in the book."""
    said = city.told(tx)
    return replace(settings, city=said.get("city", settings.city), lead_body=said.get("lead_body", settings.lead_body))


SYSLOG_PORT = 6514
MAIL_PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}
RANGES: Mapping[str, tuple[int, int]] = {
    "trusted_proxies": (0, 5),
    "idle_minutes": (1, 24 * 60),
    "session_hours": (1, 24),
    "lock_after": (3, 100),
    "lock_minutes": (1, 24 * 60),
    "max_upload_mb": (1, 4096),
    "page_size": (10, 500),
    "stale_after_minutes": (5, 7 * 24 * 60),
    "listing_machines": (0, 1_000_000),
    "listing_percent": (0, 100),
    "stops_an_hour": (0, 1_000_000),
    "audit_keep_days": (183, 36500),
    "backup_hours": (1, 24 * 31),
    "backup_days": (1, 3660),
    "backup_weeks": (0, 520),
    "backup_months": (0, 240),
}
MAIL_SERVER = re.compile(r"([\w.-]+(:[0-9]{1,5})?)?", re.ASCII)
ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)
_ADDRESSED = re.compile(r"[^<>\r\n]*<[^@<>\s]+@[^@<>\s]+>|[^@<>\s]+@[^@<>\s]+")
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


def load(data: Path | str | None = None, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings for the data directory ``data`` (else ``GUANJIA_DATA``, else ``./data``); ``given`` overrides all.

    Raises BadSetting naming the environment variable or the file and line's key.
    """
    environment = os.environ if environment is None else environment
    folder = Path(data or environment.get(PREFIX + "DATA") or DEFAULT_DATA)
    if folder.exists() and not folder.is_dir():
        raise BadSetting(f"{folder}: the data directory is a file")
    values: dict[str, Any] = {"data": folder}
    path = folder / FILE
    if path.exists():
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as trouble:
            raise BadSetting(f"{path}: {trouble}") from None
        for name, raw in entries.items():
            values[name] = _value(name, raw, f"{path}: {name}")
    for name, raw in environment.items():
        known = name.removeprefix(PREFIX).lower()
        if name.startswith(PREFIX) and known != "data" and known in NAMES:
            values[known] = _value(known, raw, name)
    found = replace(Settings(), **{**values, **given})
    if found.mail_server and not found.mail_from:
        raise BadSetting("mail_server is set, mail_from is not: who do the mails come from?")
    return found


NAMES = {one.name: one for one in fields(Settings)}


def _value(name: str, raw: Any, place: str) -> Any:
    """``raw`` as the type of the field ``name``. Raises BadSetting naming ``place``."""
    if name not in NAMES or name == "data":
        raise BadSetting(f"{place}: there is no such setting; there are {', '.join(sorted(set(NAMES) - {'data'}))}")
    kind = NAMES[name].type
    if kind == "bool":
        text = str(raw).strip().lower()
        if text not in TRUE | FALSE:
            raise BadSetting(f"{place}: {raw!r} is neither true nor false")
        return text in TRUE
    if kind == "int":
        low, high = RANGES[name]
        try:
            number = int(str(raw))
        except ValueError:
            raise BadSetting(f"{place}: {raw!r} is not a whole number") from None
        if not low <= number <= high:
            raise BadSetting(f"{place}: {number} is not between {low} and {high}")
        return number
    if not isinstance(raw, str):
        raise BadSetting(f"{place}: {raw!r} is not a text")
    if name == "time_zone":
        try:
            ZoneInfo(raw)
        except (ZoneInfoNotFoundError, ValueError):
            raise BadSetting(f"{place}: no time zone is called {raw!r}") from None
    if name == "language" and raw not in ("zh_CN", "en"):
        raise BadSetting(f"{place}: {raw!r} is neither zh_CN nor en")
    if name == "log_format" and raw not in ("text", "json"):
        raise BadSetting(f"{place}: {raw!r} is neither text nor json")
    if name == "secret_key" and len(raw) < 32:
        raise BadSetting(f"{place}: a secret key has at least 32 characters")
    if name in ("secrets_key", "backup_key") and raw:
        try:
            vault.keys(raw)
        except Refused as refused:
            why = refused if name == "secrets_key" else "not a key as `guanjia backup new-key` makes one"
            raise BadSetting(f"{place}: {why}") from None
    if name == "secrets_folder" and raw and not Path(raw).is_dir():
        raise BadSetting(f"{place}: there is no folder {raw!r}")
    if name in ("mail_server", "audit_syslog") and not MAIL_SERVER.fullmatch(raw):
        raise BadSetting(f"{place}: {raw!r} is neither host nor host:port")
    if name == "mail_security" and raw not in MAIL_PORTS:
        raise BadSetting(f"{place}: {raw!r} is none of {', '.join(MAIL_PORTS)}")
    if (
        name in ("mail_ca", "audit_syslog_ca", "audit_syslog_cert", "audit_syslog_key")
        and raw
        and not Path(raw).is_file()
    ):
        raise BadSetting(f"{place}: there is no file {raw!r}")
    if name == "mail_from" and raw and not _ADDRESSED.fullmatch(raw):
        raise BadSetting(f"{place}: {raw!r} is neither an address nor a name with an <address>")
    if name == "wall_frames":
        for origin in raw.split():
            if not ORIGIN.fullmatch(origin):
                raise BadSetting(f"{place}: {origin!r} is no origin, such as https://screen.example.gov.cn")
    if name == "anchor_pkcs11" and raw and not raw.startswith("pkcs11:"):
        raise BadSetting(f"{place}: {raw!r} does not begin with pkcs11:")
    if name == "anchor_webhook" and raw and not raw.startswith(("http://", "https://")):
        raise BadSetting(f"{place}: {raw!r} begins with neither http:// nor https://")
    if name == "anchor_mail":
        for address in filter(None, (one.strip() for one in raw.replace(";", ",").split(","))):
            if not _ADDRESSED.fullmatch(address) or "<" in address:
                raise BadSetting(f"{place}: {address!r} is no address")
    if name == "public_url" and raw and not raw.startswith(("http://", "https://")):
        raise BadSetting(f"{place}: {raw!r} begins with neither http:// nor https://")
    return Path(raw) if kind == "Path" else raw
