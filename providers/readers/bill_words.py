"""The words of bill files: headings, kinds, units, and money, as companies write them in both languages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from providers.readers.inventory_words import SUFFIXES
from providers.readers.usage_columns import plain
from quota.units import (
    ACCELERATOR,
    BANDWIDTH,
    BLOCK,
    CLASSES,
    CRYPTOGRAPHY,
    DATABASE,
    EIP,
    MEMORY,
    MIDDLEWARE,
    OBJECT,
    SECURITY,
    VCPU,
    ClassCode,
)

HEADERS: Mapping[str, str] = {
    plain(word): name
    for name, words in {
        "resource": "resource resource_id external_id instance_id 资源编号 资源id 实例id 实例编号 云服务器id 云主机id",
        "kind": "kind 资源类别 资源类型 计费项",
        "quantity": "quantity usage 用量 计费量 计费用量",
        "unit": "unit 单位 计量单位 用量单位 计费单位",
        "month": "month billing_month 账期 计费月份 账单月份",
        "since": "since 起 开始时间 计费开始时间",
        "until": "until 止 结束时间 计费结束时间",
        "service": "service 服务",
        "arch": "arch 架构",
        "cost": "cost amount 金额 费用 应付金额",
        "currency": "currency 币种 货币 币别",
        "payer": "payer department 使用单位 用户单位 委办局 付款单位",
        "discount": "discount discount_rate 折扣 折扣率 倍率 系数 汇率",
        "deduction": "deduction 优惠 优惠金额 减免 减免金额 抵扣 抵扣金额 代金券 代金券抵扣 退款 退款金额 税额",
        "state": "state status 状态 账单状态 计费状态 结算状态",
        "count": "count 数量 台数 个数",
        "duration": "hours duration 时长 使用时长 计费时长 小时数",
    }.items()
    for word in words.split()
}

HEADINGS: Mapping[str, str] = {
    "resource": "资源编号", "kind": "资源类别", "quantity": "用量", "unit": "单位", "month": "账期",
    "since": "起", "until": "止", "service": "服务", "arch": "架构", "cost": "金额",
}  # fmt: skip
"""One heading of each column in Chinese, for a file to fill in."""

NEUTRAL: Mapping[str, frozenset[str]] = {
    "discount": frozenset({"", "-", "无", "1", "1.0", "1.00", "100%", "100.00%", "10折"}),
    "deduction": frozenset({"", "-", "无", "0", "0.0", "0.00"}),
    "state": frozenset(
        {"", "正常", "有效", "已出账", "已结算", "已确认", "已支付", "normal", "valid", "billed", "paid"}
    ),
    "count": frozenset({"", "-", "1", "1.0"}),
    "duration": frozenset({"", "-"}),
}
"""Columns that change what another column of the row means, and what they may say without changing anything."""

WORDS: Mapping[ClassCode, str] = {
    VCPU: "CPU 核 计算",
    MEMORY: "内存",
    BLOCK: "块存储 云硬盘 磁盘",
    OBJECT: "对象存储",
    BANDWIDTH: "带宽",
    EIP: "弹性公网IP 公网IP",
    DATABASE: "数据库 云数据库",
    MIDDLEWARE: "中间件",
    SECURITY: "安全服务",
    CRYPTOGRAPHY: "密码服务",
    ACCELERATOR: "加速卡",
}
"""What companies call the classes that the house began with, beside their own names."""


def accepted() -> dict[ClassCode, list[str]]:
    """Each class of the book → the words that a bill may call it by, its code first; case and blanks do not matter."""
    return {
        code: list(dict.fromkeys(filter(None, (str(code), one.label, *WORDS.get(code, "").split(), one.label_en))))
        for code, one in CLASSES.items()
    }


def class_of(text: str) -> ClassCode | None:
    """The class that a bill calls ``text``; None where no class is called so."""
    return _classes(CLASSES.stamp).get(plain(text))


@lru_cache(maxsize=2)
def _classes(stamp: int) -> dict[str, ClassCode]:  # noqa: ARG001 - what it is kept by
    found: dict[str, ClassCode] = {}
    for code, words in accepted().items():
        for word in words:
            found.setdefault(plain(word), code)
    return found


def units_of(kind: ClassCode) -> str:
    """How a bill may write what it counts of a class: its unit over an hour."""
    one = CLASSES[kind]
    return "、".join(dict.fromkeys(f"{unit}·时" for unit in (one.shown, one.base)))


_FAMILY: Mapping[ClassCode, str] = {
    VCPU: "core", MEMORY: "mb", BLOCK: "gb", OBJECT: "gb", BANDWIDTH: "mbps",
}  # fmt: skip
_HOURS = re.compile(r"(.*?)[·*×・./]?(?:小时|时|h|hrs?|hours?)")

YUAN: Mapping[str, Decimal] = {
    **dict.fromkeys(("", "元", "人民币", "人民币元", "cny", "rmb", "¥"), Decimal(1)),
    "千元": Decimal(1_000),
    "万元": Decimal(10_000),
    "分": Decimal("0.01"),
}
"""Words for our money, and how many yuan each is."""

FOREIGN = re.compile(r"[$€£₩₽]|usd|hkd|mop|twd|eur|jpy|gbp|[美港澳台欧日英]元|[美港]币|美金|英镑|日圆")
"""What names money of another country in a heading's brackets."""

_MONEY = re.compile(r"(¥|cny|rmb|人民币)?\s*([+-]?[\d.,'\s]*\d\.?(?:e[+-]?\d+)?|[+-]?nan|[+-]?inf)\s*(.*)", re.I)


def unit_factor(kind: ClassCode, unit: str) -> Decimal | None:
    """Base unit-hours in one ``unit`` (GB·时, core-hours …) of ``kind``; None for what is no such unit."""
    found = _HOURS.fullmatch(plain(unit))
    factor = SUFFIXES[_FAMILY.get(kind, "piece")].get(found[1]) if found else None
    if factor is None or (found and not found[1] and kind in _FAMILY):
        return None  # hours alone are hours of a thing, not of its cores or gigabytes
    return Decimal(str(factor))


def is_unit(unit: str) -> bool:
    return any(unit_factor(kind, unit) is not None for kind in CLASSES)


def is_money(unit: str) -> bool:
    """Whether the brackets of a heading name money, ours or another's."""
    return unit in YUAN or FOREIGN.search(unit) is not None


def money(text: str) -> tuple[str, Decimal] | None:
    """``¥1,184.00``, ``12万元`` → the figure as written and how many yuan its unit is; None for another country's."""
    found = _MONEY.fullmatch(text)
    factor = YUAN.get(plain(found[3])) if found else None
    return None if found is None or factor is None else (found[2], factor)
