"""Checks of the set-up: each a sentence with a level. They read, try a file of no name, and change nothing."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from console import anchors, trail
from console.accounts import access_rules, factors, security_keys
from console.backups import BackupPlace, runs
from console.identity import SourceFault, connections, kinds, rulebook
from console.jobs import PLAN, lags, standings
from console.privacy import OTHERS, OURS
from console.schema import upgrade
from console.settings import Settings
from console.tables import JobRun
from console.verification import agreement
from metering.lake import Lake
from metering.workbench import Workbench
from quota.audit import AuditRecord
from quota.db import Book, Tx
from quota.errors import Refused
from quota.vault import SealedSecret

NEEDED_B = 64 << 20
"""With less room on a disk the house is not ready: a night's roll would not fit."""
LITTLE_B = 2 << 30
QUIET = timedelta(minutes=15)
"""Jobs that are due each minute and have not run for so long are not alive."""
LATE = timedelta(hours=1)
UNANCHORED = timedelta(days=2)
"""An anchor is made every day."""
FRESH = timedelta(days=30)
"""For so long a gap in the trail is not an old one."""
SKEW = timedelta(seconds=5)
MAIL_S = 5.0


class Level(StrEnum):
    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found. ``said``: a sentence, in English, without a secret or a name of a person."""

    check: str
    level: Level
    said: str


def ready(settings: Settings, book: Book) -> dict[str, str]:
    """What a probe asks: check → "" or what is amiss, in a word or two that tell a stranger nothing."""
    found = {"book": "", "schema": "", "lake": "", "disk": "", "jobs": ""}
    try:
        if upgrade.current(book) != upgrade.newest():
            found["schema"] = "another version"
        else:
            with book.reading() as tx:
                found["jobs"] = "" if _alive(tx) else "not running"
    except (SQLAlchemyError, OSError, Refused):
        found["book"] = "unreachable"
    if not _writable(settings.lake_dir):
        found["lake"] = "not writable"
    if _room(settings) < NEEDED_B:
        found["disk"] = "full"
    return found


def _alive(tx: Tx) -> bool:
    """Whether any job ran lately; in a house that was just founded none has."""
    newest = tx.scalar(select(func.max(JobRun.started_at)))
    if newest is None:
        newest = tx.scalar(select(func.max(AuditRecord.at)).where(AuditRecord.action == "house.found"))
    return newest is None or tx.now - newest < QUIET


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError:
        return False
    return True


def _room(settings: Settings) -> int:
    """Bytes free where the house writes, on the fuller of its disks."""
    return min(shutil.disk_usage(one).free for one in {settings.data, settings.lake_dir} if one.exists())


# ------------------------------------------------------------------------------------------------------------ doctor


def examine(settings: Settings, book: Book) -> list[CheckResult]:
    """Every check; one that breaks is a finding itself, and keeps no other from its work. The book is of this version."""
    lake = Lake(settings.lake_dir)
    works = Workbench(book, lake, settings.data)
    checks: dict[str, Callable[[], Iterator[tuple[Level, str]]]] = {
        "permissions": lambda: _permissions(settings),
        "disk": lambda: _disks(settings),
        "clock": lambda: _clock(book),
        "schema": lambda: _schema(book),
        "lake": lambda: _lake(lake),
        "agreement": lambda: ((Level.BAD, one) for one in agreement.compare(works).lines()),
        "lanes": lambda: _lanes(settings, book),
        "mail": lambda: _mail(settings),
        "keys": lambda: _keys(settings, book),
        "backups": lambda: _backups(settings, book),
        "anchors": lambda: _anchors(settings, book),
        "module": lambda: _module(settings),
        "trail": lambda: _trail(settings, book),
        "identities": lambda: _identities(settings, book),
    }
    found = []
    for name, check in checks.items():
        try:
            told = list(check())
        except Exception as error:
            told = [(Level.BAD, f"the check itself failed: {type(error).__name__}")]
        found += [CheckResult(name, level, said) for level, said in told or [(Level.GOOD, "in order")]]
    return found


def _permissions(settings: Settings) -> Iterator[tuple[Level, str]]:
    paths = [settings.data, settings.lake_dir, *(path for one in OURS for path in settings.data.glob(one))]
    for path in paths:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & OTHERS:
            yield Level.BAD, f"{path} may be opened by others ({mode:o})"
        if path.lstat().st_uid != os.getuid():
            yield Level.NOTE, f"{path} belongs to user {path.lstat().st_uid}, this runs as {os.getuid()}"
    for path in {settings.data, settings.lake_dir}:
        if not _writable(path):
            yield Level.BAD, f"{path} cannot be written to"


def _disks(settings: Settings) -> Iterator[tuple[Level, str]]:
    for path in {settings.data, settings.lake_dir}:
        free = shutil.disk_usage(path).free
        if free < NEEDED_B:
            yield Level.BAD, f"{path}: {free >> 20} MB are left: nothing can be recorded soon"
        elif free < LITTLE_B:
            yield Level.NOTE, f"{path}: {free >> 20} MB are left"


def _clock(book: Book) -> Iterator[tuple[Level, str]]:
    now = datetime.now(UTC)
    with book.reading() as tx:
        newest = tx.scalar(select(func.max(AuditRecord.at)))
        theirs = tx.scalar(select(text("now()"))) if tx.dialect == "postgresql" else None
    if newest is not None and newest - now > SKEW:
        yield Level.BAD, f"the newest record of the trail is of {newest:%Y-%m-%d %H:%M} UTC: the clock was set back"
    if theirs is not None and abs(theirs - datetime.now(UTC)) > SKEW:
        yield Level.BAD, f"this clock and the database's are {abs(theirs - now).total_seconds():.0f} s apart"
    if now.year < 2025:
        yield Level.BAD, f"it is {now:%Y-%m-%d} by this clock"


def _schema(book: Book) -> Iterator[tuple[Level, str]]:
    for name in upgrade.missing_guards(book.engine):
        yield Level.BAD, f"the trigger {name} that keeps its table append-only is missing"
    differing = upgrade.differences(book)
    if differing:
        yield Level.BAD, f"{len(differing)} tables or columns are not what revision {upgrade.latest()} makes them"


def _lake(lake: Lake) -> Iterator[tuple[Level, str]]:
    found = lake.status()
    if found.hot > 3:
        yield Level.NOTE, f"{found.hot} days wait to be closed: does the job roll run?"
    broken = [one for one in lake.landings() if one.state == "broken_off"]
    if broken:
        yield Level.NOTE, f"{len(broken)} imports were broken off: guanjia lake status names them"


def _lanes(settings: Settings, book: Book) -> Iterator[tuple[Level, str]]:
    with book.reading() as tx:
        stand = standings(tx, PLAN, settings.zone)
        alive = _alive(tx)
    if not alive:
        yield Level.BAD, "no job has run for a quarter of an hour: guanjia run or guanjia jobs"
    for lane, lag in lags(stand).items():
        if alive and lag > LATE:
            yield Level.NOTE, f"lane {lane}: a slot has waited for {lag.total_seconds() / 3600:.1f} h"
    for one in stand:
        if one.failed:
            yield Level.NOTE, f"the last run of {one.plan.name} failed"


def _mail(settings: Settings) -> Iterator[tuple[Level, str]]:
    if not settings.mail_server:
        yield Level.NOTE, "no mail_server is set: notices are in the console alone"
        return
    host, port = settings.mail_place
    try:
        socket.create_connection((host, port), timeout=MAIL_S).close()
    except OSError as error:
        yield Level.BAD, f"{host}:{port} does not answer: {error.strerror or type(error).__name__}"
    if settings.mail_security == "none":
        yield Level.NOTE, "mails go out unencrypted (mail_security none)"


def _keys(settings: Settings, book: Book) -> Iterator[tuple[Level, str]]:
    with book.reading() as tx:
        sealed = list(tx.scalars(select(SealedSecret)))
        for one in sealed:
            if not settings.secrets_key:
                yield Level.BAD, f"{len(sealed)} secrets are sealed, and no secrets_key is set"
                break
            try:
                _reveal(tx, one.name, settings.secrets_key)
            except Refused as refused:
                yield Level.BAD, f"the secret {one.name} does not open: {refused.code}"
    if not settings.https:
        yield Level.NOTE, "https is off: cookies are not Secure"
    yield from _security_keys(settings, book)


def _security_keys(settings: Settings, book: Book) -> Iterator[tuple[Level, str]]:
    """Whether those whose role has to use a security key can: keys are bound to the name that the house had at their enrolment."""
    with book.reading() as tx:
        roles = access_rules.in_force(tx).keys
        held = factors.with_keys(tx, roles) if roles else []
        stale = sum(not factors.has_key(tx, settings, one) for one in held)
    if roles and not security_keys.bound_to(settings.public_url):
        yield Level.BAD, "roles must use security keys, and none can be used: public_url is not https and a host name"
    elif stale:
        yield (
            Level.NOTE,
            f"the keys of {stale} people whose role must use one are bound to another name than public_url's, or do not "
            "open: they come in by codes, and enrol one anew",
        )


def _reveal(tx: Tx, name: str, key: str) -> None:
    from quota import vault

    vault.reveal(tx, name, key)


def _backups(settings: Settings, book: Book) -> Iterator[tuple[Level, str]]:
    with book.reading() as tx:
        good, tried, now = runs.last_good(tx), runs.last(tx), tx.now
    if not settings.backup_place:
        yield Level.NOTE, "no backup_place is set: the job makes none"
    if not settings.backup_key:
        yield Level.NOTE, "no backup_key is set: keys are not in backups"
    if good is None:
        yield Level.BAD, "there is no backup"
    elif runs.overdue(settings, good, now):
        yield Level.BAD, f"the last good backup is {(now - good.began_at).total_seconds() / 3600:.0f} h old"
    if tried is not None and not tried.point:
        yield Level.BAD, "the last backup failed: Settings › Backups says why"
    if settings.backup_place and "://" not in settings.backup_place:
        place = BackupPlace(settings.backup_place)
        if place.local is not None and place.local.exists():
            if place.local.stat().st_dev == settings.data.stat().st_dev:
                yield Level.NOTE, "backups lie on the disk of the house itself: they go with it"
            if (place.free() or 0) < LITTLE_B:
                yield Level.NOTE, f"{place.shown}: little room is left for backups"


def _anchors(settings: Settings, book: Book) -> Iterator[tuple[Level, str]]:
    with book.reading() as tx:
        newest, failed, now = anchors.newest(tx), len(anchors.unpublished(tx)), tx.now
    if newest is not None and now - newest.at > UNANCHORED:
        yield (
            Level.BAD,
            f"the newest anchor is {(now - newest.at).total_seconds() / 3600:.0f} h old: does the job anchor run?",
        )
    if failed:
        yield Level.BAD, f"{failed} anchors did not get where they go: Audit › Anchors says why"
    folder = anchors.folder(settings)
    if not (settings.anchor_mail or settings.anchor_webhook):
        if folder.is_relative_to(settings.data.resolve()):
            yield (
                Level.NOTE,
                "anchors go nowhere outside the data directory: anchor_folder, anchor_mail, anchor_webhook",
            )
        elif _disk(folder) == _disk(settings.data):
            yield Level.NOTE, "anchors lie on the disk of the house itself, and go nowhere else"
    beside = not settings.database and not settings.anchor_pkcs11
    if beside and settings.anchor_key_file.resolve().is_relative_to(settings.data.resolve()):
        yield (
            Level.NOTE,
            "the key that signs anchors lies beside the book (anchor_key): who can write one can read the other",
        )


MODULE = {
    "anchor.module_uri": "anchor_pkcs11 is not understood: {why}",
    "anchor.module_library": "anchor_pkcs11 needs guanjia[hsm] (python-pkcs11), which is not installed",
    "anchor.module": "the module {module} of anchor_pkcs11 cannot be used: {why}",
    "anchor.module_no_token": "the module {module} has no token {token}",
    "anchor.module_pin_file": "the file of the PIN, {file}, cannot be read: {why}",
    "anchor.module_pin": "the token {token} refuses the PIN in {file}",
    "anchor.module_last_try": "the PIN of the token {token} is locked, or has one try left: it was not tried",
    "anchor.module_no_key": "the token {token} has no pair of keys {label}",
    "anchor.module_keys": "the token {token} has several keys {label}",
    "anchor.module_kind": "the key {label} of the token {token} is none of Ed25519, P-256 and P-384",
    "anchor.module_changed": "the key {label} of the token {token} was changed meanwhile: ask again",
    "anchor.module_pair": "the two halves of the key {label} of the token {token} are no pair",
}
"""What can be amiss with the key of a module, in this command's language."""


def _module(settings: Settings) -> Iterator[tuple[Level, str]]:
    """Whether the module that signs anchors has what it takes: something is signed and held against the public half."""
    if not settings.anchor_pkcs11:
        return
    try:
        anchors.ModuleSigner(settings.anchor_pkcs11).prove()
    except Refused as refused:
        told = MODULE.get(refused.code, f"anchor_pkcs11 cannot sign: {refused.code}")
        yield Level.BAD, told.format_map(refused.params)


def _identities(settings: Settings, book: Book) -> Iterator[tuple[Level, str]]:
    """Whether people can come by each source that is in use; the web processes ask the same from where they run."""
    with book.reading() as tx:
        sources = connections.sources(tx, active=True)
        ruled = {one.id for one in sources if rulebook.in_force(tx, one.id) is not None}
    for one in sources:
        if one.id not in ruled:
            yield Level.NOTE, f"the identity source {one.code} has no rules: nobody comes by it"
        if not (kinds.kind(one.kind).typed or settings.public_url):
            yield Level.NOTE, f"public_url is not set: whether {one.code} knows the way back is not asked"
            continue
        try:
            source = connections.made(book, settings, one.kind, one.options)
            source.probe(f"{settings.public_url.rstrip('/')}/identity/{one.code}/back")
        except SourceFault as fault:
            yield Level.BAD, f"nobody comes by the identity source {one.code}: {fault.code} ({fault.said})"


def _trail(settings: Settings, book: Book) -> Iterator[tuple[Level, str]]:
    with book.reading() as tx:
        known, now = {one.row.place: one for one in trail.standings(tx)}, tx.now
    if not settings.audit_syslog and _disk(settings.trail_folder) == _disk(settings.data):
        yield Level.NOTE, "the trail is handed on to the disk of the house itself alone: audit_syslog, audit_folder"
    for place in trail.exports.places(settings):
        said = "the log server" if place.kind == "syslog" else "the files of the trail"
        one = known.get(place.name)
        if one is None:
            yield Level.NOTE, f"{said}: nothing was handed on yet; does the job trail run?"
            continue
        if one.row.gaps:
            fresh = one.row.gap_found_at is not None and now - one.row.gap_found_at < FRESH
            why = f"{one.row.gaps} gaps, the newest after record {one.row.gap_at} ({one.row.gap_why})"
            yield Level.BAD if fresh else Level.NOTE, f"{said}: {why}"
        if one.row.error:
            yield Level.BAD, f"{said}: the last try failed: Audit › Audit export says why"
        elif one.since is not None and now - one.since > LATE:
            yield Level.BAD, f"{said}: {one.behind} records are still to be handed on; does the job trail run?"


def _disk(path: Path) -> int:
    """The device that ``path`` lies on, or would."""
    return next(one for one in (path, *path.resolve().parents) if one.exists()).stat().st_dev
