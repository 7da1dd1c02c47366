"""What the trail calls what was done, and what to: words for people, beside the codes that stay in the book."""

from __future__ import annotations

from console.words.texts import _
from quota.errors import N_

CASE_ACTIONS = {
    "case.open": N_("立案"),
    "case.review": N_("审核同意"),
    "case.dismiss": N_("不予立案"),
    "case.withdraw": N_("撤回案件"),
    "case.issue": N_("发出通知"),
    "case.reply": N_("答复"),
    "case.silence": N_("逾期未答复"),
    "case.rule": N_("裁定"),
    "case.authorised": N_("按常备授权执行"),
    "case.prolong": N_("仍然饱和,延长"),
    "case.stay": N_("数据不足,保持现规格"),
    "case.order": N_("下达工单"),
    "case.watch": N_("进入观察期"),
    "case.lend": N_("临时扩容开始"),
    "case.term_over": N_("临时扩容到期"),
    "case.bin": N_("移入回收站"),
    "case.ripen": N_("回收站期满"),
    "case.confirm_deletion": N_("确认删除"),
    "case.propose_rollback": N_("提出回退"),
    "case.halt": N_("暂缓执行"),
    "case.fail": N_("工单未执行"),
    "case.close": N_("结案"),
    "certificate.issue": N_("出具凭证"),
    "notice.issue": N_("签发通知"),
    "notice.remind": N_("提醒答复"),
    "notice.escalate": N_("逾期升级"),
    "exemption.grant": N_("准予豁免"),
    "exemption.revoke": N_("提前终止豁免"),
    "exemption.end": N_("豁免到期"),
    "resource.protect": N_("改变保护"),
    "attachment.add": N_("提交附件"),
}
"""What was done to a case, its letter and its exemption."""

ACTIONS: dict[str, str] = {
    **CASE_ACTIONS,
    "appeal.file": N_("提出申诉"), "appeal.rule": N_("裁定申诉"),
    "assessment.record": N_("记录评估"),
    "authorisation.grant": N_("办理常备授权"), "authorisation.revoke": N_("撤销常备授权"),
    "bill.take": N_("收到账单"),
    "business.declare": N_("申报业务周期"), "business.withdraw": N_("撤回业务周期"),
    "calendar.correct": N_("修订日历"), "calendar.uncorrect": N_("取消日历修订"),
    "case.open_from": N_("按评估立案"),
    "catalog.offer": N_("上架目录条目"), "catalog.withdraw": N_("下架目录条目"), "catalog.restore": N_("恢复目录条目"),
    "city.set": N_("设定城市名称、接管门槛与筹建"),
    "company.register": N_("登记公司"), "company.amend": N_("修改公司"), "company.end": N_("终止公司"),
    "company.resume": N_("恢复公司"),
    "project.assign": N_("确定云侧项目的使用单位"),
    "compatibility.state": N_("登记适配状态"),
    "department.register": N_("登记单位"), "department.rename": N_("单位更名"),
    "department.reorganise": N_("单位调整"), "department.reorganise_undo": N_("撤销单位调整"),
    "dispute.claim": N_("主张差异"), "dispute.accept": N_("认可差异"), "dispute.contest": N_("不认可差异"),
    "dispute.settle": N_("裁定差异"), "dispute.lapse": N_("逾期未答复差异"),
    "freeze.set": N_("设定封网期"),
    "house.found": N_("建立账本"), "house.verify": N_("校验"),
    "incident.report": N_("报告故障"), "incident.amend": N_("补充故障"), "incident.settle": N_("故障定责"),
    "inventory.adopt": N_("接管存量资源"), "inventory.observe": N_("更新资源台账"),
    "inventory.end_missing": N_("核实资源已消失"), "inventory.keep_missing": N_("核实清单有误"),
    "takeover.propose": N_("提出接管存量"), "takeover.book": N_("接管存量"), "takeover.withdraw": N_("撤回接管存量"),
    "inquiry.ask": N_("发出征询"), "inquiry.answer": N_("答复征询"), "inquiry.withdraw": N_("撤回征询"),
    "inquiry.remind": N_("提醒答复征询"), "inquiry.overdue": N_("征询逾期未答复"),
    "job.failed": N_("任务失败"),
    "lake.retain": N_("按期清理采样"), "lake.late": N_("记录月结后到达的数据"),
    "loan.offer": N_("提出出借"), "loan.accept": N_("接受出借"), "loan.decline": N_("谢绝出借"),
    "loan.withdraw": N_("撤回出借"), "loan.recall": N_("召回出借"), "loan.return": N_("归还出借"),
    "loan.give_back": N_("部分归还出借"), "loan.overdue": N_("出借逾期"),
    "login.ok": N_("登录"), "login.fail": N_("登录失败"), "login.lock": N_("锁定账号"),
    "login.locked": N_("锁定期间登录"), "login.closed": N_("停用账号登录"), "login.out": N_("退出"),
    "month.close": N_("月结"),
    "order.place": N_("下达工单"), "order.send": N_("发送工单"), "order.start": N_("开始交付"), "order.under_way": N_("交付中"),
    "order.deliver": N_("交付"), "order.hand_over": N_("人工交付"), "order.fail": N_("交付失败"),
    "order.retry": N_("重新发送工单"), "order.accept": N_("验收通过"), "order.deem_accepted": N_("视为验收通过"),
    "order.refuse": N_("验收不通过"), "order.cancel": N_("取消工单"), "order.reschedule": N_("改期"),
    "order.not_taken": N_("云平台未受理"), "order.answer_late": N_("取消或接办后云平台仍予执行"), "order.take_over": N_("改由人工交付"),
    "owner.assign": N_("确定使用单位"),
    "person.enrol": N_("登记人员"), "person.grant": N_("授权"), "person.password": N_("修改密码"),
    "person.reset": N_("重置密码"), "person.email": N_("登记邮箱"), "mail.again": N_("重发邮件"), "person.unlock": N_("解除锁定"), "person.activate": N_("启用账号"),
    "person.deactivate": N_("停用账号"),
    "policy.draft": N_("起草策略"), "policy.withdraw": N_("撤回策略草案"), "policy.replay": N_("回测策略"),
    "policy.replayed": N_("策略回测完成"), "policy.enact": N_("启用策略"), "policy.suspend": N_("暂停策略"),
    "policy.resume": N_("恢复策略"),
    "pool.register": N_("登记资源池"), "pool.equip": N_("调整资源池容量"), "pool.close": N_("停用资源池"),
    "feed.register": N_("登记用量源"), "feed.connect": N_("修改用量源"), "feed.activate": N_("启停用量源"),
    "feed.again": N_("重新补采用量"), "feed.names": N_("修改用量源的资源对照"),
    "pool.connect": N_("修改资源池连接"), "secret.keep": N_("保存口令"),
    "push_source.register": N_("登记推送源"), "push_source.rotate": N_("更换推送令牌"),
    "push_source.activate": N_("启停推送源"),
    "quota.grant": N_("授予配额"), "quota.reclaim": N_("收回未用配额"), "quota.move": N_("单位间划转"),
    "rating.give": N_("评价"),
    "reconciliation.make": N_("四方对账"),
    "record.enter": N_("登记考核记录"), "record.withdraw": N_("撤销考核记录"),
    "remark.comment": N_("提出意见"), "remark.dispute": N_("提出争议"), "remark.upheld": N_("裁定成立"),
    "remark.dismissed": N_("裁定不成立"), "remark.reviewed": N_("已复核"),
    "resource_class.add": N_("增加资源类别"), "resource_class.end": N_("停用资源类别"),
    "request.draft": N_("起草"), "request.revise": N_("修改"), "request.submit": N_("提交"),
    "request.resubmit": N_("补正后提交"), "request.withdraw": N_("撤回"), "request.sign": N_("办理"),
    "request.return": N_("退回补正"), "request.take": N_("接办"), "request.reject": N_("驳回"), "request.lapse": N_("逾期未补正,撤回"),
    "request.deliver": N_("派单"), "request.delivered": N_("交付"), "request.accept": N_("验收通过"),
    "request.refuse": N_("验收不通过"), "request.deem_accepted": N_("视为验收通过"), "request.abandon": N_("终止"),
    "request.redate": N_("重算时限"), "request.notice": N_("发出通知"), "request.extend": N_("延长使用期限"),
    "rule.enact": N_("启用审批规则"),
    "scorecard.compute": N_("计算评分"), "scorecard.publish": N_("公布评分"),
    "statement.make": N_("制作对账单"),
    "system.register": N_("登记信息系统"), "system.amend": N_("修改信息系统"),
    "tag.protect": N_("设定保护标签"), "tag.lift": N_("取消保护标签"),
    "tariff.enter": N_("录入价目"),
    "usage.import": N_("导入采样"),
    "window.set": N_("设定变更窗口"), "window.lift": N_("取消变更窗口"),
}  # fmt: skip
"""Everything that is ever written to the trail; a test reads the sources for what is missing."""


def action(code: str) -> str:
    """``case.open`` → 立案; the code itself where it has no word."""
    return _(ACTIONS[code]) if code in ACTIONS else code


def codes(text: str) -> list[str]:
    """The codes of all actions whose words hold ``text``, for finding them by what people read."""
    wanted = text.casefold()
    return [code for code in ACTIONS if wanted in action(code).casefold()]
