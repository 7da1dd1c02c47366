"""The timetable: which jobs there are, when each is due, and in which lane it waits its turn."""

from __future__ import annotations

from datetime import timedelta

from console.jobs.runs import JobPlan
from quota.errors import N_

LANES = {
    "clouds": N_("采集"),
    "feeds": N_("用量采集"),
    "push": N_("推送"),
    "probe": N_("连接测试"),
    "orders": N_("派单"),
    "growth": N_("当日扩容"),
    "book": N_("账本"),
    "mail": N_("邮件"),
    "lake": N_("数据湖"),
    "score": N_("考核"),
    "replay": N_("策略回测"),
    "verify": N_("校验"),
    "backup": N_("备份"),
    "anchor": N_("锚点"),
    "trail": N_("审计外送"),
    "identity": N_("身份核对"),
}
"""What may wait for each other. The lake's jobs of a night build on one another, in this order; whatever people, clouds
or agents wait for has a lane of its own."""


PLAN = (
    JobPlan("collect", N_("采集"), "*/5 * * * *", "clouds", lease=timedelta(minutes=30)),
    JobPlan("feeds", N_("用量采集"), "*/5 * * * *", "feeds", lease=timedelta(minutes=30), attempts=1),
    JobPlan("fold", N_("推送入湖"), "* * * * *", "push", lease=timedelta(minutes=30)),
    JobPlan("probe", N_("连接测试"), "* * * * *", "probe", lease=timedelta(minutes=15), attempts=1),
    JobPlan("carry", N_("派单与交付"), "* * * * *", "orders", lease=timedelta(minutes=30)),
    JobPlan("advance", N_("案件推进"), "*/10 * * * *", "book", lease=timedelta(minutes=30)),
    JobPlan("look", N_("当日扩容查看"), "1-59/5 * * * *", "growth", lease=timedelta(minutes=30)),
    JobPlan("account", N_("账单与故障采集"), "15 4 * * *", "score", lease=timedelta(hours=2)),
    JobPlan("score", N_("考核评分"), "0 6 * * *", "score", lease=timedelta(hours=2)),
    JobPlan("roll", N_("日结"), "20 0 * * *", "lake", lease=timedelta(hours=4)),
    JobPlan("compact", N_("合并热文件"), "35 * * * *", "lake", lease=timedelta(hours=1)),
    JobPlan("retain", N_("到期清理"), "40 1 * * *", "lake", lease=timedelta(hours=4)),
    JobPlan("assess", N_("评估"), "30 2 * * *", "lake", lease=timedelta(hours=4)),
    JobPlan("forecast", N_("用量预测"), "10 3 * * *", "lake", lease=timedelta(hours=2)),
    JobPlan("effects", N_("策略成效"), "20 3 * * *", "lake", lease=timedelta(hours=2)),
    JobPlan("open_cases", N_("立案"), "30 3 * * *", "lake"),
    JobPlan("replay", N_("策略回测"), "* * * * *", "replay", lease=timedelta(hours=2), attempts=1),
    JobPlan("statements", N_("对账"), "40 4 1,4,8 * *", "lake", lease=timedelta(hours=4)),
    JobPlan("reports", N_("运营报告"), "30 6 9 * *", "lake", lease=timedelta(hours=4)),
    JobPlan("remind", N_("催办提醒"), "0 8 * * *", "book"),
    JobPlan("settle", N_("出借与到期额度归还"), "*/10 * * * *", "book"),
    JobPlan("expire", N_("到期处理"), "15 * * * *", "book"),
    JobPlan("supervise", N_("监管预警"), "50 * * * *", "book"),
    JobPlan("mail", N_("邮件"), "* * * * *", "mail", lease=timedelta(minutes=30), attempts=1),
    JobPlan("verify", N_("校验"), "0 5 * * *", "verify", lease=timedelta(hours=4), attempts=1),
    JobPlan("anchor", N_("锚点"), "8,23,38,53 * * * *", "anchor", lease=timedelta(minutes=15), attempts=1),
    JobPlan("backup", N_("备份"), "50 * * * *", "backup", lease=timedelta(hours=12), attempts=2),
    JobPlan("trail", N_("审计外送"), "*/10 * * * *", "trail", lease=timedelta(minutes=30), attempts=1),
    JobPlan("identities", N_("身份核对"), "4,19,34,49 * * * *", "identity", lease=timedelta(minutes=15), attempts=1),
    JobPlan("verify_asked", N_("按要求校验"), "* * * * *", "verify", lease=timedelta(hours=4), attempts=1),
)
