"""网络策略: ports that are opened between two places, for a use and a term. The company of the pool is told by a ticket, and asked to
close them again, once the department says so, when the term is over."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network, summarize_address_range
from typing import TYPE_CHECKING, Any

from quota.errors import N_, Invalid
from quota.requests.declarations import Question, RequestField, RequestKind, Term, register
from quota.requests.rules import RuleFact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quota.db import Tx
    from quota.requests.tables import Request

DIRECTIONS = {
    "internet_in": N_("互联网访问本系统"), "internet_out": N_("本系统访问互联网"), "between": N_("云内系统之间"), "extranet": N_("与政务外网其他单位"),
}  # fmt: skip
PROTOCOLS = {"tcp": N_("TCP"), "udp": N_("UDP"), "icmp": N_("ICMP")}
MOST = 50
"""Addresses and ranges of ports that one request names."""
HIGHEST = 65535
_BREAK = re.compile(r"[\s,;，；、]+")
_NAME = re.compile(r"(?=.{4,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def _pieces(request: Request, name: str) -> list[str]:
    found = [one for one in _BREAK.split(str(request.fields.get(name, ""))) if one]
    if len(found) > MOST:
        raise Invalid("network.many", N_("一次最多写 %(most)s 项"), most=MOST, field=name)
    return found


def _networks(piece: str) -> list[IPv4Network | IPv6Network]:
    """The networks that an address, network or range is; none for a domain name. Raises Invalid for what is neither."""
    first, dash, last = piece.partition("-")
    try:
        if dash:
            return list(summarize_address_range(ip_address(first), ip_address(last)))
        return [ip_network(piece, strict=False)]
    except (TypeError, ValueError):  # two versions; no address, or a range backwards
        if _NAME.fullmatch(piece):
            return []
        raise Invalid(
            "network.address", N_("“%(text)s”不是地址、网段、地址范围或域名"), text=piece[:60], field="source"
        ) from None


def anywhere(request: Request, name: str) -> bool:
    """Whether the addresses of a field are, together, any of a version: written as one network, a range or in halves. Raises Invalid
    naming the field."""
    try:
        pieces = _pieces(request, name)
        found = [network for one in pieces for network in _networks(one)]
    except Invalid as refused:
        refused.params["field"] = name
        raise
    if not pieces:
        raise Invalid("network.no_address", N_("请填写地址"), field=name)
    fours = collapse_addresses(one for one in found if isinstance(one, IPv4Network))
    sixes = collapse_addresses(one for one in found if isinstance(one, IPv6Network))
    return any(one.prefixlen == 0 for one in fours) or any(one.prefixlen == 0 for one in sixes)


def ports(request: Request) -> int:
    """How many ports are asked for; ICMP has none. Raises Invalid for what is no port or range, or is said twice."""
    seen: set[int] = set()
    pieces = _pieces(request, "ports")
    icmp = request.fields.get("protocol") == "icmp"
    if icmp == bool(pieces):
        raise Invalid(
            "network.icmp" if icmp else "network.no_port", N_("TCP 和 UDP 须填写端口，ICMP 不填"), field="ports"
        )
    for low, high in _ranges(pieces):
        asked = set(range(low, high + 1))
        if asked & seen:
            raise Invalid("network.twice", N_("端口 %(port)s 重复"), port=min(asked & seen), field="ports")
        seen |= asked
    return len(seen)


def _ranges(pieces: list[str]) -> Iterator[tuple[int, int]]:
    for one in pieces:
        told = _PORTS.fullmatch(one)
        low, high = (int(told[1]), int(told[2] or told[1])) if told else (0, 0)
        if not 1 <= low <= high <= HIGHEST:
            raise Invalid(
                "network.port", N_("“%(text)s”不是端口，写作 443 或 8000-8010"), text=one[:60], field="ports"
            )  # fmt: skip
        yield low, high


def check(_tx: Tx, request: Request) -> None:
    """Refuse addresses and ports that say nothing."""
    anywhere(request, "source")
    anywhere(request, "destination")
    ports(request)


def _sees(request: Request) -> dict[str, Any]:
    """What rules may ask of it; None where it can't be read."""
    count: int | None
    from_any: bool | None
    try:
        count, from_any = ports(request), anywhere(request, "source")
    except Invalid:
        count, from_any = None, None
    return {
        "network_direction": str(request.fields.get("direction", "")),
        "network_ports": count,
        "network_any": from_any,
    }


NETWORK = register(
    RequestKind(
        code="network",
        label=N_("网络策略"),
        position=60,
        fields=(
            RequestField("direction", N_("访问方向"), required=True, choices=DIRECTIONS),
            RequestField("source", N_("源地址"), long=True, required=True),
            RequestField("destination", N_("目的地址"), long=True, required=True),
            RequestField("protocol", N_("协议"), required=True, choices=PROTOCOLS),
            RequestField("ports", N_("端口")),
            RequestField("use", N_("用途"), long=True, required=True),
        ),
        headline=("source", "destination", "ports"),
        term=Term.REQUIRED,
        why=Question(N_("开放理由"), N_("写明为什么须开放、有哪些防护措施；评审以此为据"), N_("请写明开放的理由")),
        check=check,
        signed=lambda request: {"use_until": request.use_until, **request.fields},
        facts={
            "network_direction": RuleFact(str, N_("网络策略的访问方向"), ""),
            "network_ports": RuleFact(int, N_("开放的端口数"), 0),
            "network_any": RuleFact(bool, N_("源地址不限"), False),
        },
        sees=_sees,
        by_ticket="port",
        hint=N_("开放端口：从哪里到哪里、哪些端口、做什么用、到哪一天"),
    )
)
