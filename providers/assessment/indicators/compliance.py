"""Compliance: certificates that every platform must hold, in date."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from providers.assessment import periods, records
from providers.assessment.evidence import OK
from providers.assessment.measures import PROPORTION, EvidenceRow, FigureUnit
from providers.assessment.registry import (
    Direction,
    EvidenceTerm,
    Fact,
    FactFormat,
    FieldType,
    Gathering,
    Indicator,
    RecordField,
    RecordKind,
    RefSource,
    register,
)
from quota.errors import N_

CERTIFICATES = {
    "mlps3": N_("等保三级测评"),
    "crypto": N_("密码应用安全性评估"),
    "cloud_security": N_("云计算服务安全评估"),
    "iso27001": N_("信息安全管理体系认证"),
    "iso20000": N_("信息技术服务管理体系认证"),
    "itss": N_("ITSS 云计算服务能力评估"),
    "dsmm": N_("数据安全能力成熟度评估"),
}
"""What a company's platform may be asked to hold, in date."""

CODE = "compliance"
DEMANDED = EvidenceTerm("certificates", N_("要求的证书"), ("mlps3", "crypto", "cloud_security"), choices=CERTIFICATES)

CERTIFICATE = RecordKind(
    "certificate",
    N_("合规证书"),
    (
        RecordField("certificate", N_("证书"), FieldType.CHOICE, help=N_("合规证书填写"), choices=CERTIFICATES,
                    missing=N_("请选择证书")),
        RecordField("valid_until", N_("有效期至"), FieldType.UNTIL, help=N_("合规证书填写")),
    ),
)  # fmt: skip


def gather(gathering: Gathering, _rows: Sequence[EvidenceRow]) -> list[EvidenceRow]:
    """Each certificate that must be held, as it stands at the period's end; nothing while none was ever recorded."""
    kept = records.standing(gathering.tx, gathering.subject, CERTIFICATE.code)
    day = periods.last_day(gathering.period, gathering.tx.now)
    rows = []
    for code in gathering.by.term(CODE, DEMANDED.name) if kept else ():
        mine = [record for record in kept if record.figures["certificate"] == code and record.happened_on <= day]
        last = max(mine, key=lambda record: record.valid_until or record.happened_on, default=None)
        until = last.valid_until if last is not None else None
        ref = f"record:{last.id}" if last is not None else f"certificate:{code}"
        rows.append(
            EvidenceRow(ref, {"certificate": code, "valid_until": until and until.isoformat(), "on": day.isoformat(),
                              "ok": until is not None and until >= day})
        )  # fmt: skip
    return rows


register(
    Indicator(
        code=CODE,
        label=N_("合规"),
        explanation=N_("期末要求的证书在有效期内的比例"),
        unit=FigureUnit.SHARE,
        direction=Direction.HIGHER,
        measure=PROPORTION,
        weight=Decimal(3),
        limits={"whole": Decimal(3)},
        order=120,
        edition=2,
        holding=gather,
        facts=(
            Fact("certificate", N_("证书"), FactFormat.WORD, words=CERTIFICATES),
            Fact("valid_until", N_("有效期至"), FactFormat.MOMENT),
            Fact("on", N_("核对日"), FactFormat.MOMENT),
            OK,
        ),
        terms=(DEMANDED,),
        sources={"certificate": RefSource(N_("证书"), CERTIFICATES)},
        records=(CERTIFICATE,),
    )
)
