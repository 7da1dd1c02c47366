"""Slices of cards as clouds name them: a profile is the class that says so, whoever reports it, and one that nobody named is no class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from providers.adapters.openstack import flavors, words
from providers.adapters.openstack.listing import CloudScope
from providers.base import ProviderFault
from providers.readers import Refusals, read_inventory
from quota.units import ACCELERATOR, CLASSES, MEMORY, VCPU, ClassCode, Group, ResourceClass

MIG, VIR = ClassCode("mig1g"), ClassCode("vir04")


def of_slices(code: ClassCode, parts: int, *profiles: str) -> ResourceClass:
    return ResourceClass(code, Group.AI, "片", "片", 1, code, True, whole=ACCELERATOR, parts=parts, profiles=profiles)


@pytest.fixture(autouse=True)
def _named() -> Iterator[None]:
    known = CLASSES.learnt
    CLASSES.learn([*known, of_slices(MIG, 7, "1g.10gb", "1g.5gb", "1g.10gb+me"), of_slices(VIR, 4, "vir04")])
    yield
    CLASSES.learn(known)


def test_one_profile_is_written_in_many_ways() -> None:
    for name in ("1g.10gb", "MIG-1g.10gb", "mig_1g_5gb", "CUSTOM_MIG_1G_10GB", "nvidia.com/mig-1g.10gb"):
        assert CLASSES.of_profile(name) == MIG, name
    assert [CLASSES.of_profile(name) for name in ("", "2g.20gb", "1g.20gb.me", "mig")] == [None] * 4


HEADS = "id,name,type,arch,vcpu,memory_gb,加速卡数,切片规格,数量\n"


@pytest.mark.parametrize(
    ("row", "has"),
    [
        ("vm,x86_64,4,8,,1g.10gb,", {MIG: 1}),
        ("vm,x86_64,4,8,2,MIG 1g.10gb,", {MIG: 2}),  # two devices, each a slice, and no whole card
        ("vm,x86_64,4,8,,1g.10gb×3,", {MIG: 3}),
        ("vm,x86_64,4,8,3,2 x vir04；1g.5gb,", {VIR: 2, MIG: 1}),
        ("vm,x86_64,4,8,,1g.10gb+me×2+vir04,", {MIG: 2, VIR: 1}),  # the + of a name, and one between two
        ("accelerator,x86_64,,,,vir04,4", {VIR: 4}),
        ("accelerator,x86_64,,,2,,", {ACCELERATOR: 2}),
    ],
)
def test_a_listing_names_slices_by_their_profile(tmp_path: Path, row: str, has: dict[ClassCode, int]) -> None:
    fact = listed(tmp_path, row)[0][0]
    machine = {VCPU: 4, MEMORY: 8192} if row.startswith("vm") else {}
    assert fact.amounts == machine | has


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("vm,x86_64,4,8,,2g.20gb,", "profile.unknown"),
        ("vm,x86_64,4,8,,0×1g.10gb,", "profile.unknown"),
        ("vm,x86_64,4,8,,1g.10gb；,", "profile.unknown"),
        ("vm,x86_64,4,8,3,1g.10gb×2,", "spec.conflict"),
        ("accelerator,x86_64,,,,vir04×2,4", "spec.conflict"),
        ("vm,x86_64,4,8,,1g.10gb,2", "cell.changes"),  # two machines in one row
    ],
)
def test_a_row_whose_slices_cannot_be_known_is_refused(tmp_path: Path, row: str, reason: str) -> None:
    facts, report = listed(tmp_path, row)
    assert (facts, report.reasons) == ([], {reason: 1})


def listed(folder: Path, row: str) -> tuple[Any, Any]:
    path, report = folder / "list.csv", Refusals()
    path.write_text(f"{HEADS}m-0,z,vm,x86_64,1,1,,,\nm-1,a,{row}\n", "utf-8")
    found = read_inventory(path, report)
    return [one for one in found.facts if one.external_id == "m-1"], report.files[0]


def flavor(name: str, **specs: str) -> dict[str, Any]:
    told = {key.replace("__", ":"): value for key, value in specs.items()}
    return {"name": name, "vcpus": 8, "ram": 1024, "disk": 0, "ephemeral": 0, "swap": 0, "extra_specs": told}


def test_a_flavor_has_slices_where_its_devices_are_called_so() -> None:
    for specs, many, cards in (
        ({"resources__CUSTOM_MIG_1G_10GB": "2"}, {MIG: 2}, 0),
        ({"pci_passthrough__alias": "vir04:2, a100:1"}, {VIR: 2}, 1),
        ({"resources__VGPU": "1", "trait__CUSTOM_MIG_1G_5GB": "required"}, {MIG: 1}, 0),
        ({"resources__VGPU": "1", "trait__CUSTOM_MIG_1G_5GB": "forbidden"}, {}, 1),
        ({"resources__VGPU": "1", "trait__CUSTOM_MIG_1G_5GB": "required", "trait__CUSTOM_VIR04": "required"}, {}, 1),
    ):
        one = flavor("g", **specs)
        assert (words.slices(one), words.cards(one, ("a100",))) == (many, cards), specs
        has = words.amounts({"flavor": one}, local_disks=False, accelerators=("a100",))
        assert has == {VCPU: 8, MEMORY: 1024} | many | ({ACCELERATOR: cards} if cards else {})


def test_what_is_ordered_with_slices_is_made_from_a_flavor_that_has_them() -> None:
    offered = [
        flavor("plain"),
        flavor("sliced", resources__CUSTOM_MIG_1G_10GB="2"),
        flavor("vir", resources__CUSTOM_VIR04="2"),
    ]
    scope = CloudScope()
    for more, name in (({}, "plain"), ({MIG: 2}, "sliced"), ({VIR: 2}, "vir")):
        assert flavors.choose({VCPU: 8, MEMORY: 1024} | more, offered, {}, scope)["name"] == name
    with pytest.raises(ProviderFault):
        flavors.choose({VCPU: 8, MEMORY: 1024, MIG: 1}, offered, {}, scope)
