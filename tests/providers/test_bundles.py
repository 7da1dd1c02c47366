"""A card's file proves itself: equal as it was written, and whatever is changed in it is named."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import metering.statements
from providers.assessment import bundles, cards, formula, formula_documents, gathering, records
from providers.assessment.measures import EvidenceRow
from providers.assessment.scorecard import score, seal
from providers.assessment.subjects import company
from quota.actors import steward
from quota.errors import Invalid

assert metering.statements, "its indicator is part of the default formula"
EVIDENCE = {
    "delivery": [EvidenceRow(f"order:{n}", {"number": f"W-{n}", "ok": n != 3}) for n in range(1, 12)],
    "metering": [EvidenceRow("bill:1/甲", {"kind": "vcpu", "metered": "100", "disputed": "1"})],
    "incidents": [EvidenceRow("incident:4", {"level": 2, "misses": 1})],
    "security": [EvidenceRow("record:7", {"veto": "leak"}), EvidenceRow("record:8", {"what": "general", "count": 1})],
}


def written(evidence=EVIDENCE) -> bytes:
    by = formula.default()
    card = score(evidence, by)
    head = {"id": 1, "provider": "haichen", "provider_name": "海辰云", "period": "2026-Q2", "revision": 1,
            "formula": by.version, "digest": seal(by, evidence, card)}  # fmt: skip
    return bundles.bundle(head, by, evidence, card)


FILE = written()


def test_it_is_equal_as_it_was_written() -> None:
    assert bundles.faults(FILE) == []
    assert bundles.faults(FILE, bundles.read(FILE)["head"]["digest"]) == []
    assert bundles.faults(written({})) == []
    assert written() == FILE


def named(change) -> str:
    raw = json.loads(FILE)
    change(raw)
    return "\n".join(bundles.faults((json.dumps(raw, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda raw: raw["evidence"]["delivery"][2][1].update(ok=True), "evidence.delivery.3: was changed"),
        (lambda raw: raw["evidence"]["delivery"].pop(), "evidence.delivery.11: is missing"),
        (lambda raw: raw["evidence"]["delivery"].append(["order:99", {"ok": True}]), "evidence.delivery.12: was not there"),
        (lambda raw: raw["evidence"]["security"].pop(0), "card.veto: says"),
        (lambda raw: raw["formula"]["rules"][1].update(weight="11"), "formula.rules.2: was changed"),
        (lambda raw: raw["formula"].update(least="1"), "formula: was changed"),
        (lambda raw: raw["card"].update(grade="excellent"), "card.grade: says excellent"),
        (lambda raw: raw["marks"][1].update(mark="9.99"), "marks.2.mark (delivery): says 9.99"),
        (lambda raw: raw["marks"].pop(), "is not one of the formula's"),
        (lambda raw: raw["head"].update(period="2026-Q3"), "head: was changed"),
        (lambda raw: raw["head"].update(digest="0" * 64), "head.digest: is not what"),
        (lambda raw: raw["seals"].pop("card"), "card: was not there when"),
        (lambda raw: raw.update(note="更正"), "note: is no part"),
        (lambda raw: raw["formula"]["rules"][0].update(indicator="sky"), "can't be scored again here: sky"),
        (lambda raw: raw["marks"].append("x"), "marks.17: is not one"),
        (lambda raw: raw["marks"].__setitem__(0, "x"), "shape: "),
        (lambda raw: raw["evidence"].update(delivery=3), "shape: "),
    ],
)  # fmt: skip
def test_what_was_changed_is_named(change, place) -> None:
    assert place in named(change)


def test_who_seals_his_change_anew_is_caught_by_the_sum_and_by_the_digest_from_elsewhere() -> None:
    """A forger who knows the format: rows and seals agree, the digest that the page shows does not."""
    forged = {**EVIDENCE, "delivery": [EvidenceRow(row.ref, {**row.facts, "ok": True}) for row in EVIDENCE["delivery"]]}
    file = written(forged)
    assert bundles.faults(file) == []
    known = json.loads(FILE)["head"]["digest"]
    assert bundles.faults(file, known) == [
        f"head.digest: the file says {json.loads(file)['head']['digest']}, not {known}"
    ]


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_one_changed_byte_is_found_wherever_it_is(place, by) -> None:
    changed = bytearray(FILE)
    changed[place] ^= by
    try:
        assert bundles.faults(bytes(changed)), place
    except Invalid as refused:
        assert refused.params["why"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"\xff\xfe", b"null", b'{"format": "guanjia-scorecard-1"}', b"[" * 100_000],
    ids=range(7),
)
def test_what_is_no_bundle_is_refused(data) -> None:
    with pytest.raises(Invalid, match=r"bundle\."):
        bundles.faults(data)


def test_a_kept_card_is_proven_on_a_machine_without_the_book(works, clock, tmp_path) -> None:
    with works.book.transaction(works.people["checker"]) as tx:
        records.enter(tx, company(works.companies["haichen"]), "event", date(2026, 6, 1), "通报 1 号")
        records.enter(tx, company(works.companies["haichen"]), "certificate", date(2026, 6, 1), "证书",
                      figures={"certificate": "mlps3"}, valid_until=date(2026, 6, 1) + timedelta(days=90))  # fmt: skip
    subject, by = company(works.companies["haichen"]), formula.default()
    with works.book.transaction(steward()) as tx:
        card = cards.keep(tx, subject, "2026-Q2", gathering.gather(tx, subject, "2026-Q2", by=by), by)
    with works.book.reading() as tx:
        record = cards.scorecard(tx, card.id)
        file = cards.bundled(tx, record)
        assert bundles.faults(file, record.digest) == []
        assert cards.agrees(tx, record) == []
        assert formula_documents.from_json(json.loads(file)["formula"]) == by
    where = tmp_path / "card.json"
    where.write_bytes(file)

    def verify(*args: str) -> subprocess.CompletedProcess[str]:
        ask = [sys.executable, "-m", "console.cli", "scorecard", "verify", str(where), *args]
        return subprocess.run(ask, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)

    done = verify("--digest", record.digest)
    assert (done.returncode, done.stdout) == (0, "haichen 2026-Q2 revision 1: equal\n"), done.stderr
    where.write_bytes(file.replace(b'"what": "general"', b'"what": "Oeneral"'))
    done = verify("--json")
    assert done.returncode == 1
    assert "evidence.security.1: was changed" in json.loads(done.stdout)["problems"]
