"""The kinds of service, by the names that people know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from providers.base import ServiceKind
from quota.errors import N_
from quota.inventory import BESIDE
from quota.units import CLASSES, ClassCode

KINDS = {
    ServiceKind.VM.value: N_("云主机"),
    ServiceKind.BARE_METAL.value: N_("裸金属"),
    ServiceKind.VOLUME.value: N_("云硬盘"),
    ServiceKind.OBJECT_STORE.value: N_("对象存储"),
    ServiceKind.EIP.value: N_("弹性公网IP"),
    ServiceKind.BANDWIDTH.value: N_("带宽"),
    ServiceKind.DATABASE.value: N_("数据库"),
    ServiceKind.MIDDLEWARE.value: N_("中间件"),
    ServiceKind.SECURITY.value: N_("安全服务"),
    ServiceKind.CRYPTOGRAPHY.value: N_("密码服务"),
    ServiceKind.ACCELERATOR.value: N_("加速卡"),
    ServiceKind.OTHER.value: N_("其他服务"),
    ServiceKind.SNAPSHOT.value: N_("快照"),
    ServiceKind.IMAGE.value: N_("镜像"),
    ServiceKind.PORT.value: N_("网络端口"),
    ServiceKind.LOAD_BALANCER.value: N_("负载均衡"),
    ServiceKind.PROJECT.value: N_("云侧项目"),
}

ORDERED = {kind: label for kind, label in KINDS.items() if kind not in BESIDE}
"""Those that the catalogue may offer."""


class _ClassLabels(Mapping[str, str]):
    def __getitem__(self, code: str) -> str:
        return CLASSES[ClassCode(code)].label

    def __iter__(self) -> Iterator[str]:
        return iter(CLASSES)

    def __len__(self) -> int:
        return len(CLASSES)


CLASS_LABELS: Mapping[str, str] = _ClassLabels()
"""What every resource class is called, as of now."""
