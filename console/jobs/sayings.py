"""What a run of a job says of itself: kept as codes with figures, put into the reader's words when it is shown.

A run says one thing or several (``Said``); the book keeps them as ``[code, figures]``, so that the page reads in every
language and an old run reads as well as a new one. What a library or a cloud said of a fault stands as it was said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from console.words import STATES, _, sentence
from metering.cases import SKIPS, surges
from metering.scale_outs import settling
from quota.errors import N_, Refused

NOTHING = N_("没有要办的")

WORDS: Mapping[str, str] = {
    "lost": N_("进程中断,未报告结果"),
    "error": N_("出错：%(error)s"),
    "error_at": N_("%(at)s 出错：%(error)s"),
    "error_of_case": N_("案件%(case)s出错：%(error)s"),
    "refused": N_("未办：%(why)s"),
    "refused_at": N_("%(at)s 未办：%(why)s"),
    "refused_of_case": N_("案件%(case)s未办：%(why)s"),
    "refused_of_request": N_("申请%(request)s未办：%(why)s"),
    "refused_of_card": N_("考核评分 %(card)s 未评：%(why)s"),
    "collected": N_("%(at)s 采样 %(samples)s 条"),
    "held": N_("%(at)s 的清单缺%(machines)s台（现有%(standing)s台），未认定消失，等待核实"),
    "fed": N_("%(at)s 采到用量 %(samples)s 条"),
    "folded": N_("%(at)s 收到 %(points)s 点，入湖采样 %(samples)s 条"),
    "probed": N_("测试连接 %(n)s 个，其中不通 %(failed)s 个"),
    "rolled": N_("日结 %(days)s 天"),
    "late_figures": N_("月结后更正 %(figures)s 项"),
    "compacted": N_("合并热文件 %(files)s 个"),
    "archived": N_("归档 %(runs)s 次评估的 %(findings)s 条结论"),
    "retained": N_("删除到期文件 %(files)s 个；采样保存自 %(days)s，小时数据保存自 %(hours)s"),
    "judged": N_("%(verdict)s %(resources)s 项"),
    "forecast": N_("预测 %(forecasts)s 条"),
    "effects": N_("核算策略成效 %(days)s 天"),
    "opened": N_("立案 %(cases)s 件"),
    "surplus": N_("冗余提醒 %(reminded)s 个单位，了结 %(ended)s 个"),
    "opened_terms": N_("使用期满立案 %(cases)s 件"),
    "outages_presumed": N_("久未再报、按最后一次所报认定结束的监测告警 %(n)s 条"),
    "terms_asked": N_("使用期满征询资源 %(n)s 项"),
    "deliveries_asked": N_("交付后使用情况征询资源 %(n)s 项"),
    "supervised": N_("监管预警 %(opened)s 项、了结 %(closed)s 项"),
    "surveys_moved": N_("满意度调查开始 %(opened)s 项、截止 %(closed)s 项"),
    "migrations_asked": N_("迁移切换征询 %(n)s 项"),
    "skipped": N_("%(skip)s,略过 %(resources)s 项"),
    "looked": N_("看到 %(machines)s 台云主机的最近一小时，%(over)s 台达到当日扩容条件"),
    "surge_begun": N_("按常备授权扩容 %(n)s 台"),
    "surge_raised": N_("仍不够用,再次扩容 %(n)s 台"),
    "surge_proposed": N_("通知使用单位 %(n)s 件"),
    "surge_prolonged": N_("仍然饱和，延长 %(n)s 件"),
    "surge_blind": N_("到时而数据不足，保持现规格 %(n)s 件"),
    "surge_calm": N_("已不饱和，归还 %(n)s 件"),
    "surge_asked": N_("到时仍饱和，待定 %(n)s 件"),
    "scale_out_ordered": N_("同构组增加云主机 %(n)s 台"),
    "scale_out_proposed": N_("征询同构组增加云主机 %(n)s 台"),
    "scale_out_calm": N_("同构组可减少云主机 %(n)s 台"),
    "scale_out_closed": N_("答复前已不繁忙，了结 %(n)s 件"),
    "surge_closed": N_("资源已变化，结案 %(n)s 件"),
    "under_way": N_("%(at)s 仍在进行"),
    "carried": N_("下单 %(placed)s，交付 %(delivered)s，办理中 %(pending)s，失败 %(failed)s"),
    "tickets_filed": N_("按批准的申请提出运维请求 %(n)s 件"),
    "steps_fallen": N_("承办人已不在岗的审批步骤，通知 %(n)s 件"),
    "tickets_asked": N_("使用期满征询单位 %(n)s 件，已延期不再征询 %(kept)s 件"),
    "kept_back": N_("其中按上限或试算暂不执行 %(n)s"),
    "settled": N_("记入执行结果 %(n)s 件"),
    "given_back": N_("临时扩容期满恢复原规格 %(n)s 件"),
    "reminded": N_("提醒答复 %(n)s 件"),
    "escalated": N_("逾期升级 %(n)s 件"),
    "consented": N_("逾期视为同意 %(n)s 件"),
    "moved": N_("推进 %(n)s 件"),
    "closed": N_("结案 %(n)s 件"),
    "exemptions_ended": N_("豁免到期 %(n)s 项"),
    "suspended": N_("暂停策略 %(n)s 版"),
    "accounted": N_("新故障 %(incidents)s 起，新账单 %(bills)s 份"),
    "scored": N_("评分 %(cards)s 份"),
    "card": N_("%(period)s 得 %(total)s 分"),
    "unscored": N_("%(period)s 证据不足，不评总分"),
    "urged": N_("催办 %(limits)s 件，使用期将满提醒 %(ends)s 件"),
    "inquired": N_("提醒答复征询 %(near)s 件，逾期 %(over)s 件"),
    "swept": N_("征询中已另行办理或资源已不存在 %(n)s 项"),
    "expired": N_("预占到期 %(lapsed)s 件，视为验收 %(accepted)s 件，改正期限 %(redated)s 项"),
    "allocations_ended": N_("到期额度 %(n)s 笔，其中仍在占用 %(used)s 笔"),
    "promises_kept": N_("远期承诺落实 %(n)s 项，转为配额 %(given)s 项"),
    "allocations_near": N_("提醒 %(n)s 笔额度将到期"),
    "offers_lapsed": N_("%(n)s 项挂牌到期"),
    "year_granted": N_("%(year)s 年度配额已授予"),
    "returned": N_("出借到期 %(loans)s 笔，其中仍在占用 %(late)s 笔"),
    "replayed": N_("回测 %(replays)s 次"),
    "reported": N_("出%(period)s运营报告 %(n)s 份"),
    "refused_of_report": N_("运营报告 %(report)s 未出：%(why)s"),
    "reckoned": N_("%(month)s 对账单第%(revision)s版，%(lines)s 行；四方不一致 %(differing)s 项"),
    "mailed": N_("写信 %(made)s 封，寄出 %(sent)s 封，待寄 %(waiting)s 封"),
    "no_mail": N_("没有设置邮件服务器"),
    "backed_up": N_("已备份 %(point)s：文件 %(files)s 个，新存 %(stored)s 字节"),
    "anchored": N_("生成锚点 %(number)s"),
    "published": N_("送出锚点 %(sent)s 份,待送 %(waiting)s 份"),
    "unpublished": N_("锚点未送达 %(place)s"),
    "backup_not_due": N_("未到下次备份时间"),
    "no_backup_place": N_("没有设置备份位置"),
    "handed_on": N_("%(at)s 送出 %(records)s 条"),
    "trail_gap": N_("%(at)s 发现审计链中断 %(n)s 处"),
    "rechecked": N_("%(at)s 核对 %(asked)s 人，已不在目录 %(gone)s 人，权限有变 %(changed)s 人"),
    "recheck_less_doubted": N_(
        "%(at)s 称 %(asked)s 人中 %(gone)s 人已不在目录、%(less)s 人不再符合现有角色，未予采信，请核对目录属性、身份规则与查询账号的权限"
    ),
    "recheck_doubted": N_("%(at)s 称 %(asked)s 人中 %(gone)s 人已不在目录，未予采信，请核对人员目录与查询账号的权限"),
    "verified": N_("全部相符；审计链首 %(head)s"),
    "unfit": N_("发现 %(n)s 处不符"),
    "unfit_at": "%(place)s",
}
"""Code → words. ``verdict`` and ``skip`` are codes with words of their own."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing: a code of WORDS with its figures. ``figures`` hold what JSON holds."""

    code: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> list[Any]:
        return [self.code, dict(self.figures)]


class Unsuccessful(Exception):
    """A run that did not do its work says why, as it would have said what it did."""

    def __init__(self, *said: Said) -> None:
        super().__init__("; ".join(f"{one.code} {dict(one.figures)}" for one in said))
        self.said = said


def say(code: str, **figures: Any) -> Said:
    """``Said`` with dates and decimals as JSON holds them. Raises KeyError for a code without words."""
    WORDS[code]
    return Said(code, {name: _kept(value) for name, value in figures.items()})


def fault(error: BaseException, **where: Any) -> Said:
    """What stood in the way: a refusal with its own sentence, else what was raised. ``where``: one of at, case, request, card, report."""
    place = "".join("_at" if name == "at" else f"_of_{name}" for name in where)
    where = {name: str(one) for name, one in where.items()}  # a number of a case has no thousands
    if isinstance(error, Refused):
        params = {name: _kept(value) for name, value in error.params.items()}
        return say(f"refused{place}", **where, why={"message": error.message, "params": params})
    return say(f"error{place}", **where, error=f"{type(error).__name__}: {error}")


def of_error(error: BaseException) -> list[Said]:
    """How a run that raised ``error`` ended."""
    return list(error.said) if isinstance(error, Unsuccessful) else [fault(error)]


def worded(kept: Iterable[Any]) -> str:
    """What a run said, in the reader's words, ``;`` between. What only counts nothing is not said."""
    told = [_worded(str(code), figures) for code, figures in kept if not figures or any(map(_tells, figures.values()))]
    return _("；").join(told) or _(NOTHING)


def _tells(figure: Any) -> bool:
    return figure != 0 or isinstance(figure, bool)


def _worded(code: str, figures: Mapping[str, Any]) -> str:
    message = WORDS.get(code)
    if message is None:  # said by another release than this one
        return " ".join([code, *(f"{name}={value}" for name, value in figures.items())])
    return sentence(message, {name: _shown(name, value) for name, value in figures.items()})


def _shown(name: str, value: Any) -> Any:
    if name == "verdict":
        return STATES[value].label if value in STATES else value
    if name == "skip":
        return {**settling.SKIPS, **surges.SKIPS, **SKIPS}.get(value, value)
    if isinstance(value, Mapping):  # a refusal's own sentence
        return sentence(value["message"], value["params"])
    return value


def _kept(value: Any) -> Any:
    """A figure as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(name): _kept(one) for name, one in value.items()}
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
