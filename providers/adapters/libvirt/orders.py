"""Orders at one guest: which way a size is given, what is done next, and how it ends.

A guest that runs and has to be shut down for its size is defined with that size first: what libvirt refuses is refused while it
runs. Then it is asked to shut down, once; whenever it goes off it is started. What it does not start with is taken back, and it
is started as it was. That it ran is kept for the guest, over all its orders, until it is seen running again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from providers.adapters.libvirt import sizes
from providers.adapters.libvirt.hosts import fault
from providers.adapters.libvirt.journal import LibvirtJournal, OrderTaken
from providers.base import BUSY, ProviderFault, Verb

PATIENCE = timedelta(minutes=15)
"""How long a guest may take to shut down: some don't listen. So long, too, it is tried to ask it where its host has no time."""

WATCHED = timedelta(hours=6)
"""How long a guest that is to be resized is looked at after it was asked to shut down: whenever it goes off, it is started."""

REFUSED = timedelta(days=1)
"""So long after a guest would not have a size as it ran, the same is not planned that way."""

SERVER = "server"
"""The fault of a host that answers, and that it failed."""


class ResizeWay(StrEnum):
    """How a guest is given a size."""

    OFF = "off"  # it is off, and stays so
    LIVE = "live"  # as it runs
    RESTART = "restart"  # by a shutdown and a start
    START = "start"  # it was shut down for an order before this one, and is to run


def way(journal: LibvirtJournal, domain: Any, wanted: Mapping[str, int], now: datetime) -> ResizeWay:
    """How a guest would be given a size now."""
    if not domain.isActive():
        return ResizeWay.START if journal.owed(domain.UUIDString(), now) else ResizeWay.OFF
    refused = any(
        one.live and one.failed and one.wanted == wanted and now - one.begun_at < REFUSED
        for one in journal.orders(domain.UUIDString())
    )
    return ResizeWay.LIVE if sizes.fits_live(domain, wanted) and not refused else ResizeWay.RESTART


def as_planned(journal: LibvirtJournal, key: str, domain: Any, found: ResizeWay) -> None:
    """Raises ProviderFault where a guest would be shut down though that was not planned: it is planned anew."""
    planned = journal.planned(key)
    if planned is not None and found is ResizeWay.RESTART and "stop" not in planned:
        raise ProviderFault(
            f"{domain.name()} would have to be shut down, which was not planned: planned anew", transient=True, code=BUSY
        )  # fmt: skip


def go_on(libvirt: Any, journal: LibvirtJournal, domain: Any, taken: OrderTaken, now: datetime) -> OrderTaken:
    """Do what an order needs next, and note how far it is. Raises ProviderFault where nothing was done: it may be
    asked for again, as may be what became of it."""
    try:
        taken = _acted(libvirt, journal, domain, taken, now)
    except libvirt.libvirtError as error:
        taken = journal.order(taken.key) or taken  # what was noted on the way
        why = fault(libvirt, domain.name(), error)
        unheard = why.code == "timeout" or not _alive(libvirt, domain)
        if why.transient and (not taken.ran or (taken.live and why.code != SERVER)):
            if taken.asked_at is None:
                journal.drop(taken.key)
            raise why from error
        if unheard and not taken.live:
            taken = replace(taken, said=str(why))  # the guest may be off: gone on with when it is asked after
        else:
            taken = _failed(libvirt, journal, domain, taken, now, str(why))
    taken = _bounded(libvirt, journal, domain, taken, now)
    journal.keep(taken)
    return taken


def _acted(libvirt: Any, journal: LibvirtJournal, domain: Any, taken: OrderTaken, now: datetime) -> OrderTaken:
    active = bool(domain.isActive())
    if taken.verb == Verb.START:
        if not active:
            domain.create()
        return _done(journal, taken, now)
    if taken.verb == Verb.STOP:
        if active and taken.asked_at is None:
            taken = _asked(journal, domain, taken, now)
            active = bool(domain.isActive())
        return taken if active else _done(journal, taken, now)
    if taken.live or (active and not taken.ran):
        return _resized_live(libvirt, journal, domain, taken, now)
    if active and sizes.stands(domain, taken.wanted):
        return _done(journal, taken, now)
    if taken.ran and not taken.former:
        taken = replace(taken, former=astuple(sizes.defined(libvirt, domain)))
        journal.keep(taken)
    if taken.asked_at is None or not active:
        sizes.define(libvirt, domain, taken.wanted)
    if active and taken.asked_at is None:
        journal.owe(taken.guest, now)
        taken = _asked(journal, domain, taken, now)
        active = bool(domain.isActive())
    if active:
        return taken
    if taken.ran:
        domain.create()
        return _done(journal, taken, now)
    return replace(taken, ended_at=now, said="")


def _resized_live(libvirt: Any, journal: LibvirtJournal, domain: Any, taken: OrderTaken, now: datetime) -> OrderTaken:
    """A guest that is not to be shut down: it takes its size as it runs, or the order has failed."""
    if domain.isActive() == taken.live and (
        sizes.stands(domain, taken.wanted) or sizes.resize_live(libvirt, domain, taken.wanted)
    ):
        return _done(journal, taken, now)
    other = "does not take that size as it runs" if domain.isActive() else "is off by now"
    return replace(taken, ended_at=now, failed=f"{domain.name()} {other}; nothing was changed")


def _asked(journal: LibvirtJournal, domain: Any, taken: OrderTaken, now: datetime) -> OrderTaken:
    """Have the guest asked to shut down, and note that it was."""
    domain.shutdown()
    taken = replace(taken, asked_at=now, said="")
    journal.keep(taken)
    return taken


def _done(journal: LibvirtJournal, taken: OrderTaken, now: datetime) -> OrderTaken:
    journal.settle(taken.guest)
    return replace(taken, ended_at=now, said="")


def _failed(
    libvirt: Any, journal: LibvirtJournal, domain: Any, taken: OrderTaken, now: datetime, why: str
) -> OrderTaken:
    """Define the guest as it was, have it run again where it is off, and tell what became of that."""
    if not taken.ran or taken.live:
        return replace(taken, ended_at=now, failed=why)
    if taken.former and not sizes.restore(libvirt, domain, sizes.Definition(*taken.former)):
        why += f"; {domain.name()} is not defined as it was"
    try:
        if not domain.isActive():
            domain.create()
            why += f"; {domain.name()} runs again"
        if taken.asked_at is None or why.endswith("again"):
            journal.settle(taken.guest)
    except libvirt.libvirtError as error:
        why += f"; {domain.name()} is off, and does not start: {error}"
    return replace(taken, ended_at=now, failed=why)


def _bounded(libvirt: Any, journal: LibvirtJournal, domain: Any, taken: OrderTaken, now: datetime) -> OrderTaken:
    """Give up what takes too long, and say what is waited for."""
    if taken.ended_at is not None:
        return taken
    waits = now - (taken.asked_at or taken.begun_at)
    deaf = f"{domain.name()} was asked to shut down {round(waits.total_seconds() / 60)} minutes ago, and runs"
    off = taken.said and not _runs(libvirt, domain)
    if taken.asked_at is None and not off and waits > PATIENCE:
        return _failed(libvirt, journal, domain, taken, now, taken.said or f"{domain.name()}: not begun")
    if taken.verb == Verb.STOP and waits > PATIENCE:
        return replace(taken, ended_at=now, failed=f"{domain.name()} does not shut down")
    if waits > WATCHED:
        why = taken.said if off else f"{deaf}; whoever shuts it down later has to start it"
        return replace(_failed(libvirt, journal, domain, taken, now, why), stalled=not off)
    if waits > PATIENCE and not off:
        return replace(taken, said=f"{deaf}; it is started with its size when it goes off")
    return taken


def _runs(libvirt: Any, domain: Any) -> bool:
    """Whether a guest is known to run; not where its host does not say."""
    try:
        return bool(domain.isActive())
    except libvirt.libvirtError:
        return False


def _alive(libvirt: Any, domain: Any) -> bool:
    """Whether its host still answers."""
    try:
        return bool(domain.connect().isAlive())
    except libvirt.libvirtError:
        return False
