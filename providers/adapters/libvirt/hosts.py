"""Hosts: connections to libvirt, opened when they are needed and kept; what they say when something is wrong, as faults.

The library is PyPI's libvirt-python or the distribution's python3-libvirt; it is looked for when a host is first asked.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any

from providers.base import ProviderFault
from providers.secrets import Secret
from quota.errors import N_, Invalid

DISTRIBUTION = "/usr/lib/python3/dist-packages"
"""Where Debian and its kin put python3-libvirt, which an environment of its own does not see."""


def library() -> Any:
    """libvirt's own library. Raises ProviderFault where it is not installed."""
    try:
        found = importlib.import_module("libvirt")
    except ImportError:
        found = _of_distribution()
    found.registerErrorHandler(lambda _context, _error: None, None)  # else it writes every fault to stderr, too
    return found


def _of_distribution() -> Any:
    """The distribution's own, where it was built for this Python: the name of its shared object says so."""
    for name in ("libvirtmod", "libvirt"):
        spec = PathFinder.find_spec(name, [DISTRIBUTION])
        if spec is None or spec.loader is None:
            raise ProviderFault(
                "libvirt's library is not installed: python3-libvirt of the distribution, or pip install libvirt-python",
                transient=False,
                code="library",
            )
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules["libvirt"]


def addresses(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses that libvirt may be asked under. Raises Invalid for what is none, or has a password in it."""
    for one in hosts:
        scheme, mark, rest = one.partition("://")
        if not mark or not scheme or any(char.isspace() for char in one):
            raise Invalid(
                "libvirt.address", N_("主机地址应如 qemu+tls://host1/system:%(address)s"), address=one, field="hosts"
            )
        if ":" in rest.partition("@")[0] and "@" in rest.partition("/")[0]:
            raise Invalid("libvirt.clear", N_("地址里不能写口令,请填在“口令”一栏"), field="hosts")
    if not hosts:
        raise Invalid("options.missing", N_("请填写%(label)s"), label=N_("主机"), field="hosts")
    return hosts


class Host:
    """One address. Speaks to nobody before it is asked to; for one thread at a time."""

    def __init__(self, address: str, user: str = "", password: Secret | None = None) -> None:
        self.address, self.user, self.password = address, user, password
        self._open: Any = None
        self._lock = threading.RLock()

    @contextmanager
    def asked(self) -> Iterator[Any]:
        """The connection (``libvirt.virConnect``). What libvirt raises inside becomes ProviderFault."""
        libvirt = library()
        with self._lock:
            try:
                if self._open is None or not self._open.isAlive():
                    self._open = self._opened(libvirt)
                yield self._open
            except libvirt.libvirtError as error:
                raise fault(libvirt, self.address, error) from error

    def _opened(self, libvirt: Any) -> Any:
        def answer(wanted: list[list[Any]], _data: object) -> int:
            for one in wanted:
                one[4] = (
                    self.user
                    if one[0] == libvirt.VIR_CRED_AUTHNAME
                    else self.password.reveal()
                    if self.password
                    else ""
                )
            return 0

        kinds = [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE]
        return libvirt.openAuth(self.address, [kinds, answer, None], 0)


def fault(libvirt: Any, address: str, error: Any) -> ProviderFault:
    """What libvirt raised, as one of providers.connection.FAULTS where it says which."""
    number, said = error.get_error_code(), str(error)
    text = said.lower()
    if number in (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED):
        code, transient = "credentials", False
    elif number in (libvirt.VIR_ERR_OPERATION_DENIED, libvirt.VIR_ERR_ACCESS_DENIED, libvirt.VIR_ERR_AUTH_UNAVAILABLE):
        code, transient = "rights", False
    elif "certificate" in text or "tls" in text:
        code, transient = "certificate", True
    elif "refused" in text:
        code, transient = "refused", True
    elif "resolve" in text or "name or service" in text:
        code, transient = "name", True
    elif "timed out" in text or "timeout" in text or number == libvirt.VIR_ERR_OPERATION_TIMEOUT:
        code, transient = "timeout", True
    elif number in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_RPC):
        code, transient = "unreachable", True
    elif number in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG,
                    libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_CONFIG_UNSUPPORTED):  # fmt: skip
        code, transient = "", False
    else:
        code, transient = "server", True
    return ProviderFault(f"{address}: {said[:300]}", transient=transient, code=code)
