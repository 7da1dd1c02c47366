"""What the conditions of rules may speak of: facts, each with its type, its name and its unit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from quota.errors import N_
from quota.units import ACCELERATOR, BLOCK, CLASSES, MEMORY, VCPU, ClassCode


@dataclass(frozen=True, slots=True)
class RuleFact:
    """What a condition may speak of: its type, its name for people, and its value where least is asked for, which it also
    has for request kinds that do not know it. ``of``: the resource class whose amount it is, which completes its name."""

    type: type
    label: str
    least: Any
    of: ClassCode | None = None


ADDED = "adds_"
"""Before the code of a resource class: how much of it is asked for, in shown units, over all lines."""

NAMED = {VCPU: "vcpu", MEMORY: "memory_gb", BLOCK: "block_gb", ACCELERATOR: "accelerator"}
"""Classes whose amounts have names of their own, in which rules of old speak."""


class Vocabulary(MutableMapping[str, RuleFact]):
    """Facts by their names: those declared, and the amount of every resource class that there is now."""

    def __init__(self, declared: Mapping[str, RuleFact]) -> None:
        self._declared = dict(declared)

    def _counted(self) -> dict[str, RuleFact]:
        return {f"{ADDED}{code}": RuleFact(float, N_("新增%(what)s"), 0, code) for code in CLASSES if code not in NAMED}

    def __getitem__(self, name: str) -> RuleFact:
        return self._declared[name] if name in self._declared else self._counted()[name]

    def __setitem__(self, name: str, fact: RuleFact) -> None:
        self._declared[name] = fact

    def __delitem__(self, name: str) -> None:
        del self._declared[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._declared, *self._counted()])

    def __len__(self) -> int:
        return len(self._declared) + len(self._counted())


FACTS = Vocabulary(
    {
        "kind": RuleFact(str, N_("申请类型"), ""),  # the code of a request kind
        "services": RuleFact(list, N_("服务类型"), []),  # kinds of service asked for
        "quantity": RuleFact(int, N_("件数"), 1),  # pieces asked for
        "vcpu": RuleFact(int, N_("新增 vCPU"), 1),  # what it adds, over all lines
        "memory_gb": RuleFact(float, N_("新增内存 GB"), 1),
        "block_gb": RuleFact(int, N_("新增块存储 GB"), 0),
        "accelerator": RuleFact(int, N_("新增加速卡"), 0),  # cards
        # Of what shall be of a shape of one's own, and of no item of the catalogue; not known where nothing is:
        "own_shape": RuleFact(bool, N_("自定规格"), False),
        "shape_vcpu_least": RuleFact(int, N_("自定规格每件最少 vCPU"), 1),
        "shape_vcpu_most": RuleFact(int, N_("自定规格每件最多 vCPU"), 1),
        "shape_vcpu_step": RuleFact(
            int, N_("自定规格每件 vCPU 的最大公约数"), 1
        ),  # of all: each is a multiple of what it is
        "shape_memory_gb_least": RuleFact(float, N_("自定规格每件最少内存 GB"), 1),
        "shape_memory_gb_most": RuleFact(float, N_("自定规格每件最多内存 GB"), 1),
        "shape_memory_gb_step": RuleFact(float, N_("自定规格每件内存 GB 的最大公约数"), 1),
        "shape_block_gb_least": RuleFact(int, N_("自定规格每件最少块存储 GB"), 1),
        "shape_block_gb_most": RuleFact(int, N_("自定规格每件最多块存储 GB"), 1),
        "shape_block_gb_step": RuleFact(int, N_("自定规格每件块存储 GB 的最大公约数"), 1),
        "gb_per_vcpu_least": RuleFact(float, N_("自定规格每 vCPU 最少内存 GB"), 1),
        "gb_per_vcpu_most": RuleFact(float, N_("自定规格每 vCPU 最多内存 GB"), 1),
        "grows": RuleFact(bool, N_("增加占用"), True),  # it adds anything at all
        "direction": RuleFact(str, N_("增减方向"), "grow"),  # grow, shrink, mixed, none
        "growth_percent": RuleFact(float, N_("扩大百分比"), 0),  # of the class that grows most, of what there is
        "over_quota": RuleFact(bool, N_("超出配额"), False),  # more than the department's granted quota covers
        "xinchuang": RuleFact(bool, N_("信创资源池"), True),  # the pool is 信创
        "pool": RuleFact(str, N_("资源池代码"), ""),
        "provider": RuleFact(str, N_("云服务商代码"), ""),
        "zone": RuleFact(str, N_("网络区"), ""),  # of the pool
        "arch": RuleFact(str, N_("芯片架构"), ""),  # of the pool
        "department": RuleFact(str, N_("单位编码"), ""),
        "departments": RuleFact(list, N_("单位及上级编码"), []),  # the department's code and those of all above it
        "system": RuleFact(bool, N_("写明信息系统"), True),
        "mlps_level": RuleFact(int, N_("等保级别"), 1),  # of the system; not known where none is named
        "mlps_record": RuleFact(bool, N_("等保已备案"), True),  # the system has a number; not known where none is named
        "mlps_age_days": RuleFact(int, N_("距上次等保测评天数"), 0),  # not known where it was never assessed
        "crypto_age_days": RuleFact(int, N_("距上次密评天数"), 0),  # as well
        "project": RuleFact(str, N_("立项项目"), "running"),  # running, late, accepted, ended, none
        "project_days_left": RuleFact(
            int, N_("距计划验收天数"), 1
        ),  # of one that is not accepted; below 0 once it is late
        "purpose": RuleFact(
            str, N_("使用性质"), "production"
        ),  # production, test, development, emergency, event; empty: not said
        "filled": RuleFact(list, N_("已填写的字段"), []),  # names of the kind's fields that say something
        "annexes": RuleFact(list, N_("已提交的附件"), []),  # labels; not known while it is typed
        "trial_days": RuleFact(
            int, N_("已试运行天数"), 0
        ),  # since what its term is moved of was delivered; else not known
        "ended_entries": RuleFact(int, N_("信息系统已到期的证书、域名和许可数"), 0),  # not known without a system
        "ended_access": RuleFact(int, N_("本单位到期未退出的供应商人员数"), 0),
        "headed": RuleFact(bool, N_("本单位已登记负责人"), True),  # on the day of submission
        "lasts": RuleFact(bool, N_("长期使用"), False),  # it says no end
        "term_days": RuleFact(int, N_("使用期限天数"), 1),  # from the day of submission; not known where it lasts
    }
)
"""What a condition may speak of. Request kinds add what only they know (``declarations.register``), storeys above what they
measure or price (``quota.requests.facts.register``). A fact whose value is None is not known."""
