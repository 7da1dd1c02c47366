"""Evidence as files: uploaded by a form without scripts, seen by who sees the case, handed out as files to keep."""

from __future__ import annotations

import io
from typing import Any

import pytest
from sqlalchemy import func, select

from metering import cases
from metering.cases.steps import CaseState
from metering.judging.policy import Verdict
from quota import attachments
from quota.attachments import Attachment, StagedFile
from quota.audit import AuditRecord, check
from tests.journeys.test_cases import GENERATION, TEXT, Journey
from tests.quota.test_attachments import PDF, PNG, XLSX

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"


@pytest.fixture
def town(house, clock, city, client_of) -> Journey:
    return Journey(house, clock, city, client_of)


def files(*given: tuple[str, bytes]) -> list[tuple[io.BytesIO, str]]:
    return [(io.BytesIO(content), name) for name, content in given]


def reply(town: Journey, case_id: int, status: int, *given: tuple[str, bytes], login: str = "tenant1", **typed: Any):
    visit = town.visit(login)
    shown = visit.get(f"/cases/{case_id}/reply")
    found = GENERATION.search(shown.text)
    assert found is not None
    form = {"generation": found.group(1), "answer": "object", "reason": TEXT, **typed}
    if given:
        form["files"] = files(*given)
    answer = visit.send(f"/cases/{case_id}/reply", form, content_type="multipart/form-data")
    assert answer.status_code == status, answer.text[-3000:]
    return answer


def all_of(town: Journey) -> list[Attachment]:
    with town.book.reading() as tx:
        return list(tx.scalars(select(Attachment).order_by(Attachment.id)))


def test_evidence_comes_with_a_reply_and_is_seen_by_who_sees_the_case(town: Journey) -> None:
    case_id = town.open_by_hand(town.machine(), Verdict.IDLE)
    town.told(case_id)
    reply(town, case_id, 302, ("../../年审计划.pdf", PDF), ("用量.xlsx", XLSX))
    plan, usage = all_of(town)
    assert (plan.name, plan.by, plan.role, plan.subject) == ("年审计划.pdf", "tenant1", "tenant", f"case:{case_id}")
    for login in ("tenant1", "supervisor2", "authority1", "auditor1"):
        page = town.page(login, f"/cases/{case_id}")
        assert f"/attachments/{plan.id}" in page
        assert plan.digest[:12] in page
        answer = town.visit(login).get(f"/attachments/{plan.id}")
        assert answer.data == PDF
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert "%E5%B9%B4" in answer.headers["Content-Disposition"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.mimetype == "application/pdf"
    assert "no-store" in answer.headers["Cache-Control"]
    for login in ("tenant2", "provider1"):
        assert town.visit(login).get(f"/attachments/{plan.id}").status_code == 404
    for login in ("sysadmin1", "secadmin1"):
        assert town.visit(login).get(f"/attachments/{plan.id}").status_code == 403
    assert town.visit("auditor1").get("/attachments/999").status_code == 404
    assert "年审计划.pdf" in town.page("supervisor2", f"/cases/{case_id}/rule"), "who rules has it before him"
    visit = town.visit("supervisor2")
    form = {
        "generation": town.see(case_id).generation,
        "decision": "uphold",
        "reason": "年审高峰属实,撤销本案",
        "files": files(("核实截图.png", PNG)),
    }
    assert visit.send(f"/cases/{case_id}/rule", form, content_type="multipart/form-data").status_code == 302
    assert "核实截图.png" in town.page("tenant1", f"/cases/{case_id}")
    with town.book.reading() as tx:
        one = tx.get_one(cases.Case, case_id)
        assert one.replies[0].attachments == [str(plan.id), str(usage.id)]
        assert len(one.rulings[0].attachments) == 1
        told = tx.scalars(select(AuditRecord).where(AuditRecord.action == "attachment.add")).all()
        assert [each.after["sm3"] for each in told][:2] == [plan.digest, usage.digest]
        assert list(check(tx)) == []
        assert list(attachments.check(tx)) == []


def test_what_is_refused_is_named_and_what_is_good_is_not_lost(town: Journey) -> None:
    case_id = town.open_by_hand(town.machine(), Verdict.IDLE)
    town.told(case_id)
    answer = reply(town, case_id, 422, ("好.pdf", PDF), ("空.txt", b""), ("图.png", SVG), ("x.html", b"<html></html>"))
    for name, why in (("空.txt", "是空的"), ("图.png", "不是可接受的类型"), ("x.html", "不是可接受的类型")):
        assert f"文件“{name}”" in answer.text
        assert why in answer.text
    assert "好.pdf" in answer.text, "it is there already"
    assert TEXT in answer.text
    assert town.see(case_id).state == CaseState.NOTICED
    with town.book.reading() as tx:
        (token,) = tx.scalars(select(StagedFile.token)).all()
    assert token in answer.text
    # A mistake elsewhere: the file goes along, still.
    answer = reply(town, case_id, 422, kept=token, reason="太短")
    assert token in answer.text
    reply(town, case_id, 302, kept=token)
    assert [one.name for one in all_of(town)] == ["好.pdf"]
    assert town.see(case_id).state == CaseState.DISPUTED


def test_too_large_too_many_and_twice_the_same_are_refused(town: Journey) -> None:
    case_id = town.open_by_hand(town.machine(), Verdict.IDLE)
    town.told(case_id)
    answer = reply(town, case_id, 422, ("巨大.txt", b"x" * (10 * 1024**2 + 1)))
    assert "单个文件不超过10 MB" in answer.text
    answer = reply(town, case_id, 422, ("a.pdf", PDF), ("b.pdf", PDF))
    assert "内容相同" in answer.text
    answer = reply(town, case_id, 422, *((f"{n}.txt", f"{n}".encode()) for n in range(6)))
    assert "一次最多5个文件" in answer.text
    assert all_of(town) == []
    assert town.see(case_id).state == CaseState.NOTICED


def test_uploads_need_the_token_of_the_page_and_the_right_to_answer(town: Journey) -> None:
    case_id = town.open_by_hand(town.machine(), Verdict.IDLE)
    town.told(case_id)
    form = {"generation": 1, "answer": "object", "reason": TEXT, "files": files(("a.pdf", PDF))}
    visit = town.visit("tenant1")
    assert visit.post(f"/cases/{case_id}/reply", data=form, content_type="multipart/form-data").status_code == 400
    stranger = town.visit("tenant2")
    stranger.get("/")
    form["files"] = files(("a.pdf", PDF))
    assert stranger.send(f"/cases/{case_id}/reply", form, content_type="multipart/form-data").status_code == 404
    reply(town, case_id, 302)
    form["files"] = files(("a.pdf", PDF))
    visit.send(f"/cases/{case_id}/reply", form, content_type="multipart/form-data")  # it is disputed by now
    with town.book.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(StagedFile)) == 0
    stolen = reply_token_of_another(town)
    other = town.open_by_hand(town.machine(), Verdict.IDLE)
    town.told(other)
    answer = reply(town, other, 422, kept=stolen)
    assert "不在了" in answer.text, "somebody else's upload is none of ours"


def reply_token_of_another(town: Journey) -> str:
    with town.book.transaction(town.supervisor) as tx:
        return attachments.stage(tx, "机密.pdf", PDF).token


def test_a_letter_is_answered_with_files_beside_each_machine(town: Journey) -> None:
    first, second = (town.open_by_hand(town.machine(), Verdict.IDLE) for _ in range(2))
    letter = town.told(first, second)
    visit = town.visit("tenant1")
    page = visit.get(f"/notices/{letter}/answer").text
    assert f'name="files-{first}"' in page
    form: dict[str, Any] = {f"generation-{one}": town.see(one).generation for one in (first, second)}
    form |= {f"answer-{one}": "object" for one in (first, second)} | {f"reason-{one}": TEXT for one in (first, second)}
    bad = {**form, f"files-{first}": files(("计划.pdf", PDF)), f"files-{second}": files(("坏.pdf", SVG))}
    answer = visit.send(f"/notices/{letter}/answer", bad, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert "文件“坏.pdf”" in answer.text
    with town.book.reading() as tx:
        (token,) = tx.scalars(select(StagedFile.token)).all()
    form |= {f"kept-{first}": token}
    form |= {f"files-{second}": files(("截图.png", PNG))}
    checked = visit.send(f"/notices/{letter}/answer", form, content_type="multipart/form-data")
    assert checked.status_code == 200
    assert "计划.pdf" in checked.text
    assert "截图.png" in checked.text
    assert all_of(town) == [], "looking at it binds nobody"
    with town.book.reading() as tx:
        tokens = dict(tx.execute(select(StagedFile.name, StagedFile.token)).all())
    del form[f"files-{second}"]
    form |= {f"kept-{second}": tokens["截图.png"], "confirmed": "1"}
    assert visit.send(f"/notices/{letter}/answer", form).status_code == 302
    assert [(one.subject, one.name) for one in all_of(town)] == [
        (f"case:{first}", "计划.pdf"),
        (f"case:{second}", "截图.png"),
    ]
