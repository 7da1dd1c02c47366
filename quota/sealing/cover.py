"""What is under seal: every table of the house but those named here, every column of them but those named here.

A new table is under seal without a word. One that is not to be is named with its reason, which the page of verifications
shows.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Table

from quota.base import Base
from quota.errors import N_

_CHAIN = N_("印鉴链自身,整条重算")
_TELLING = N_("云侧所报,每次采集重新写入")
_MADE_ANEW = N_("由账本与数据湖算出,随时可以重算")
_COUNTED = N_("推送源逐次累加的计数,只作线索")
_RUNNING = N_("后台任务的进度,不是账")
_WAITING = N_("暂存,办结或过期即删")

ELSEWHERE: Mapping[str, str] = {
    "audit_records": N_("审计链自身,逐条相连"),
    "audit_head": N_("审计链自身,逐条相连"),
    "seal_head": _CHAIN,
    "sealings": _CHAIN,
    "row_seals": _CHAIN,
    "seal_layouts": _CHAIN,
    "entries": N_("账户的摘要逐笔相连,账户在封存之列"),
    "findings": N_("评估的摘要覆盖全部结论,评估在封存之列"),
    "statement_lines": N_("对账单的摘要覆盖全部明细,对账单在封存之列"),
    "bill_lines": N_("账单的摘要覆盖全部明细,账单在封存之列"),
    "file_contents": N_("内容的主键就是它的摘要"),
}
"""Table → the other seal that its rows are under, which a check of their own recomputes."""

UNSEALED: Mapping[str, str] = {
    "job_runs": _RUNNING,
    "verification_runs": N_("校验结果的摘要记入审计链"),
    "policy_replays": _MADE_ANEW,
    "kept_forecasts": _MADE_ANEW,
    "policy_days": _MADE_ANEW,
    "measured_uses": _MADE_ANEW,
    "judged_wholes": _MADE_ANEW,
    "known_figures": _MADE_ANEW,
    "coverage_days": _MADE_ANEW,
    "measured_visits": _MADE_ANEW,
    "system_visits": _COUNTED,
    "visit_series": _COUNTED,
    "awaited_cases": _MADE_ANEW,
    "quota_drifts": _MADE_ANEW,
    "search_entries": _MADE_ANEW,
    "cloud_book_readings": _TELLING,
    "cloud_capacities": _TELLING,
    "cloud_quotas": _TELLING,
    "intakes": _RUNNING,
    "feed_readings": _TELLING,
    "feed_names": _TELLING,
    "sample_refusals": N_("采样拒收的计数,只用于排查"),
    "probes": _RUNNING,
    "endpoint_days": N_("每次探测累加的可用时间,只供查看;故障另有记录,在封存之列"),
    "backup_runs": _RUNNING,
    "anchor_publications": N_("锚点的去向只作提示,以送出的副本为准"),
    "audit_exports": N_("外送到哪里的进度；送出的记录自带印鉴，中断记入审计链"),
    "sign_ins": N_("登录会话,随点击改写;登录与登出记入审计链"),
    "identity_sessions": N_("经身份源的登录会话;登录与登出记入审计链"),
    "used_marks": N_("登录途中的一次性标记,过时即删"),
    "api_key_uses": N_("接口重复提交的应答,过时即删"),
    "try_counters": N_("登录尝试的计数,过时即删"),
    "staged_files": _WAITING,
    "held_sheets": _WAITING,
    "mails": N_("邮件只提醒有事待办,期限不以它为准"),
    "mail_items": N_("邮件只提醒有事待办,期限不以它为准"),
}
"""Table → why nobody would be wronged by a change of its rows."""

_SIGHTINGS = N_("每次采集改写的时刻")

PASSING: Mapping[str, tuple[frozenset[str], str]] = {
    "people": (frozenset({"last_login_at"}), N_("每次登录改写的时刻")),
    "identity_links": (frozenset({"seen_at"}), N_("每次登录改写的时刻")),
    "api_tokens": (frozenset({"used_at", "used_from"}), N_("每次使用改写的时刻与来处")),
    "resources": (frozenset({"last_seen_at", "first_sample_at", "last_sample_at"}), _SIGHTINGS),
    "cloud_projects": (frozenset({"last_seen_at"}), _SIGHTINGS),
    "push_sources": (frozenset({"last_point_at", "points", "ignored", "refused"}), _SIGHTINGS),
    "outage_signals": (frozenset({"last_heard_at"}), _SIGHTINGS),
    "probe_endpoints": (frozenset({"probed_ms", "up", "down_ms", "failed"}), N_("每次探测改写的状态")),
    "feeds": (
        frozenset(
            {
                "collected_until", "collected_at", "succeeded_at", "newest_at", "samples", "seen", "due", "coverage",
                "skew_s", "unknown", "notes", "fault", "fault_said", "fault_at", "trial_asked_at", "trial_at", "trial",
                "withheld", "read_again_on", "second",
            }
        ),
        _SIGHTINGS,
    ),
}  # fmt: skip
"""Table under seal → its columns that are not, and why."""


def sealed(table: Table) -> bool:
    """Whether rows of ``table`` are under seal."""
    return table.metadata is Base.metadata and table.name not in ELSEWHERE and table.name not in UNSEALED


def under_seal() -> list[Table]:
    """The tables under seal, by name."""
    return sorted((one for one in Base.metadata.tables.values() if sealed(one)), key=lambda one: one.name)


def columns(table: Table) -> list[Column[object]]:
    """The columns under seal of a table that is, by name."""
    passing = PASSING[table.name][0] if table.name in PASSING else frozenset()
    return sorted((one for one in table.columns if one.name not in passing), key=lambda one: one.name)
