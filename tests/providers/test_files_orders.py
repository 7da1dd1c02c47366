"""Orders that go to the provider's staff as files: written once, asked about by their key, answered by files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from providers.adapters.files.cloud import FilesCloud
from providers.base import Order, OutcomeState, ProviderFault, ServiceKind, Verb
from quota.units import VCPU, Arch

NOW = datetime(2026, 6, 1, 2, tzinfo=UTC)
SHRINK = Order("case:7:2:resize", Verb.RESIZE, ServiceKind.VM, Arch.X86_64, "vm-1", {VCPU: 4}, "机器1", "d1", "s1")


@pytest.fixture
def cloud(tmp_path: Path) -> FilesCloud:
    return FilesCloud(tmp_path, orders_folder=tmp_path / "desk")


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_what_was_never_written_was_never_taken_and_asking_writes_nothing(cloud: FilesCloud, tmp_path: Path) -> None:
    assert cloud.inquire(SHRINK.key, NOW) is None
    assert list((tmp_path / "desk" / "orders").iterdir()) == []


def test_an_order_that_lies_there_is_taken_until_the_staff_answers(cloud: FilesCloud, tmp_path: Path) -> None:
    assert cloud.deliver(SHRINK, NOW).state is OutcomeState.PENDING
    written = only(tmp_path / "desk" / "orders")
    first = written.read_bytes()
    asked = cloud.inquire(SHRINK.key, NOW)
    assert asked is not None
    assert asked.state is OutcomeState.PENDING
    answer = {"state": "done", "at": "2026-06-02T09:30:00+08:00", "message": "已办"}
    (tmp_path / "desk" / "outcomes" / written.name).write_text(json.dumps(answer), "utf-8")
    told = cloud.inquire(SHRINK.key, NOW)
    assert told is not None
    assert (told.state, told.external_id, told.amounts) == (OutcomeState.DONE, "vm-1", {VCPU: 4})
    assert (told.at, told.message) == (datetime(2026, 6, 2, 1, 30, tzinfo=UTC), "已办")
    assert cloud.deliver(SHRINK, NOW) == told, "told again it says the same"
    assert written.read_bytes() == first


def test_an_order_that_cannot_be_read_is_a_fault_and_not_an_order_never_taken(
    cloud: FilesCloud, tmp_path: Path
) -> None:
    cloud.deliver(SHRINK, NOW)
    only(tmp_path / "desk" / "orders").write_text("{", "utf-8")
    with pytest.raises(ProviderFault) as fault:
        cloud.inquire(SHRINK.key, NOW)
    assert fault.value.transient


def test_a_folder_without_a_desk_was_never_told_anything(tmp_path: Path) -> None:
    assert FilesCloud(tmp_path).inquire("k", NOW) is None
