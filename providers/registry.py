"""Adapter name → class. The only place that knows which kinds of cloud there are: ours, and those that installed packages
bring by the entry point group ``guanjia.providers`` (docs/dev/adapter.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from providers.base import Meter, Provider
from providers.options import OptionField, fields, kept, read
from providers.secrets import by_reference
from quota.errors import N_, Invalid

log = logging.getLogger("guanjia.providers")

ADAPTERS: Mapping[str, str] = {
    "simulated": "providers.adapters.simulated:SimulatedCloud",
    "files": "providers.adapters.files:FilesCloud",
    "openstack": "providers.adapters.openstack:OpenStackCloud",
    "promql": "providers.adapters.promql:PromQL",
    "agent": "providers.adapters.agent:AgentCloud",
    "libvirt": "providers.adapters.libvirt:LibvirtCloud",
}
"""Our own, which no package can take the names of."""

GROUP = "guanjia.providers"

INVENTED = frozenset({"simulated"})
"""Clouds that are made up: for a demo alone."""


@cache
def adapters() -> Mapping[str, str]:
    """Every adapter that is there: name → ``module:Class``."""
    others = {one.name: one.value for one in entry_points(group=GROUP)}
    for name in others.keys() & ADAPTERS.keys():
        log.warning("an installed package offers another adapter %s: it is left aside", name)
    return {**others, **ADAPTERS}


def adapter(name: str) -> type:
    """The class of the adapter called ``name``. Raises Invalid where there is none, or where it cannot be loaded."""
    try:
        module, _, attribute = adapters()[name].partition(":")
    except KeyError:
        raise Invalid(
            "adapter.unknown", N_("没有名为 %(name)s 的适配器;现有:%(known)s"), name=name, known=", ".join(adapters()),
            field="adapter",
        ) from None  # fmt: skip
    try:
        return cast(type, getattr(import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise Invalid(
            "adapter.broken", N_("无法装载适配器 %(name)s：%(error)s"), name=name, error=str(error), field="adapter"
        ) from error


def is_cloud(name: str) -> bool:
    """Whether it lists a pool's resources, so that a pool can be registered with it."""
    return hasattr(adapter(name), "inventory")


def offered(*, demo: bool) -> list[str]:
    """Names of the adapters that a pool may be registered with."""
    return [name for name in adapters() if (demo or name not in INVENTED) and is_cloud(name)]


def is_meter(name: str) -> bool:
    """Whether it gives usage of machines that another source lists; a cloud's own samples are collected with its pool."""
    return hasattr(adapter(name), "readings")


def is_probed(name: str) -> bool:
    """Whether it can be asked if its connection works."""
    return hasattr(adapter(name), "probe")


def options_of(name: str) -> tuple[OptionField, ...]:
    """What the adapter wants to be told."""
    return fields(adapter(name).Options)  # type: ignore[attr-defined]


def checked(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` as the book keeps them. Raises Invalid with the field's name."""
    return kept(adapter(name).Options, options)  # type: ignore[attr-defined]


def open_provider(
    adapter_name: str, options: Mapping[str, Any], reveal: Callable[[str], str] = by_reference
) -> Provider:
    """Open the adapter with its options; nobody is spoken to. ``reveal`` looks secrets up when they are needed. Raises
    Invalid for unknown names or options."""
    return cast(Provider, _opened(adapter_name, options, reveal))


def open_meter(adapter_name: str, options: Mapping[str, Any], reveal: Callable[[str], str] = by_reference) -> Meter:
    """The same for a source of usage."""
    return cast(Meter, _opened(adapter_name, options, reveal))


def _opened(name: str, options: Mapping[str, Any], reveal: Callable[[str], str]) -> object:
    found = adapter(name)
    told = read(found.Options, options, reveal)  # type: ignore[attr-defined]
    return found(**{one.name: getattr(told, one.name) for one in fields(type(told))})
