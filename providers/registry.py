"""Adapter name → class. The only place that knows which kinds of cloud there are."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from providers.base import Provider
from quota.errors import N_, Invalid

ADAPTERS: Mapping[str, str] = {
    "simulated": "providers.adapters.simulated:SimulatedCloud",
    "files": "providers.adapters.files:FilesCloud",
}

INVENTED = frozenset({"simulated"})
"""Clouds that are made up: for a demo alone."""


def offered(*, demo: bool) -> list[str]:
    """Names of the adapters that a pool may be registered with."""
    return [name for name in ADAPTERS if demo or name not in INVENTED]


def open_provider(adapter: str, options: Mapping[str, Any]) -> Provider:
    """Open the adapter called ``adapter`` with its options. Raises Invalid for unknown names or options."""
    try:
        module, _, name = ADAPTERS[adapter].partition(":")
    except KeyError:
        raise Invalid(
            "adapter.unknown", N_("没有名为 %(name)s 的适配器;现有:%(known)s"), name=adapter, known=", ".join(ADAPTERS)
        ) from None
    try:
        return cast(Provider, getattr(import_module(module), name)(**options))
    except TypeError as error:
        raise Invalid(
            "adapter.options", N_("适配器 %(name)s 的参数不对:%(error)s"), name=adapter, error=str(error)
        ) from error
