"""新增: new resources in a pool, by items of the catalogue or a shape of one's own; a work order a piece."""

from __future__ import annotations

from quota.errors import N_
from quota.requests.declarations import (
    PURPOSE,
    PURPOSES,
    Compared,
    Lines,
    RequestField,
    RequestKind,
    Term,
    register,
)
from quota.requests.tasks import for_each_piece
from quota.units import BLOCK, MEMORY, VCPU

PROJECT, BUSINESS, TECHNICAL, SAFETY = N_("项目与联系人"), N_("业务规模"), N_("技术要求"), N_("安全与保障")

CREATE = register(
    RequestKind(
        code="create",
        label=N_("新增"),
        position=10,
        lines=Lines(pieces=True, items=True, named=(VCPU, MEMORY, BLOCK)),
        # None is binding for the ledger, all are for the reviewer.
        fields=(
            RequestField(PURPOSE, N_("使用性质"), choices=PURPOSES),
            RequestField("approval_number", N_("立项批复文号"), PROJECT),
            RequestField("contact", N_("项目负责人"), PROJECT),
            RequestField("phone", N_("联系电话"), PROJECT),
            RequestField("funding", N_("资金来源"), PROJECT),
            RequestField("schedule", N_("建设工期"), PROJECT),
            RequestField("vendor", N_("厂商与联系人"), PROJECT),
            RequestField("users", N_("使用对象"), BUSINESS, long=True),
            RequestField("registered_users", N_("注册用户数"), BUSINESS),
            RequestField("monthly_use", N_("每月使用量"), BUSINESS),
            RequestField("peak", N_("并发与峰值"), BUSINESS),
            RequestField("online_on", N_("上线日期"), BUSINESS),
            RequestField("offline_on", N_("下线日期"), BUSINESS),
            RequestField("zone", N_("网络区"), TECHNICAL, each=True),
            RequestField("os", N_("操作系统"), TECHNICAL, each=True),
            RequestField("system_disk", N_("系统盘"), TECHNICAL, each=True),
            RequestField("data_disk", N_("数据盘"), TECHNICAL, each=True),
            RequestField("database", N_("数据库"), TECHNICAL, each=True),
            RequestField("middleware", N_("中间件"), TECHNICAL, each=True),
            RequestField("ip", N_("IPv4/IPv6"), TECHNICAL, each=True),
            RequestField("domain", N_("域名"), TECHNICAL),
            RequestField("ports", N_("端口"), TECHNICAL, long=True),
            RequestField("mlps", N_("等保级别、备案号、测评日期"), SAFETY, long=True),
            RequestField("crypto", N_("密评级别、日期"), SAFETY, long=True),
            RequestField("backup", N_("备份策略"), SAFETY, long=True),
            RequestField("rto", N_("RTO"), SAFETY),
            RequestField("rpo", N_("RPO"), SAFETY),
            RequestField("note", N_("备注"), SAFETY, long=True),
        ),
        term=Term.OPTIONAL,
        tasks=for_each_piece("create"),
        compares=Compared.ALL,
        hint=N_("在资源池中新开资源:云主机、存储、数据库等"),
    )
)
