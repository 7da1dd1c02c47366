"""Whom and what a page names: people instead of logins, numbers and names instead of rows of the book."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import g
from sqlalchemy import select

from console.book import reading
from console.words import disclosure
from console.words.resources import identified
from console.words.texts import UNKNOWN, _
from metering.campaigns import Campaign
from metering.cases import Case, Notice
from metering.intake import Feed, PushSource, ShortDelivery
from metering.judging import PolicyVersion
from metering.reports import ReportEdition
from metering.settlement import BillingYear, DepartmentBudget, SettlementSheet
from metering.statements import StatementRun
from metering.supervision import SupervisionAlert, SupervisionItem
from providers.assessment import (
    AssessmentFormula,
    AssessmentRecord,
    Combination,
    FormulaDraft,
    Rectification,
    ScorecardRecord,
    Survey,
)
from providers.billing import Bill, Incident, Maintenance
from providers.contracts import Contract
from providers.labour import LabourJob, LabourRate
from providers.monitoring import AlertMapping, ProbeEndpoint
from providers.orders import WorkOrder
from providers.tickets import Ticket
from quota.actors import ROLE_LABELS, Role
from quota.directory import (
    CatalogItem,
    CloudProvider,
    CloudTarget,
    DatedEntry,
    Delegation,
    Department,
    FundedProject,
    HostedEquipment,
    OutsideFacility,
    Person,
    Pool,
    SizePreset,
    System,
)
from quota.errors import N_
from quota.exchange import Conversion, ExchangeRule, QuotaClaim, QuotaOffer
from quota.inventory import Resource, inquiries, takeovers
from quota.ledger import Allocation, Commitment, DemandRound
from quota.requests import ApprovalRule, Request, RequestTemplate, RuleDraft, formbook, shutdowns
from quota.resource_classes import ResourceClassRow

TASKS = frozenset({
    "account networks", "anchor", "backup", "bills", "delivery", "found", "import", "incidents", "init", "inventory", "metrics",
    "migrate", "recompute", "reconcile", "replay", "report", "rules", "score", "statements", "steward",
})  # fmt: skip
"""What the steward signs with besides ``job:…``; see quota.actors.steward."""
POLICIES = {"default": N_("默认策略")}
KINDS: dict[str, tuple[str, Any, Callable[[Any], str]]] = {
    "case": (N_("案件"), Case, lambda one: str(one.number)),
    "request": (N_("申请"), Request, lambda one: str(one.number)),
    "order": (N_("工单"), WorkOrder, lambda one: str(one.number)),
    "provider": (N_("云服务商"), CloudProvider, lambda one: str(one.name)),
    "pool": (N_("资源池"), Pool, lambda one: str(one.name)),
    "department": (N_("使用单位"), Department, lambda one: str(one.name)),
    "system": (N_("信息系统"), System, lambda one: str(one.name)),
    "person": (N_("人员"), Person, lambda one: str(one.name)),
    "resource": (N_("资源"), Resource, lambda one: str(one.name or one.external_id)),
    "demand_round": (N_("年度需求"), DemandRound, lambda one: str(one.year)),
    "allocation": (N_("额度"), Allocation, lambda one: f"ED-{one.id:06d}"),
    "commitment": (N_("远期承诺"), Commitment, lambda one: str(one.called)),
    "funded_project": (N_("立项项目"), FundedProject, lambda one: str(one.name)),
    "labour": (N_("人工服务"), LabourJob, lambda one: str(one.number)),
    "labour_rate": (N_("人工服务单价"), LabourRate, lambda one: str(one.name)),
    "outside": (N_("云外资源"), OutsideFacility, lambda one: str(one.name)),
    "quota_offer": (N_("挂牌"), QuotaOffer, lambda one: str(one.number)),
    "quota_claim": (N_("求借"), QuotaClaim, lambda one: str(one.number)),
    "quota_conversion": (N_("架构换算"), Conversion, lambda one: str(one.number)),
    "request_form_field": (N_("表单字段"), formbook.RequestFormField, lambda one: f"BD-{one.id:06d}"),
    "exchange_rule": (N_("市场与换算规则"), ExchangeRule, lambda one: f"JH-{one.id:06d}"),
    "takeover": (N_("接管"), takeovers.Takeover, lambda one: str(one.document)),
    "campaign": (N_("清理行动"), Campaign, lambda one: str(one.name)),
    "inquiry": (N_("征询"), inquiries.Inquiry, lambda one: str(one.number)),
    "shutdown": (N_("系统下线"), shutdowns.SystemShutdown, lambda one: str(one.number)),
    "incident": (N_("故障"), Incident, lambda one: str(one.external_id)),
    "bill": (N_("账单"), Bill, lambda one: str(one.month)),
    "notice": (N_("通知"), Notice, lambda one: str(one.number)),
    "catalog_item": (N_("服务目录"), CatalogItem, lambda one: str(one.name)),
    "delegation": (N_("委托代办"), Delegation, lambda one: f"WT-{one.id:06d}"),
    "request_template": (N_("常用申请"), RequestTemplate, lambda one: str(one.name)),
    "size_preset": (N_("规格预设"), SizePreset, lambda one: str(one.name)),
    "resource_class": (N_("资源类别"), ResourceClassRow, lambda one: str(one.name)),
    "cloud_target": (N_("上云率目标"), CloudTarget, lambda one: str(one.year)),
    "supervision_item": (N_("监管事项"), SupervisionItem, lambda one: str(one.name)),
    "supervision_alert": (N_("监管预警"), SupervisionAlert, lambda one: str(one.number)),
    "hosted": (N_("托管设备"), HostedEquipment, lambda one: str(one.name)),
    "survey": (N_("满意度调查"), Survey, lambda one: str(one.name)),
    "record": (N_("考核记录"), AssessmentRecord, lambda one: str(one.id)),
    "ticket": (N_("运维请求"), Ticket, lambda one: str(one.number)),
    "rectification": (N_("整改"), Rectification, lambda one: str(one.number)),
    "maintenance": (N_("维护公告"), Maintenance, lambda one: str(one.id)),
    "endpoint": (N_("监测端点"), ProbeEndpoint, lambda one: str(one.name)),
    "alert_mapping": (N_("告警对照"), AlertMapping, lambda one: str(one.version or one.id)),
    "combination": (N_("信创适配"), Combination, lambda one: f"{one.chip} · {one.system}"),
    "scorecard": (N_("考核评分"), ScorecardRecord, lambda one: str(one.month)),
    "statement_run": (N_("对账单"), StatementRun, lambda one: f"{one.month}-{one.revision}"),
    "contract": (N_("合同"), Contract, lambda one: str(one.number)),
    "dated": (N_("到期事项"), DatedEntry, lambda one: str(one.name)),
    "billing_year": (N_("结算年度"), BillingYear, lambda one: str(one.name)),
    "budget": (N_("单位预算"), DepartmentBudget, lambda one: str(one.year)),
    "settlement": (N_("结算单"), SettlementSheet, lambda one: str(one.number)),
    "report": (N_("运营报告"), ReportEdition, lambda one: f"{one.name} {one.first_day} – {one.last_day}".strip()),
    "policy": (N_("策略"), PolicyVersion, lambda one: f"{policy(one.name)} {one.version}"),
    "formula": (N_("考核公式"), AssessmentFormula, lambda one: f"{one.code}-{one.version}"),
    "formula_draft": (N_("考核公式草案"), FormulaDraft, lambda one: f"{one.code}-{one.based_on + 1}"),
    "short": (N_("交付不足"), ShortDelivery, lambda one: str(one.resource.called if one.resource else one.id)),
    "rule_draft": (N_("规则草案"), RuleDraft, lambda one: str(one.id)),
    "feed": (N_("用量源"), Feed, lambda one: str(one.name or one.code)),
    "push_source": (N_("推送源"), PushSource, lambda one: str(one.name or one.code)),
}
"""Name in the book → its word, its model, what it is called by."""
BASES = {"adopted": N_("上线时接管")}


def who(login: str | None) -> str:
    """The name of the person behind ``login``; 系统任务 for the steward's own tasks; anything else as it stands."""
    if not login:
        return UNKNOWN
    known: dict[str, str] = g.setdefault("names", {})
    if login not in known:
        name = reading().scalar(select(Person.name).where(Person.login == login))
        task = login in TASKS or login.startswith("job:")
        known[login] = name or (_(ROLE_LABELS[Role.SYSTEM]) if task else login)
    return known[login]


def who_exactly(login: str | None) -> str:
    """Name and login, for those who must tell two people of one name apart."""
    name = who(login)
    return name if name == login or not login else _("%(name)s（%(more)s）", name=name, more=login)


def subject(ref: str | None) -> str:
    """``case:62`` → 案件 AJ2026-00062. What has no name of its own, or is gone, stays as the book has it."""
    if not ref:
        return UNKNOWN
    if ref in BASES:
        return _(BASES[ref])
    kind, _colon, number = ref.partition(":")
    if kind not in KINDS or not number.isdigit():
        return ref
    word, model, called = KINDS[kind]
    if model is Resource and not disclosure.may_name(int(number)):
        return _(disclosure.ANOTHERS)
    one = reading().get(model, int(number))
    return ref if one is None else f"{_(word)} {called(one)}"


def learn(refs: Iterable[str]) -> None:
    """Fetch what ``refs`` name, a kind at a time, so that calling each by its name asks the book no more."""
    wanted: dict[str, set[int]] = {}
    for ref in refs:
        kind, _colon, number = ref.partition(":")
        if kind in KINDS and number.isdigit():
            wanted.setdefault(kind, set()).add(int(number))
    g.setdefault("learnt", []).extend(
        one
        for kind, numbers in wanted.items()
        for one in reading().scalars(select(KINDS[kind][1]).where(KINDS[kind][1].id.in_(numbers)))
    )  # kept, for a session forgets what nobody holds


def policy(name: str) -> str:
    """The name of a policy; the one that every city begins with has a word."""
    return _(POLICIES[name]) if name in POLICIES else name


def approval_rule(spelled: str) -> str:
    """``base@1`` → the name of that rule, and its version; as it stands where there is none."""
    known: dict[str, str] = g.setdefault("approval_rules", {})
    if not known:
        rows = reading().execute(select(ApprovalRule.code, ApprovalRule.version, ApprovalRule.name))
        known.update(
            (f"{code}@{version}", _("%(name)s 第%(version)s版", name=_(name), version=version))
            for code, version, name in rows
        )
    return known.get(spelled, spelled)


FILTERS = {
    **disclosure.FILTERS,
    "identified": identified,
    "approval_rule": approval_rule,
    "who": who,
    "who_exactly": who_exactly,
    "subject": subject,
    "policy": policy,
}
