"""Names of systems that may be the same thing."""

from __future__ import annotations

import pytest

from quota.directory.likeness import ALIKE, likeness


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("政务服务一体化平台", "政务一体化系统（二期）", True),
        ("人事管理系统", "人事信息管理平台", True),
        ("ＯＡ系统", "oa 系统", True),
        ("市民卡", "市民卡结算中心", True),  # one holds the other
        ("短信平台", "短信系统", True),
        ("公文交换系统", "公文归档系统", False),
        ("财务系统", "人事系统", False),
        ("系统", "平台", False),  # nothing but what tells nothing
        ("系统 1", "系统 2", False),
        ("不动产登记系统", "企业登记平台", False),
    ],
)
def test_names_are_alike_by_what_they_tell(one, other, alike):
    assert (likeness(one, other) >= ALIKE) is alike
    assert likeness(one, other) == likeness(other, one)
