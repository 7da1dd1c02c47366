"""States by word, icon and tone: one table, so that a state looks the same wherever it is shown.

Tones: quiet (nothing to do), wait (somebody's turn), attention (mend something), good, bad, busy (under way).
"""

from __future__ import annotations

from dataclasses import dataclass

from metering.cases import STATE_LABELS as CASE_STATES
from quota.errors import N_


@dataclass(frozen=True, slots=True)
class State:
    label: str
    icon: str  # an id in static/icons.svg
    tone: str


STATES: dict[str, State] = {
    # requests and orders
    "draft": State(N_("草稿"), "pencil", "quiet"),
    "submitted": State(N_("待审"), "hourglass", "wait"),
    "pending": State(N_("待审"), "hourglass", "wait"),
    "in_review": State(N_("待审"), "hourglass", "wait"),
    "supplement": State(N_("待补正"), "arrow-back-up", "attention"),
    "accepting": State(N_("待验收"), "package", "wait"),
    "returned": State(N_("待补正"), "arrow-back-up", "attention"),
    "approved": State(N_("已通过"), "circle-check", "good"),
    "partly_approved": State(N_("部分通过"), "circle-check", "good"),
    "rejected": State(N_("已驳回"), "circle-x", "bad"),
    "delivering": State(N_("交付中"), "truck-delivery", "busy"),
    "delivered": State(N_("待验收"), "package", "wait"),
    "completed": State(N_("已完成"), "check", "good"),
    "done": State(N_("已完成"), "check", "good"),
    "withdrawn": State(N_("已撤回"), "corner-down-left", "quiet"),
    "overdue": State(N_("逾期"), "clock-exclamation", "bad"),
    "failed": State(N_("失败"), "alert-triangle", "bad"),
    "open": State(N_("待处理"), "hourglass", "wait"),
    "closed": State(N_("已关闭"), "check", "quiet"),
    "expired": State(N_("已过期"), "clock", "quiet"),
    "held": State(N_("预占中"), "lock", "busy"),
    "posted": State(N_("已入账"), "check", "good"),
    "voided": State(N_("已作废"), "ban", "quiet"),
    # tokens of programs
    "token_good": State(N_("有效"), "circle-check", "good"),
    "token_waiting": State(N_("待确认"), "hourglass", "wait"),
    "token_revoked": State(N_("已吊销"), "ban", "quiet"),
    "token_over": State(N_("已过期"), "clock", "quiet"),
    # runs of jobs
    "verified": State(N_("已验证"), "circle-check", "good"),
    "identity_differs": State(N_("权限待核对"), "alert-triangle", "attention"),
    "unverified": State(N_("未验证"), "question-mark", "attention"),
    "probe_good": State(N_("连通"), "plug", "good"),
    "probe_bad": State(N_("不通"), "plug-connected-x", "bad"),
    "probe_waiting": State(N_("待测试"), "hourglass", "busy"),
    "job_running": State(N_("运行中"), "player-play", "busy"),
    "job_done": State(N_("已完成"), "check", "good"),
    "job_failed": State(N_("失败"), "alert-triangle", "bad"),
    "job_lost": State(N_("中断"), "alert-triangle", "attention"),
    # listings that lacked a large part of their pool
    "listing_waits": State(N_("待核实"), "hourglass", "wait"),
    "listing_ended": State(N_("已核实消失"), "circle-check", "good"),
    "listing_kept": State(N_("清单有误"), "circle-x", "bad"),
    "listing_overtaken": State(N_("已被新清单取代"), "clock", "quiet"),
    "sheet_waits": State(N_("待对照"), "hourglass", "wait"),
    "short_waits": State(N_("待服务商答复"), "hourglass", "wait"),
    "short_answered": State(N_("服务商已答复"), "message-report", "attention"),
    "short_ended": State(N_("已恢复"), "check", "good"),
    "mapping_in_force": State(N_("在用"), "check", "good"),
    "mapping_ended": State(N_("已停用"), "ban", "quiet"),
    "mapping_superseded": State(N_("已被替代"), "history", "quiet"),
    "takeover_proposed": State(N_("待另一人确认"), "hourglass", "wait"),
    "takeover_booked": State(N_("已接管"), "circle-check", "good"),
    "takeover_withdrawn": State(N_("已撤回"), "corner-down-left", "quiet"),
    "campaign_open": State(N_("进行中"), "hourglass", "wait"),
    "campaign_late": State(N_("已到期"), "clock-exclamation", "attention"),
    "campaign_closed": State(N_("已结束"), "check", "quiet"),
    "inquiry_open": State(N_("待答复"), "hourglass", "wait"),
    "inquiry_late": State(N_("逾期"), "clock-exclamation", "bad"),
    "inquiry_answered": State(N_("已答复"), "check", "good"),
    "inquiry_withdrawn": State(N_("已撤回"), "corner-down-left", "quiet"),
    "company_ended": State(N_("已终止"), "ban", "quiet"),
    # mails
    "mail_waiting": State(N_("待发送"), "hourglass", "wait"),
    "mail_sent": State(N_("已发送"), "check", "good"),
    "mail_failed": State(N_("发送失败"), "alert-triangle", "bad"),
    # policies and their replays
    "policy_drafted": State(N_("草案"), "pencil", "wait"),
    "policy_enacted": State(N_("已启用"), "circle-check", "good"),
    "policy_withdrawn": State(N_("已撤回"), "corner-down-left", "quiet"),
    "policy_in_force": State(N_("现行"), "circle-check", "good"),
    "policy_coming": State(N_("将生效"), "clock", "wait"),
    "policy_superseded": State(N_("已被取代"), "history", "quiet"),
    "replay_waiting": State(N_("排队中"), "hourglass", "wait"),
    "replay_running": State(N_("运行中"), "player-play", "busy"),
    # findings
    "idle": State(N_("闲置"), "zzz", "attention"),
    "underused": State(N_("低效"), "trending-down", "attention"),
    "normal": State(N_("正常"), "check", "good"),
    "busy": State(N_("繁忙"), "trending-up", "busy"),
    "overloaded": State(N_("过载"), "flame", "bad"),
    "unknown": State(N_("数据不足"), "question-mark", "quiet"),
    "system_low": State(N_("利用率低"), "trending-down", "attention"),
    "system_high": State(N_("利用率高"), "trending-up", "busy"),
    "frozen": State(N_("读数冻结"), "snowflake", "attention"),
    "dead": State(N_("失联"), "snowflake", "attention"),
    "unattached": State(N_("未挂载"), "zzz", "attention"),
    "unjudged": State(N_("不评判"), "question-mark", "quiet"),
    # cases
    "detected": State(N_("已发现"), "search", "wait"),
    "reviewed": State(N_("已复核"), "clipboard-check", "wait"),
    "noticed": State(N_("待答复"), "mail", "wait"),
    "agreed": State(N_("已同意"), "thumb-up", "good"),
    "objected": State(N_("有异议"), "message-report", "attention"),
    "exempted": State(N_("已豁免"), "shield-check", "quiet"),
    "executing": State(N_("执行中"), "recycle", "busy"),
    "cancelled": State(N_("已取消"), "ban", "quiet"),
    # loans
    "loan_offered": State(N_("待接受"), "hourglass", "wait"),
    "loan_active": State(N_("在借"), "arrows-exchange", "busy"),
    "loan_recalled": State(N_("召回中"), "arrow-back-up", "attention"),
    "loan_overdue": State(N_("逾期未还"), "clock-exclamation", "bad"),
    "loan_returned": State(N_("已归还"), "check", "good"),
    "loan_declined": State(N_("已谢绝"), "x", "quiet"),
    "loan_withdrawn": State(N_("已撤回"), "corner-down-left", "quiet"),
    # resources
    "running": State(N_("运行中"), "player-play", "good"),
    "stopped": State(N_("已关机"), "player-stop", "quiet"),
    "recycled": State(N_("回收站"), "trash", "attention"),
    "deleted": State(N_("已删除"), "x", "quiet"),
    "error": State(N_("异常"), "alert-triangle", "bad"),
    "building": State(N_("创建中"), "hourglass", "busy"),
    "changing": State(N_("变更中"), "refresh", "busy"),
    # months and disputes over bills
    "month_open": State(N_("未月结"), "lock-open", "wait"),
    "month_closed": State(N_("已月结"), "lock", "good"),
    "dispute_open": State(N_("待主张"), "hourglass", "wait"),
    "dispute_claimed": State(N_("待服务商答复"), "message-report", "attention"),
    "dispute_answered": State(N_("待裁定"), "gavel", "wait"),
    "dispute_settled": State(N_("已了结"), "check", "good"),
    "dispute_lapsed": State(N_("已消除"), "ban", "quiet"),
    # catalogue, approval rules and the calendar
    "offered": State(N_("可申请"), "check", "good"),
    "retired": State(N_("已下架"), "ban", "quiet"),
    "class_open": State(N_("在用"), "check", "good"),
    "class_ended": State(N_("已停用"), "ban", "quiet"),
    "draft_drafted": State(N_("待签署"), "hourglass", "wait"),
    "draft_enacted": State(N_("已施行"), "check", "good"),
    "draft_withdrawn": State(N_("已撤回"), "ban", "quiet"),
    "rule_in_force": State(N_("现行"), "check", "good"),
    "rule_coming": State(N_("待生效"), "hourglass", "wait"),
    "rule_superseded": State(N_("已被替代"), "history", "quiet"),
    "rule_repealed": State(N_("已废止"), "ban", "quiet"),
    "worked": State(N_("上班"), "briefcase", "busy"),
    "rested": State(N_("休息"), "home-2", "quiet"),
    # accounts
    "active": State(N_("启用"), "check", "good"),
    "inactive": State(N_("停用"), "ban", "quiet"),
    "ungranted": State(N_("待授权"), "hourglass", "wait"),
    # work orders
    "order_pending": State(N_("待派单"), "hourglass", "wait"),
    "order_sent": State(N_("已派单"), "send", "busy"),
    "order_delivering": State(N_("交付中"), "truck-delivery", "busy"),
    "order_delivered": State(N_("待验收"), "package", "wait"),
    "order_accepted": State(N_("已完成"), "check", "good"),
    "order_failed": State(N_("失败"), "alert-triangle", "bad"),
    "order_cancelled": State(N_("已取消"), "ban", "quiet"),
    "call_waiting": State(N_("未发出"), "hourglass", "wait"),
    "call_sent": State(N_("已发出"), "send", "busy"),
    "call_done": State(N_("已完成"), "check", "good"),
    "call_failed": State(N_("失败"), "alert-triangle", "bad"),
    "call_dropped": State(N_("不再发出"), "ban", "quiet"),
    # incidents, bills, scores, records, compatibility
    "incident_open": State(N_("未恢复"), "flame", "bad"),
    "incident_unsettled": State(N_("待定责"), "gavel", "wait"),
    "incident_settled": State(N_("已定责"), "check", "good"),
    "bill_submitted": State(N_("待复核"), "hourglass", "wait"),
    "bill_reviewed": State(N_("已复核"), "clipboard-check", "good"),
    "bill_disputed": State(N_("争议中"), "message-report", "attention"),
    "bill_ruled": State(N_("争议已裁定"), "gavel", "good"),
    "score_draft": State(N_("未公示"), "pencil", "wait"),
    "score_published": State(N_("已公示"), "rubber-stamp", "good"),
    "appeal_filed": State(N_("待裁定"), "gavel", "wait"),
    "appeal_upheld": State(N_("申诉成立"), "thumb-up", "good"),
    "appeal_dismissed": State(N_("申诉不成立"), "thumb-down", "quiet"),
    "record_standing": State(N_("有效"), "check", "good"),
    "record_withdrawn": State(N_("已撤销"), "ban", "quiet"),
    "fit_untested": State(N_("未测"), "question-mark", "quiet"),
    "fit_adapting": State(N_("适配中"), "hourglass", "busy"),
    "fit_adapted": State(N_("已适配"), "check", "good"),
    "fit_certified": State(N_("已认证"), "certificate", "good"),
    "fit_unsupported": State(N_("不支持"), "x", "bad"),
    # evidence and runs
    "ok": State(N_("正常"), "check", "good"),
    "skipped": State(N_("未执行"), "player-pause", "quiet"),
    # sources of samples
    "reporting": State(N_("上报中"), "check", "good"),
    "landing_under_way": State(N_("导入中"), "player-play", "busy"),
    "landing_broken_off": State(N_("导入中断"), "alert-triangle", "attention"),
    "landing_unentered": State(N_("拒收未登记"), "alert-triangle", "attention"),
    "silent": State(N_("停止上报"), "alert-triangle", "bad"),
    "not_scored": State(N_("不计分"), "circle-dashed", "quiet"),
}
_CASES = {
    "detected": ("search", "wait"),
    "reviewed": ("clipboard-check", "wait"),
    "noticed": ("mail", "wait"),
    "disputed": ("gavel", "attention"),
    "cleared": ("circle-check", "wait"),
    "ordered": ("recycle", "busy"),
    "watched": ("eye", "busy"),
    "strained": ("alert-triangle", "attention"),
    "binned": ("trash", "attention"),
    "confirming": ("user-check", "wait"),
    "closed": ("check", "quiet"),
}
STATES |= {f"case_{code.value}": State(label, *_CASES[code.value]) for code, label in CASE_STATES.items()}
STATES |= {
    "case_holding": State(N_("生效中"), "shield-check", "good"),
    "case_over": State(N_("已到期"), "clock", "quiet"),
    "case_revoked": State(N_("已终止"), "ban", "quiet"),
    "case_answered": State(N_("已答复"), "check", "good"),
    "case_waiting": State(N_("待答复"), "hourglass", "wait"),
    "case_escalated": State(N_("逾期升级"), "clock-exclamation", "bad"),
    "case_suspended": State(N_("已暂停"), "player-pause", "bad"),
}
"""Code → state. A part of the house that has states of its own adds them here."""
