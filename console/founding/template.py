"""The founding workbook to fill in: whole with a small example city, or blank."""

from __future__ import annotations

from pathlib import Path

from console import workbooks
from console.founding.examples import CITY
from console.founding.sheets import SHEETS
from console.workbooks import SheetColumn
from providers import registry
from quota.errors import N_

LINES = (
    N_("《管家》筹建工作簿"),
    N_("每个表一类内容，第一行是列名，带 * 的必填；鼠标停在列名上有说明。只填要登记或要改的行。"),
    N_("空表可以不填。再次导入同一工作簿不改变任何东西；以后的工作簿只增加新的、改变不同的。"),
    N_("有任何一处错误，全部都不登记，并逐一指出表、行、列和原因。"),
    N_(
        "口令不写在这里：连接参数里写口令在哪里（file:/路径、env:<变量名>或 store:<名称>）。人员的初始密码录入后写成文件。"
    ),
)
EXAMPLE = N_("【示例】本工作簿中的城市、公司、人员、编号都是示例，请换成本市的；不要的行整行删除。")


def write(path: Path, *, blank: bool = False, demo: bool = False) -> None:
    """Write the workbook to ``path``; without rows where ``blank``. ``demo``: whether made-up clouds may be chosen."""

    def offered(column: SheetColumn) -> list[str]:
        return registry.offered(demo=demo) if column.key == "adapter" else workbooks.options(column)

    lines = (*LINES, *(() if blank else (EXAMPLE,)))
    workbooks.write(path, lines, SHEETS, {} if blank else CITY, offered)
