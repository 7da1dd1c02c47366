"""The timetable: which jobs there are, when each is due, and in which lane it waits its turn."""

from __future__ import annotations

from datetime import timedelta

from console.jobs.runs import Plan
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
}
"""What may wait for each other. The lake's jobs of a night build on one another, in this order; whatever people, clouds
or agents wait for has a lane of its own."""


PLAN = (
    Plan("collect", N_("采集"), "*/5 * * * *", "clouds", lease=timedelta(minutes=30)),
    Plan("feeds", N_("用量采集"), "*/5 * * * *", "feeds", lease=timedelta(minutes=30), attempts=1),
    Plan("fold", N_("推送入湖"), "* * * * *", "push", lease=timedelta(minutes=30)),
    Plan("probe", N_("连接测试"), "* * * * *", "probe", lease=timedelta(minutes=15), attempts=1),
    Plan("carry", N_("派单与交付"), "*/2 * * * *", "orders", lease=timedelta(minutes=30)),
    Plan("advance", N_("案件推进"), "*/10 * * * *", "book", lease=timedelta(minutes=30)),
    Plan("look", N_("当日扩容查看"), "6,21,36,51 * * * *", "growth", lease=timedelta(minutes=30)),
    Plan("account", N_("账单与故障采集"), "15 4 * * *", "score", lease=timedelta(hours=2)),
    Plan("score", N_("考核评分"), "0 6 * * *", "score", lease=timedelta(hours=2)),
    Plan("roll", N_("日结"), "20 0 * * *", "lake", lease=timedelta(hours=4)),
    Plan("compact", N_("合并热文件"), "35 * * * *", "lake", lease=timedelta(hours=1)),
    Plan("retain", N_("到期清理"), "40 1 * * *", "lake", lease=timedelta(hours=4)),
    Plan("assess", N_("评估"), "30 2 * * *", "lake", lease=timedelta(hours=4)),
    Plan("forecast", N_("用量预测"), "10 3 * * *", "lake", lease=timedelta(hours=2)),
    Plan("open_cases", N_("立案"), "30 3 * * *", "lake"),
    Plan("replay", N_("策略回测"), "* * * * *", "replay", lease=timedelta(hours=2), attempts=1),
    Plan("statements", N_("对账"), "40 4 1,4,8 * *", "lake", lease=timedelta(hours=4)),
    Plan("remind", N_("催办提醒"), "0 8 * * *", "book"),
    Plan("settle", N_("出借归还"), "*/10 * * * *", "book"),
    Plan("expire", N_("到期处理"), "15 * * * *", "book"),
    Plan("mail", N_("邮件"), "* * * * *", "mail", lease=timedelta(minutes=30), attempts=1),
    Plan("verify", N_("校验"), "0 5 * * *", "verify", lease=timedelta(hours=4), attempts=1),
    Plan("verify_asked", N_("按要求校验"), "* * * * *", "verify", lease=timedelta(hours=4), attempts=1),
)
