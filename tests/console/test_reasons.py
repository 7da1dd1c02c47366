"""Why a rule applies, as people say it."""

from __future__ import annotations

import pytest

from console.reasons import reasons


@pytest.mark.parametrize(
    ("because", "said"),
    [
        (["over_quota true"], "超出配额"),
        (["grows true", "xinchuang false"], "新增资源、非信创资源池"),
        (["vcpu 96 > 64", "memory_gb 256.0 > 128"], "vCPU 96 > 64、内存 GB 256 > 128"),
        (["not kind create == quota"], "类型 新增"),
        (["services ['vm'] has vm"], "服务 ['vm'] vm"),
        (["something else"], "something else"),
        ([], ""),
    ],
)
def test_reasons_are_said_in_words(app, because, said):
    with app.test_request_context("/"):
        assert reasons(because) == said
