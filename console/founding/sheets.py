"""The founding workbook's sheets: which columns each has, and what may be chosen in them."""

from __future__ import annotations

from console.workbooks import CellShape, SheetColumn, WorkbookSheet
from metering.judging import Procedure
from quota.actors import HELD, ROLE_LABELS
from quota.directory import DATA_LEVELS
from quota.errors import N_
from quota.requests import SIGNED, STEP_LABELS
from quota.units import Arch

ARCHS = {one.value: one.value for one in Arch if one is not Arch.ANY}
ITEM_ARCHS = {**ARCHS, N_("不限"): Arch.ANY.value}
LEVELS_OF_DATA = {label: code for code, label in DATA_LEVELS.items()}
SERVICES = {
    N_("云主机"): "vm", N_("裸金属"): "bare_metal", N_("云硬盘"): "volume", N_("对象存储"): "object_store",
    N_("弹性公网IP"): "eip", N_("带宽"): "bandwidth", N_("数据库"): "database", N_("中间件"): "middleware",
    N_("安全服务"): "security", N_("密码服务"): "cryptography", N_("加速卡"): "accelerator", N_("其他服务"): "other",
}  # fmt: skip
ROLES = {ROLE_LABELS[role]: role.value for role in HELD}
SIGNERS = {label: code for label, code in ROLES.items() if code in ("authority", "supervisor", "provider", "tenant")}
STEPS = {label: str(name) for name, label in STEP_LABELS.items()}
PER = {N_("月"): "month", N_("时"): "hour"}
ITEMS = {
    N_("城市名称"): "city", N_("主管部门名称"): "lead_body", N_("采用现成服务目录"): "catalogue",
    N_("采用现成审批规则"): "rules", N_("采用现成评估策略"): "policy",
}  # fmt: skip
READY = ("catalogue", "rules", "policy")
PROCEDURE = {name: name for name in Procedure.__dataclass_fields__}

TEXT, WHOLE, NUMBER, DATE, CHOICE = CellShape.TEXT, CellShape.WHOLE, CellShape.NUMBER, CellShape.DATE, CellShape.CHOICE

SHEETS: tuple[WorkbookSheet, ...] = (
    WorkbookSheet("city", N_("城市"), N_("城市和主管部门的名称；是否采用现成的目录、规则和策略（示例，不含价格）。"), (
        SheetColumn("item", N_("项目"), CHOICE, True, choices=ITEMS),
        SheetColumn("value", N_("内容"), required=True, most=64, hint=N_("“采用现成…”填“是”或“否”")),
    ), ("item",)),
    WorkbookSheet("companies", N_("公司"), N_("运营云平台的公司。"), (
        SheetColumn("code", N_("代码"), required=True, most=32),
        SheetColumn("name", N_("名称"), required=True),
        SheetColumn("credit_code", N_("统一社会信用代码"), most=32, hint=N_("18 位")),
        SheetColumn("contract_number", N_("合同编号"), most=64),
        SheetColumn("contract_from", N_("合同起始日"), DATE),
        SheetColumn("contract_until", N_("合同截止日"), DATE),
        SheetColumn("contacts", N_("联系人"), most=4000, hint=N_("每行一位：姓名，职责，电话，邮箱")),
    ), ("code",)),
    WorkbookSheet("departments", N_("单位"), N_("使用单位；上级单位可在本表，也可已在系统中。"), (
        SheetColumn("code", N_("编码"), required=True, most=32),
        SheetColumn("name", N_("名称"), required=True),
        SheetColumn("parent", N_("上级单位编码"), most=32, of="departments"),
    ), ("code",)),
    WorkbookSheet("people", N_("人员"), N_("初始密码不在本表：录入后写成文件，由系统管理员交给本人。"), (
        SheetColumn("login", N_("登录名"), required=True, most=64, hint=N_("字母、数字和 . - _")),
        SheetColumn("name", N_("姓名"), required=True, most=64),
        SheetColumn("role", N_("角色"), CHOICE, True, choices=ROLES),
        SheetColumn("department", N_("单位编码"), most=32, of="departments", hint=N_("仅使用单位的人员填写")),
        SheetColumn("provider", N_("公司代码"), most=32, of="companies", hint=N_("仅云服务商的人员填写")),
        SheetColumn("email", N_("邮箱"), most=254),
    ), ("login",)),
    WorkbookSheet("systems", N_("信息系统"), N_("各单位的信息系统。"), (
        SheetColumn("code", N_("编码"), required=True, most=32),
        SheetColumn("name", N_("名称"), required=True),
        SheetColumn("department", N_("单位编码"), required=True, most=32, of="departments"),
        SheetColumn("mlps_level", N_("等保级别"), WHOLE),
        SheetColumn("owner", N_("负责人"), most=64),
        SheetColumn("phone", N_("联系电话"), most=32),
        SheetColumn("online_on", N_("上线日期"), DATE),
        SheetColumn("offline_on", N_("下线日期"), DATE),
        SheetColumn("zone", N_("网络区"), most=64),
        SheetColumn("arch", N_("架构"), CHOICE, choices=ARCHS),
        SheetColumn("registered_users", N_("注册用户数"), WHOLE),
        SheetColumn("monthly_active_users", N_("月活跃用户数"), WHOLE),
        SheetColumn("vendor", N_("厂商与联系人")),
        SheetColumn("data_level", N_("数据级别"), CHOICE, choices=LEVELS_OF_DATA),
        SheetColumn("xinchuang_by", N_("信创迁移计划完成日"), DATE),
    ), ("code",)),
    WorkbookSheet("pools", N_("资源池"), N_("一种架构、一个网络区、一家公司的一片云。"), (
        SheetColumn("code", N_("编码"), required=True, most=32),
        SheetColumn("name", N_("名称"), required=True),
        SheetColumn("provider", N_("公司代码"), required=True, most=32, of="companies"),
        SheetColumn("arch", N_("架构"), CHOICE, True, choices=ARCHS),
        SheetColumn("zone", N_("网络区"), required=True, most=64),
        SheetColumn("xinchuang", N_("信创"), CellShape.YES),
        SheetColumn("adapter", N_("适配器"), required=True, most=32),
    ), ("code",)),
    WorkbookSheet("connections", N_("连接参数"), N_("每行一个参数。口令写它在哪里（file:/路径、env:<变量名>或 store:<名称>），不写口令本身。"), (
        SheetColumn("pool", N_("资源池编码"), required=True, most=32, of="pools"),
        SheetColumn("option", N_("参数"), required=True, most=64),
        SheetColumn("value", N_("值"), required=True, most=1000),
    ), ("pool", "option")),
    WorkbookSheet("capacity", N_("容量"), N_("资源池可分配的总量、预留和超分比；内存和存储以 GB 计。"), (
        SheetColumn("pool", N_("资源池编码"), required=True, most=32, of="pools"),
        SheetColumn("kind", N_("资源"), CHOICE, True, by_class=True),
        SheetColumn("total", N_("总量"), WHOLE, True),
        SheetColumn("reserved", N_("预留"), WHOLE),
        SheetColumn("ratio", N_("超分比"), NUMBER),
        SheetColumn("reason", N_("理由"), most=500),
    ), ("pool", "kind")),
    WorkbookSheet("catalogue", N_("服务目录"), N_("可以申请的条目；每件占用写在各资源列，内存和存储以 GB 计。"), (
        SheetColumn("code", N_("代码"), required=True, most=48),
        SheetColumn("name", N_("名称"), required=True, most=96),
        SheetColumn("name_en", N_("英文名称"), most=96),
        SheetColumn("service", N_("服务类型"), CHOICE, True, choices=SERVICES),
        SheetColumn("archs", N_("架构"), CellShape.CHOICES, True, choices=ITEM_ARCHS, hint=N_("多个用顿号或逗号分开")),
        SheetColumn("unit", N_("计费单位"), required=True, most=24),
        SheetColumn("delivery_days", N_("交付工作日"), WHOLE, True, least=1),
    ), ("code",), takes=True),
    WorkbookSheet("tariffs", N_("价目"), N_("每单位资源的单价（元）。"), (
        SheetColumn("kind", N_("资源"), CHOICE, True, by_class=True),
        SheetColumn("price", N_("单价"), NUMBER, True),
        SheetColumn("per", N_("计价时间"), CHOICE, True, choices=PER),
        SheetColumn("effective_from", N_("生效日期"), DATE, True),
        SheetColumn("arch", N_("架构"), CHOICE, choices=ARCHS),
        SheetColumn("provider", N_("公司代码"), most=32, of="companies"),
        SheetColumn("item", N_("目录条目代码"), most=48, of="catalogue"),
        SheetColumn("label", N_("标注"), most=32),
        SheetColumn("reason", N_("原因"), most=500),
    ), ("kind", "effective_from", "arch", "provider", "item")),
    WorkbookSheet("rules", N_("审批规则"), N_("一行一个步骤，同一代码的几行是一条规则；条件由 vcpu > 64 这样的比较用“且”或“或”连成，空即总是。"), (
        SheetColumn("code", N_("规则代码"), required=True, most=32),
        SheetColumn("name", N_("名称"), required=True, most=96),
        SheetColumn("condition", N_("条件"), most=1000),
        SheetColumn("step", N_("步骤"), CHOICE, True, choices=STEPS),
        SheetColumn("role", N_("办理角色"), CHOICE, True, choices=SIGNERS),
        SheetColumn("days", N_("工作日"), WHOLE, True, least=1),
        SheetColumn("priority", N_("优先级"), WHOLE),
        SheetColumn("effective_from", N_("生效日期"), DATE, True),
        SheetColumn("basis", N_("制定依据"), most=2000),
    ), ("code", "step")),
    WorkbookSheet("policy", N_("办案参数"), N_("现行策略的办案期限和上限；只写要改的。"), (
        SheetColumn("parameter", N_("参数"), CHOICE, True, choices=PROCEDURE),
        SheetColumn("value", N_("值"), NUMBER, True),
        SheetColumn("effective_from", N_("生效日期"), DATE, True),
        SheetColumn("reason", N_("理由"), required=True, most=500),
    ), ("parameter",)),
    WorkbookSheet("calendar", N_("日历"), N_("与国家公布的放假安排不同、或还没有公布的日子。"), (
        SheetColumn("day", N_("日期"), DATE, True),
        SheetColumn("working", N_("上班"), CellShape.YES, True),
        SheetColumn("note", N_("说明")),
    ), ("day",)),
)  # fmt: skip
BY_NAME = {one.name: one for one in SHEETS}
SIGNED_STEPS = {name.value for name in SIGNED}
