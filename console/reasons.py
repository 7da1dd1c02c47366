"""Why an approval rule applies, in words: the comparisons that quota.rules.why spells, as people say them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from console.texts import _, number
from quota.dossier import KIND_LABELS, RequestKind
from quota.errors import N_

FACTS = {
    "vcpu": N_("vCPU"),
    "memory_gb": N_("内存 GB"),
    "block_gb": N_("块存储 GB"),
    "accelerator": N_("加速卡"),
    "quantity": N_("件数"),
    "kind": N_("类型"),
    "services": N_("服务"),
    "grows": N_("新增资源"),
    "over_quota": N_("超出配额"),
    "xinchuang": N_("信创资源池"),
}
_SPELLED = re.compile(r"(not )?(\w+) (.+?)(?: (==|!=|<=|>=|<|>|in|has) (.+))?")


def reasons(because: Iterable[str]) -> str:
    """``["over_quota true", "vcpu 96 > 64"]`` → ``超出配额、vCPU 96 > 64``. Empty for a rule that always applies."""
    return _("、").join(text for one in because if (text := _reason(one)))


def _reason(spelled: str) -> str:
    found = _SPELLED.fullmatch(spelled)
    if found is None or found[2] not in FACTS:
        return spelled
    negated, name, value, sign, limit = found.groups()
    label = _(FACTS[name])
    if sign is None:
        return label if (value == "true") != bool(negated) else _("非%(what)s", what=label)
    if name == "kind" and value in list(RequestKind):
        return f"{label} {_(KIND_LABELS[RequestKind(value)])}"
    shown = number(float(value)) if re.fullmatch(r"-?\d+(\.\d+)?", value) else value
    return f"{label} {shown} {'' if sign == 'has' else sign} {limit}".replace("  ", " ")
