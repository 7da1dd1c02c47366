"""Which flavor an ordered size is. A flavor is named by the options for a size, or it is the only one that fits: where several
do, nobody guesses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from providers.adapters.openstack import words
from providers.adapters.openstack.listing import CloudScope
from providers.base import NEVER, ProviderFault
from quota.units import ACCELERATOR, CLASSES, MEMORY, VCPU, ClassCode

Size = tuple[int, int]
"""(vCPUs, MiB)."""

_LINE = re.compile(r"\s*(\d{1,4})\s*C\s*(\d{1,6})\s*G\s*=\s*(\S.*?)\s*", re.IGNORECASE)


def read(lines: str) -> dict[Size, str]:
    """Lines of ``4C8G = flavor`` as they are typed. Raises ValueError with the number of the first that is none."""
    found: dict[Size, str] = {}
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        told = _LINE.fullmatch(line)
        if told is None or (int(told[1]), int(told[2]) * 1024) in found:
            raise ValueError(number)
        found[int(told[1]), int(told[2]) * 1024] = told[3]
    return found


def size_of(flavor: Mapping[str, Any]) -> Size:
    return int(flavor["vcpus"]), int(flavor["ram"])


def written(size: Size) -> str:
    """4C8G."""
    return f"{size[0]}C{size[1] / 1024:g}G"


def check(named: Mapping[Size, str], flavors: Sequence[Mapping[str, Any]]) -> None:
    """Raise ProviderFault naming every flavor of the options that is not there, or is of another size than it stands for."""
    known = {str(one["name"]): one for one in flavors}
    wrong = [
        f"{written(size)} = {name}: "
        + ("no such flavor" if name not in known else f"it is {written(size_of(known[name]))}")
        for size, name in named.items()
        if name not in known or size_of(known[name]) != size
    ]
    if wrong:
        raise ProviderFault("; ".join(wrong), transient=False, code="query")


def choose(
    wanted: Mapping[ClassCode, int],
    flavors: Sequence[Mapping[str, Any]],
    named: Mapping[Size, str],
    scope: CloudScope,
    *,
    now: Mapping[str, Any] | None = None,
    disk: int = 0,
) -> Mapping[str, Any]:
    """The flavor for ``wanted``. ``now``: what the server has, whose other traits (extra specs, swap, ephemeral disk) stay;
    ``disk``: GB that the root disk has at least, since it can't shrink. Raises ProviderFault (NEVER) where there is none, or
    several and no line of the options says which."""
    size = wanted.get(VCPU, 0), wanted.get(MEMORY, 0)
    mapped = named.get(size)
    if mapped is not None:
        found = [one for one in flavors if one["name"] == mapped and size_of(one) == size]
        if not found:
            raise _never(f"{written(size)} = {mapped}: no such flavor of this size")
        if int(found[0]["disk"]) < disk:
            raise _never(
                f"{mapped}: its root disk of {found[0]['disk']} GB is smaller than the {disk} GB that there are"
            )
        return found[0]
    fits = [
        one
        for one in flavors
        if size_of(one) == size
        and int(one["disk"]) >= disk
        and words.cards(one, scope.accelerators) == wanted.get(ACCELERATOR, 0)
        and words.slices(one) == {code: many for code, many in wanted.items() if many and CLASSES[code].parts}
        and words.arch_of({**one, "original_name": one["name"]}, scope.arches, scope.arch) == scope.arch
        and (now is None or _alike(one, now))
    ]
    least = min((int(one["disk"]) for one in fits), default=0)
    fits = [one for one in fits if int(one["disk"]) == least]
    if len(fits) == 1:
        return fits[0]
    if fits:
        names = ", ".join(sorted(str(one["name"]) for one in fits))
        raise _never(f"{written(size)}: several flavors fit ({names}); say which in the options of the pool")
    raise _never(f"no flavor of {written(size)}" + (f" with a root disk of {disk} GB or more" if disk else ""))


def _alike(one: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a flavor differs from what the server has in nothing but its size."""
    same = all(int(one.get(name) or 0) == int(now.get(name) or 0) for name in ("OS-FLV-EXT-DATA:ephemeral", "swap"))
    return same and dict(one.get("extra_specs") or {}) == dict(now.get("extra_specs") or {})


def _never(message: str) -> ProviderFault:
    return ProviderFault(message, transient=False, code=NEVER)
