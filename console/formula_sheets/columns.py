"""The sheets of a formula and their columns. Those of items name the measures that a city may choose; what is left empty is the
indicator's own."""

from __future__ import annotations

from console.workbooks import CellShape, SheetColumn, WorkbookSheet
from providers.assessment import GRADE_LABELS, ROLE_LABELS, SUBJECT_LABELS, CriterionRole, arithmetic
from quota.errors import N_

NUMBER, WHOLE, CHOICE = CellShape.NUMBER, CellShape.WHOLE, CellShape.CHOICE

GRADES = {label: grade.value for grade, label in GRADE_LABELS.items()}
MEASURES = {**{one.label: one.name for one in arithmetic.TYPED}, N_("人工评分"): "by_hand"}
ROLES = {ROLE_LABELS[role]: role.value for role in CriterionRole}
LENGTHS = {N_("月"): "month", N_("季"): "quarter"}
INCIDENT, TICKET = "incidents", "tickets"
CLOCKS = {N_("故障"): INCIDENT, N_("运维请求"): TICKET}

FORMULA = WorkbookSheet(
    "formula", N_("公式"), N_("一行：这是哪个公式、适用于谁、各种天数和年度构成；空着的按系统默认"),
    (
        SheetColumn("code", N_("代码"), required=True, most=32, hint=N_("小写字母开头，如 city；同一代码的下一版接着编号")),
        SheetColumn("name", N_("名称"), required=True, most=96),
        SheetColumn("basis", N_("依据"), most=400),
        SheetColumn("subject", N_("被考核方"), CHOICE, choices={label: kind.value for kind, label in SUBJECT_LABELS.items()}),
        SheetColumn("provider", N_("只适用于公司"), most=32, hint=N_("公司代码；空着为全部")),
        SheetColumn("contract", N_("只适用于合同"), most=64, hint=N_("合同号，或合同号/标段")),
        SheetColumn("effective_from", N_("自何日起"), CellShape.DATE),
        SheetColumn("ends", N_("终止"), CellShape.YES, hint=N_("是：自生效日起不再有这个公式")),
        SheetColumn("least", N_("评总分的最低权重"), NUMBER),
        SheetColumn("month", N_("月度占年度"), NUMBER, hint=N_("0 到 1，三项合计为 1")),
        SheetColumn("quarter", N_("季度占年度"), NUMBER),
        SheetColumn("year_end", N_("年终评审占年度"), NUMBER),
        SheetColumn("publicity", N_("公示工作日"), WHOLE),
        SheetColumn("ruling", N_("裁定工作日"), WHOLE),
        SheetColumn("announced_days", N_("维护提前公告工作日"), WHOLE),
        SheetColumn("confirm_days", N_("运维请求确认工作日"), WHOLE),
    ),
)  # fmt: skip
ITEMS = WorkbookSheet(
    "items", N_("指标"), N_("一行一项：系统已有的指标写它的代码；人工评分和自定义的项目另取代码并写明名称"),
    (
        SheetColumn("indicator", N_("指标代码"), required=True, most=16),
        SheetColumn("weight", N_("权重"), NUMBER, required=True),
        SheetColumn("measure", N_("算法"), CHOICE, choices=MEASURES, hint=N_("空着为这个指标自己的算法")),
        SheetColumn("label", N_("指标名称"), most=60),
        SheetColumn("evidence", N_("依据指标"), most=16, hint=N_("自定义的项目：按哪个指标的依据计算")),
        SheetColumn("role", N_("作用"), CHOICE, choices=ROLES),
        SheetColumn("explanation", N_("说明"), most=400),
    ),
    key=("indicator",),
)  # fmt: skip
NUMBERS = WorkbookSheet(
    "numbers", N_("评分标准"), N_("各指标的参数，一行一个；没有写的按系统默认"),
    (
        SheetColumn("indicator", N_("指标代码"), required=True, most=16),
        SheetColumn("name", N_("参数"), required=True, most=60),
        SheetColumn("value", N_("值"), required=True, most=400, hint=N_("占比写作 0 到 1 的小数；几个代码以顿号分开")),
    ),
    key=("indicator", "name"),
)  # fmt: skip
BANDS = WorkbookSheet(
    "grades", N_("等次"), N_("从优到劣；不合格没有下限。付费比例要么每个等次都写，要么都不写"),
    (
        SheetColumn("grade", N_("等次"), CHOICE, required=True, choices=GRADES),
        SheetColumn("floor", N_("总分不低于"), NUMBER),
        SheetColumn("payment", N_("付费比例"), NUMBER, hint=N_("百分之几")),
        SheetColumn("name", N_("本市名称"), most=20),
    ),
    key=("grade",),
)  # fmt: skip
VETOES = WorkbookSheet(
    "vetoes", N_("一票否决"), N_("系统已有的否决事项只写代码，自定义的写明名称"),
    (SheetColumn("code", N_("代码"), required=True, most=16), SheetColumn("label", N_("名称"), most=60)),
    key=("code",),
)  # fmt: skip
TIMES = WorkbookSheet(
    "times", N_("时限"), N_("故障和运维请求各四级；每个时限写分钟或工作日之一"),
    (
        SheetColumn("clock", N_("哪一种"), CHOICE, required=True, choices=CLOCKS),
        SheetColumn("level", N_("级别"), WHOLE, required=True, least=1),
        SheetColumn("respond_minutes", N_("响应分钟"), WHOLE),
        SheetColumn("respond_days", N_("响应工作日"), WHOLE),
        SheetColumn("end_minutes", N_("恢复或解决分钟"), WHOLE),
        SheetColumn("end_days", N_("恢复或解决工作日"), WHOLE),
    ),
    key=("clock", "level"),
)  # fmt: skip
CONSEQUENCES = WorkbookSheet(
    "consequences", N_("后果"), N_("几期达到某等次或更差时怎样"),
    (
        SheetColumn("grade", N_("等次"), CHOICE, required=True, choices=GRADES),
        SheetColumn("times", N_("几次"), WHOLE, required=True, least=1),
        SheetColumn("length", N_("周期"), CHOICE, required=True, choices=LENGTHS),
        SheetColumn("running", N_("连续"), CellShape.YES),
        SheetColumn("text", N_("后果"), required=True, most=200),
    ),
)  # fmt: skip
SHEETS = (FORMULA, ITEMS, NUMBERS, BANDS, VETOES, TIMES, CONSEQUENCES)
