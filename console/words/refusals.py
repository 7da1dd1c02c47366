"""Why something that agents delivered was refused, or what is to be known about it, in words that say what to do."""

from __future__ import annotations

from collections.abc import Mapping

from console.words.texts import _
from quota.errors import N_

WORDS: Mapping[str, str] = {
    "resource.unknown": N_("资源台账中没有这台机器：核对资源标签的值，或先同步台账"),
    "system.source": N_("该推送源未登记为可报信息系统的登录与访问"),
    "system.unknown": N_("没有这个编码的信息系统"),
    "series.unnamed": N_("序列中没有登记的资源标签"),
    "series.malformed": N_("序列的标签不完整，无法读取"),
    "series.long": N_("一个序列的标签超过16 KiB：请去掉过长的标签"),
    "series.many": N_("一台机器的序列超过两万个：标签中有每次都不同的值，请去掉它"),
    "unit.unknown": N_("标明的单位与指标不符，数值含义不明：请按指标名称的单位发送"),
    "unit.fraction": N_("以百分数命名的读数全都不到1，看来是0到1的比例：已扣下不用，请改发百分数"),
    "unit.fraction?": N_("CPU百分数全都不到1：若是0到1的比例，请改发百分数；若确实空闲，无须处理"),
    "value.absurd": N_("数值为负或无穷大"),
    "value.share": N_("比例大于1：请发0到1的比例，或以百分号为单位"),
    "ts.future": N_("时间超前10分钟以上：核对发送端的时钟"),
    "ts.old": N_("时间早于7天以前：请以文件导入"),
    "ts.back": N_("较早的时间却有较大的计数：发送端的时钟被拨回，这段时间不采用"),
    "interval.long": N_(
        "发送间隔超过15分钟：计数器的增量不能分摊到5分钟时段，这些时段没有数据；请把间隔调到15分钟以内"
    ),
    "counter.fell": N_("计数器变小，又不像清零：这一段增量不明，不采用"),
    "counter.jump": N_("计数器跳升，超出机器或线路所能：这一段增量不采用"),
    "card.per_cent": N_(
        "DCGM_FI_DEV_GPU_UTIL_RATIO一天内大于1，是百分数而不是0到1的比例：加速卡使用率不采用，请改用DCGM_FI_DEV_GPU_UTIL或升级DCGM"
    ),
    "card.unsure": N_(
        "DCGM_FI_DEV_GPU_UTIL_RATIO为1，一天内没有0与1之间的读数，分不清是百分之一还是满载：有这样的读数之前，加速卡使用率不采用"
    ),
    "cpu.partial": N_("各CPU时间之和与经过的时间不符：有状态没有发送，或重复发送；CPU使用率不采用"),
    "cpu.starved": N_("机器所需的CPU有一成以上没有得到（被宿主机抢占），以5分钟时段计：供方供给不足，不算空闲"),
    "memory.above": N_("已用内存超过内存总量：核对台账规格，或让发送端报送总量"),
    "temporality.delta": N_("增量型的和不能累计：请让发送端改用累计型（cumulative）"),
    "kind.histogram": N_("不采用直方图"),
    "kind.exponential_histogram": N_("不采用直方图"),
    "kind.summary": N_("不采用摘要"),
    "metric.empty": N_("指标中没有数据"),
    "probe.twice": N_("几条序列说的是同一个探测目标：请用筛选只留一个探测模块"),
    "row:future": N_("时间超前：核对发送端的时钟"),
    "row:ts": N_("时间无法采用"),
    "row:retained": N_("该日采样已按期删除"),
}

OF_VALUES: Mapping[str, str] = {
    "negative": N_("%(metric)s为负"),
    "absurd": N_("%(metric)s超出合理范围"),
}


def words(reason: str) -> str:
    """The sentence of a reason; a reason of another kind as it is."""
    metric, _colon, what = reason.partition(":")
    if reason in WORDS:
        return _(WORDS[reason])
    return _(OF_VALUES[what], metric=metric) if what in OF_VALUES else reason
