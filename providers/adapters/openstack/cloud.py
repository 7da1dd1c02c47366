"""An OpenStack as a pool: listed, measured, its quotas and capacity told; orders carried out where the pool says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from providers.adapters.openstack import books, orders, words
from providers.adapters.openstack import flavors as sizes
from providers.adapters.openstack import usage as usages
from providers.adapters.openstack.listing import KINDS, CloudListing, CloudScope
from providers.adapters.openstack.session import COMPUTE, IDENTITY, METRIC, ROUND, CloudSession, Credentials
from providers.base import (
    NEVER,
    CloudCapacity,
    Inventory,
    Order,
    OrderJournal,
    Outcome,
    PlannedCall,
    ProjectQuota,
    Provider,
    ProviderFault,
    Samples,
    Verb,
)
from providers.hands import Hands
from providers.options import option
from providers.secrets import Secret
from quota.errors import N_, Invalid
from quota.units import Arch, ClassCode

T = TypeVar("T")

INTERFACES = ("public", "internal", "admin")


@dataclass(frozen=True, kw_only=True)
class OpenStackOptions:
    """Where the cloud is, who we are there, and which part of it the pool is."""

    auth_url: str = option(N_("认证地址"), N_("Keystone 的地址,如 https://cloud.example:5000/v3"))
    user: str = option(N_("用户名"), N_("只读即可,但要能看到所有项目(admin 角色)"), default="")
    password: Secret | None = option(N_("口令"), default=None)
    project: str = option(N_("项目"), N_("该用户所在的项目,如 admin"), default="admin")
    user_domain: str = option(N_("用户的域"), default="Default")
    project_domain: str = option(N_("项目的域"), default="Default")
    credential_id: str = option(N_("应用凭据编号"), N_("填写后不用用户名与口令"), default="")
    credential_secret: Secret | None = option(N_("应用凭据密钥"), default=None)
    region: str = option(N_("区域"), N_("留空则用目录中唯一的区域"), default="")
    interface: str = option(N_("接口"), default="public", choices=INTERFACES)
    ca_file: str | None = option(N_("CA 证书文件"), N_("自建 CA 的 PEM 文件;留空则用系统的"), default=None)
    timeout_s: float = option(N_("超时（秒）"), default=30.0, least=1, most=300)
    lists: tuple[str, ...] = option(
        N_("列出哪些"), N_("用逗号分开;一朵云分成几个资源池时,网络等只在一个池中列出"), default=tuple(KINDS)
    )
    arch: str = option(
        N_("架构"), N_("规格没有写明架构的云主机是哪种"), default=Arch.X86_64.value,
        choices=[one.value for one in Arch if one is not Arch.ANY],
    )  # fmt: skip
    only_arch: bool = option(N_("只列出这种架构"), N_("同一朵云的其他架构归另外的资源池"), default=False)
    arches: str = option(
        N_("规格与架构"),
        N_("每行一条:规格名(可用 *)= 架构,如 kc1.* = aarch64;云上没有写明时用"),
        default="",
        lines=True,
    )
    zones: tuple[str, ...] = option(N_("可用区"), N_("只要这些可用区的云主机;留空为全部"), default=())
    aggregates: tuple[str, ...] = option(N_("主机聚合"), N_("只要这些聚合的主机上的云主机;留空为全部"), default=())
    volume_types: tuple[str, ...] = option(N_("卷类型"), N_("只要这些类型的云硬盘;留空为全部"), default=())
    volume_zones: tuple[str, ...] = option(N_("卷的可用区"), N_("未挂载的云硬盘只要这些可用区的"), default=())
    accelerators: tuple[str, ...] = option(
        N_("加速卡"), N_("哪些 PCI 别名或 Placement 资源类是加速卡,如 a100, CUSTOM_NPU"), default=()
    )
    local_disks: bool = option(N_("本地盘计入块存储"), default=False)
    department_key: str = option(
        N_("单位的元数据键"), N_("元数据中写单位编码的键;项目对应的单位优先"), default="department"
    )
    system_key: str = option(N_("系统的元数据键"), default="system")
    flavors: str = option(
        N_("大小与规格"),
        N_("每行一条:4C8G = 规格名;没有写的,只有一种规格相合时用它"),
        default="",
        lines=True,
    )
    image: str = option(N_("新云主机的镜像"), N_("名称或编号;留空则不开通云主机"), default="")
    network: str = option(N_("新云主机的网络"), N_("名称或编号;none:不接网络"), default="")
    volume_type: str = option(N_("新云硬盘的类型"), N_("留空则用云的缺省类型"), default="")
    hands: bool = option(N_("执行工单"), N_("不勾选则只读,工单由人办理"), default=False)
    usage: str = option(N_("用量"), N_("gnocchi:由 Ceilometer 采集;none:另设来源"), default="gnocchi",
                        choices=("gnocchi", "none"))  # fmt: skip
    granularity_s: int = option(N_("用量粒度（秒）"), N_("归档策略中最细的粒度"), default=300, least=1, most=300)
    coarse_s: int = option(
        N_("较粗的粒度（秒）"), N_("细的已删除时用它,一小时即 3600;0:没有"), default=3600, least=0, most=3600
    )
    poll_s: int = option(N_("采集间隔（秒）"), N_("Ceilometer 两次采集之间"), default=300, least=1, most=3600)
    settle_s: int = option(N_("等待（秒）"), N_("多久以前的样本视为已经到齐"), default=300, least=0, most=3600)


class OpenStackCloud:
    """One region, or a part of it. Implements providers.base.Provider, Parallel, Sharing, Probed, Quotas, Capacious and
    Remembering. Speaks to nobody before it is asked to."""

    Options = OpenStackOptions
    name = "openstack"
    live_resize = False
    at_once = 4
    releases: Mapping[Verb, Collection[ClassCode]] = orders.RELEASES

    def __init__(
        self,
        auth_url: str,
        user: str = "",
        password: Secret | None = None,
        project: str = "admin",
        user_domain: str = "Default",
        project_domain: str = "Default",
        credential_id: str = "",
        credential_secret: Secret | None = None,
        region: str = "",
        interface: str = "public",
        ca_file: str | None = None,
        timeout_s: float = 30.0,
        lists: tuple[str, ...] = tuple(KINDS),
        arch: str = Arch.X86_64.value,
        only_arch: bool = False,
        arches: str = "",
        zones: tuple[str, ...] = (),
        aggregates: tuple[str, ...] = (),
        volume_types: tuple[str, ...] = (),
        volume_zones: tuple[str, ...] = (),
        accelerators: tuple[str, ...] = (),
        local_disks: bool = False,
        department_key: str = "department",
        system_key: str = "system",
        flavors: str = "",
        image: str = "",
        network: str = "",
        volume_type: str = "",
        hands: bool = False,
        usage: str = "gnocchi",
        granularity_s: int = 300,
        coarse_s: int = 3600,
        poll_s: int = 300,
        settle_s: int = 300,
    ) -> None:
        _who(user, password, credential_id, credential_secret)
        strange = next((one for one in lists if one not in KINDS), None)
        if strange is not None or not lists:
            raise Invalid("openstack.lists", N_("能列出的有:%(known)s"), known=", ".join(KINDS), field="lists")
        patterns = _lines(
            words.arches, arches, "openstack.arches", N_("规格与架构第 %(line)s 行须写成:规格名 = 架构"), "arches"
        )
        named = _lines(
            sizes.read, flavors, "openstack.flavors",
            N_("大小与规格第 %(line)s 行须写成:4C8G = 规格名,每种大小一行"), "flavors",
        )  # fmt: skip
        self.session = CloudSession(
            Credentials(
                auth_url=auth_url, user=user, password=password, user_domain=user_domain, project=project,
                project_domain=project_domain, credential_id=credential_id, credential_secret=credential_secret,
            ),
            region=region, interface=interface, ca_file=ca_file, timeout_s=timeout_s,
        )  # fmt: skip
        self.scope = CloudScope(
            lists=tuple(lists), arch=Arch(arch), only_arch=only_arch, arches=patterns, zones=tuple(zones),
            aggregates=tuple(aggregates), volume_types=tuple(volume_types), volume_zones=tuple(volume_zones),
            accelerators=tuple(accelerators), local_disks=local_disks, department_key=department_key, system_key=system_key,
        )  # fmt: skip
        self.capabilities: frozenset[Verb] = orders.CAPABILITIES if hands else frozenset()
        self.calls = orders.OrderCalls(
            self.session, self.scope, named=named, image=image, network=network, volume_type=volume_type
        )
        self._hands: Hands | None = None
        self.archive = None if usage == "none" else _archive(granularity_s, coarse_s, poll_s, settle_s)
        self.remembers = self.archive is not None
        self._sizes: dict[str, tuple[int, int]] = {}
        self._offs: dict[str, tuple[str, datetime | None]] = {}

    def probe(self, now: datetime) -> str:
        """Which services answer, in which versions, and of how many projects we hear. Raises ProviderFault, naming what right
        is missing."""
        del now
        session = self.session
        version = session.nova()
        session.get(COMPUTE, "/servers/detail", microversion=version, all_tenants=1, limit=1)
        projects = books.whole(session, IDENTITY, "/projects", "projects", page=ROUND)
        told = [f"Nova {version}", f"{len(projects)} projects"]
        if self.calls.named:
            sizes.check(self.calls.named, self.calls.flavors())
            told.append(f"{len(self.calls.named)} flavors")
        told += [name for name in ("block_storage", "network", "image", "placement") if session.offers(name)]
        if self.archive is not None:
            if not session.offers(METRIC):
                raise ProviderFault(
                    "the catalogue has no service of type metric (Gnocchi)", transient=False, code="kind"
                )
            session.get(METRIC, "/v1/capabilities")
            wired = usages.tells_traffic(session, self.archive)
            told.append("Gnocchi" if wired else f"Gnocchi without {self.archive.interface_type}: no network figures")
        return ", ".join(told)

    def skew(self, _now: datetime) -> timedelta | None:
        """By the date of Keystone's last answer, to the second."""
        ahead = self.session.clock_ahead_s
        return None if ahead is None else timedelta(seconds=ahead)

    def inventory(self, now: datetime) -> Inventory:
        """As providers.base.Provider has it; a service that can't be read makes its own kinds short."""
        reading = CloudListing(self.session, self.scope, offs=self._offs)
        found = reading.read(now)
        self._sizes.update(reading.sizes)
        return found

    def samples(self, since: datetime, until: datetime) -> Iterator[Samples]:
        """Usage of all servers, where the cloud keeps it in Gnocchi."""
        if self.archive is None:
            return
        if not self._sizes:
            reading = CloudListing(self.session, self.scope)
            reading.read(until)
            self._sizes.update(reading.sizes)
        yield from usages.samples(self.session, self.archive, since, until, self._sizes)

    def quotas(self, now: datetime) -> list[ProjectQuota]:
        """As providers.base.Quotas has it."""
        del now
        reading = CloudListing(self.session, self.scope)
        return books.quotas(self.session, reading.all_projects())

    def capacity(self, now: datetime) -> list[CloudCapacity]:
        """As providers.base.Capacious has it."""
        del now
        return books.capacity(self.session, self.scope)

    def share(self, other: Provider) -> None:
        """As providers.base.Sharing has it."""
        if isinstance(other, OpenStackCloud) and other.session.who.auth_url == self.session.who.auth_url:
            self.session.breakers = other.session.breakers

    def keep_journal(self, journal: OrderJournal) -> None:
        """As providers.base.Journalled has it."""
        if self._hands is None or self._hands.journal is not journal:
            self._hands = Hands(journal, self.calls)

    def plan(self, order: Order, now: datetime) -> tuple[PlannedCall, ...]:
        """As providers.base.Planning has it."""
        self._may(order.verb)
        return self.calls.plan(order, now)

    def deliver(self, order: Order, now: datetime) -> Outcome:
        """As providers.base.Provider has it, over the journal."""
        self._may(order.verb)
        return self._over_journal().deliver(order, now)

    def inquire(self, key: str, now: datetime) -> Outcome | None:
        """As providers.base.Provider has it; who takes no orders knows none."""
        return self._over_journal().inquire(key, now) if self.capabilities else None

    def advance(self, key: str, now: datetime) -> Outcome:
        """As providers.base.Advancing has it."""
        return self._over_journal().advance(key, now)

    def _may(self, verb: Verb) -> None:
        if verb not in self.capabilities:
            raise ProviderFault(f"{verb}: this pool's cloud is read only", transient=False, code=NEVER)

    def _over_journal(self) -> Hands:
        if self._hands is None:
            raise ProviderFault("no journal: nothing can be carried out", transient=False, code=NEVER)
        return self._hands


def _archive(granularity_s: int, coarse_s: int, poll_s: int, settle_s: int) -> usages.Archive:
    """How usage is kept. Raises Invalid for buckets that no others fit into."""
    if coarse_s and (coarse_s <= granularity_s or 3600 % coarse_s or coarse_s % 300):
        raise Invalid("openstack.coarse", N_("较粗的粒度须大于用量粒度,能被 300 整除,且能整除 3600"), field="coarse_s")
    return usages.Archive(granularity_s=granularity_s, coarse_s=coarse_s, poll_s=poll_s, settle_s=settle_s)


def _lines(read: Callable[[str], T], text: str, code: str, message: str, field: str) -> T:
    """What lines of an option say. Raises Invalid with the number of the first that says nothing."""
    try:
        return read(text)
    except ValueError as wrong:
        raise Invalid(code, message, line=wrong.args[0], field=field) from None


def _who(user: str, password: Secret | None, credential_id: str, credential_secret: Secret | None) -> None:
    """Raise Invalid unless one way in is told, and whole."""
    if bool(credential_id) == bool(user):
        raise Invalid("openstack.who", N_("请填写用户名与口令,或应用凭据,只填一种"), field="user")
    if (credential_secret if credential_id else password) is None:
        raise Invalid(
            "openstack.secret",
            N_("请填写口令或密钥在哪里"),
            field="credential_secret" if credential_id else "password",
        )
