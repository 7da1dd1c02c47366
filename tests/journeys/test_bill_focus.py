"""A company hands in its month as FOCUS, CSV and Parquet: taken whole, or refused with every place that is wrong."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from providers.billing import BillLine, bills
from quota.actors import Role, steward
from quota.directory.pools import CloudProvider, Pool
from tests.providers.test_bill_focus import ROW, as_csv

MAY = {
    "BillingPeriodStart": "2026-04-30T16:00:00Z", "BillingPeriodEnd": "2026-05-31T16:00:00Z", "ChargePeriodStart": "2026-04-30T16:00:00Z",
    "ChargePeriodEnd": "2026-05-31T16:00:00Z",
}  # fmt: skip


@pytest.fixture
def pool(house) -> int:
    with house.transaction(steward()) as tx:
        company = tx.scalars(select(CloudProvider)).one()
        one = Pool(
            code="hand",
            name="甲云池",
            provider_id=company.id,
            arch="x86_64",
            zone="z",
            adapter="files",
            adapter_options={},
        )
        tx.add(one)
        tx.flush()
        return one.id


def test_a_month_in_focus_is_a_bill(client_of, house, pool, tmp_path: Path) -> None:
    company = client_of(Role.PROVIDER)
    path = as_csv(tmp_path, {**ROW, **MAY}, {**ROW, **MAY, "ConsumedUnit": "GiB-Hours", "ConsumedQuantity": "5952"})
    wrong = as_csv(tmp_path, {**ROW, **MAY, "BillingCurrency": "USD"}).read_bytes()
    body = {"pool": pool, "month": "2026-05", "file": (io.BytesIO(wrong), "focus.csv")}
    answer = company.send("/bills/new", body, content_type="multipart/form-data")
    assert answer.status_code == 302, "kept as it was billed: the reconciliation disputes its currency"
    with house.reading() as tx:
        kept = bills.current(tx, pool, "2026-05")
        assert kept is not None
        assert set(tx.scalars(select(BillLine.currency).where(BillLine.bill_id == kept.id))) == {"USD"}
    path = as_csv(tmp_path, {**ROW, **MAY}, {**ROW, **MAY, "ConsumedUnit": "GiB-Hours", "ConsumedQuantity": "5952"})
    strings = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(ROW, pyarrow.string()), strings_can_be_null=True)
    pq.write_table(pyarrow.csv.read_csv(path, convert_options=strings), tmp_path / "focus.parquet")
    for name in ("focus.csv", "focus.parquet"):
        body = {"pool": pool, "month": "2026-05", "file": (io.BytesIO((tmp_path / name).read_bytes()), name)}
        answer = company.send("/bills/new", body, content_type="multipart/form-data")
        assert answer.status_code == (302 if name == "focus.csv" else 422), answer.text
    assert "未重复入账" in answer.text, "Parquet says the same"
    with house.reading() as tx:
        bill = bills.current(tx, pool, "2026-05")
        assert bill is not None
        assert "2026-05" in company.get(f"/bills/{bill.id}").text
