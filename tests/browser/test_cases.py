"""Cases of the demo city in a real browser: the pages that decide, for everybody who decides, accessible at both widths."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from console.book import EXTENSION
from metering.cases.certificates import Certificate
from metering.cases.files import Case
from metering.cases.notices import Notice
from quota.directory.people import Person
from tests.browser.conftest import follow


def first(demo, query) -> int:
    """The first id that ``query`` gives in the demo's book."""
    with demo.app.extensions[EXTENSION].book.reading() as tx:
        found = tx.scalar(query.limit(1))
    assert found is not None, "the demo city has none of these"
    return found


def case_in(demo, state: str, *more) -> int:
    return first(demo, select(Case.id).where(Case.state == state, *more).order_by(Case.worth.desc()))


def letter_of(demo, login: str) -> int:
    own = select(Person.department_id).where(Person.login == login).scalar_subquery()
    query = select(Notice.id).join(Case, Case.notice_id == Notice.id)
    return first(demo, query.where(Notice.department_id == own, Case.state == "noticed"))


def addresses(demo) -> dict[str, list[str]]:
    """Login → addresses with parameters, one of each kind of page."""
    shrink, expand = (case_in(demo, "detected", Case.kind == kind) for kind in ("shrink", "expand"))
    certified = first(demo, select(Certificate.case_id))
    confirming, letter = case_in(demo, "confirming"), letter_of(demo, "tenant")
    told = first(demo, select(Case.id).where(Case.notice_id == letter, Case.state == "noticed"))
    resource = first(demo, select(Case.resource_id).where(Case.id == shrink))
    return {
        "supervisor": [f"/cases/{shrink}", f"/cases/{expand}", f"/cases/{shrink}/review", f"/notices/{letter}"],
        "authority": [f"/cases/{confirming}", f"/cases/{confirming}/confirm-deletion", f"/exemptions/new/{resource}"],
        "tenant": [f"/cases/{told}", f"/cases/{told}/reply", f"/notices/{letter}", f"/notices/{letter}/answer"],
        "provider": [f"/cases/{first(demo, select(Case.id).where(Case.orders > 0, Case.pool_id == 1))}"],
        "auditor": [f"/cases/{certified}/certificate", "/recoveries/"],
    }


@pytest.mark.parametrize("width", [1440, 390])
def test_the_pages_that_decide_are_accessible_and_fit(open_page, check, shot, demo, width):
    for login, urls in addresses(demo).items():
        page = open_page(login, width, at=demo)
        for number, url in enumerate(urls):
            assert page.goto(url).status == 200, f"{login} {url}"
            check(page)
            shot(page, f"case-{login}-{number}", full=True)


def test_a_department_answers_its_letter_without_a_mouse(open_page, demo):
    """From the home page to the check of the answers, by keyboard alone; nothing is sent."""
    page = open_page("tenant", at=demo)
    page.goto("/")
    page.get_by_role("link", name="闲收忙扩〔").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/answer")
    button = page.get_by_role("button", name="其余全部同意")
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="核对答复").wait_for()
    assert "提交后不能修改" in page.locator("main").inner_text()
    follow(page.get_by_role("button", name="返回修改"))
    assert page.locator("input[value=agree]:checked").count() > 0, "nothing typed is lost"


def test_terms_of_an_exemption_are_asked_only_where_one_is_asked_for(open_page, demo):
    """Without scripts: it is the style sheet that shows them."""
    letter = letter_of(demo, "tenant")
    taken = Case.kind != "expand"
    told = first(demo, select(Case.id).where(Case.notice_id == letter, Case.state == "noticed", taken))
    page = open_page("tenant", at=demo)
    page.goto(f"/cases/{told}/reply")
    category = page.get_by_label("豁免类别")
    assert not category.is_visible()
    page.get_by_label("申请豁免", exact=True).check()
    assert category.is_visible()
    page.get_by_label("异议", exact=True).check()
    assert not category.is_visible()
    assert page.get_by_label("附件").is_visible()


def test_the_queue_of_cases_is_walked_by_keys_and_by_links(open_page, demo):
    page = open_page("supervisor", at=demo)
    page.goto("/")
    queue = first(
        demo, select(Case.id).where(Case.state == "detected").order_by(Case.due_at, Case.worth.desc(), Case.id)
    )
    page.goto(f"/cases/{queue}")
    begun = page.url
    after = page.get_by_role("link", name="下一件")
    assert after.get_attribute("rel") == "next"
    page.keyboard.press("j")
    page.wait_for_url(lambda url: url != begun)
    page.keyboard.press("k")
    page.wait_for_url(begun)
    page.keyboard.press("o")
    page.wait_for_url(f"{begun}/review")
    assert page.get_by_role("button", name="审核同意").is_visible()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_batch_is_looked_at_before_it_is_signed(open_page, check, shot, demo, width):
    """From the groups to the last look at what is signed and what is left out; nothing is sent."""
    page = open_page("supervisor", width, at=demo)
    page.goto("/batches/")
    check(page)
    follow(page.locator("a[href*='/batches/review/']").first)
    check(page)
    shot(page, "batch-group", full=True)
    every = page.locator("input[name=case]").count()
    page.locator("input[name=case]").first.uncheck()
    page.get_by_role("button", name="核对").click()
    page.get_by_role("heading", name="除外 1 件").wait_for()
    check(page)
    shot(page, "batch-check", full=True)
    follow(page.get_by_role("button", name="返回修改"))
    assert page.locator("input[name=case]:checked").count() == every - 1, "what was unticked stays so"
