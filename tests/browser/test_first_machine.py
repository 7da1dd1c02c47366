"""From an empty house to the first machine that is recovered, in a browser, with what a data centre recorded instead of what a
simulator makes up: a month of a trace, entered as a listing and as files of usage."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import select

from console import assets, founding, i18n, worklist
from console.accounts import access_rules
from console.app import create_app
from console.book import EXTENSION
from console.founding import template
from console.settings import Settings
from console.tables import RunState
from metering.cases import Case, CaseState
from metering.judging import CaseKind
from metering.lake import Lake
from metering.workbench import Workbench
from providers.orders.tables import WorkOrder
from quota.actors import steward
from quota.calendar import ZONE
from quota.db import Book
from quota.directory import Person
from quota.inventory import Resource
from quota.ledger import entries
from tests.browser.conftest import LONG_MIN, Live, context_of, follow, serve

NOW = datetime(2013, 8, 30, 1, 0, tzinfo=UTC)
"""The recordings of August end the next morning."""
OWN = "Guan-jia-2026-Sheng"
PAPER = "示例市数据局〔2013〕9号 关于接管存量云资源的通知"


class StoryClock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


class Story:
    """The house, its clock, and people at their browsers."""

    def __init__(self, live: Live, settings: Settings, book: Book, browser: Browser, clock: StoryClock) -> None:
        self.live, self.settings, self.book, self.browser, self.clock = live, settings, book, browser, clock
        self.workbench = Workbench(book, Lake(settings.lake_dir), settings.data)
        self.pages: dict[str, tuple[Page, datetime]] = {}
        self.entered: set[str] = set()
        self.told: dict[str, str] = json.loads((settings.data / founding.ACCOUNTS).read_text("utf-8"))["accounts"]

    def person(self, login: str) -> Page:
        """``login`` at a browser, logged in; anew where the clock has moved on by more than an hour."""
        page, at = self.pages.get(login, (None, self.clock.now))
        if page is not None and self.clock.now - at < timedelta(hours=1):
            return page
        if page is not None:
            page.context.close()
        page = context_of(self.browser, base_url=self.live.address, viewport={"width": 1440, "height": 900}).new_page()
        page.goto("/login")
        first = login not in self.entered
        page.fill("#login", login)
        page.fill("#password", self._first(login) if first else OWN)
        page.click("main button.btn-primary")
        if first:
            for field, value in (("old", self._first(login)), ("password", OWN), ("again", OWN)):
                page.fill(f"#{field}", value)
            page.click("main button.btn-primary")
            self.entered.add(login)
        page.wait_for_url(self.live.address + "/")
        self.pages[login] = page, self.clock.now
        return page

    def _first(self, login: str) -> str:
        """As it was told at the founding or on a page, or laid down as a file to hand over."""
        return (
            self.told.get(login)
            or (self.settings.data / founding.entering.FIRST_PASSWORDS / f"{login}.txt").read_text("utf-8").split()[1]
        )

    def granted(self, login: str) -> None:
        """The security administrator grants what the account was entered for."""
        with self.book.reading() as tx:
            number = tx.scalars(select(Person.id).where(Person.login == login)).one()
        page = self.person("secadmin")
        page.goto(f"/settings/people/{number}/grant")
        page.click("main form button.btn-primary")
        page.wait_for_selector("text=已授权")

    def founded(self, workbook: Path, check: Callable[[Page], None]) -> None:
        """An authority is entered and granted; it looks at what would come of the workbook, and enters it; its people are granted."""
        page = self.person("sysadmin")
        page.goto("/settings/people/new")
        page.fill("#login", "zhuren")
        page.fill("#name", "主任")
        page.select_option("#role", "authority")
        page.click("main form button.btn-primary")
        self.told["zhuren"] = page.inner_text(".gj-secret").strip()
        self.granted("zhuren")
        page = self.person("zhuren")
        page.goto("/city/founding")
        page.click("text=用工作簿一次登记")
        page.set_input_files("#file", workbook)
        check(page)
        page.click("main form button.btn-primary")
        page.wait_for_selector("text=全部登记")
        check(page)
        page.click("text=全部登记")
        page.wait_for_selector("text=工作簿已登记")
        for login in ("zhuguan", "jiandu1", "jiandu2", "jiaoyu", "yunwei"):
            self.granted(login)

    def job(self, name: str) -> None:
        """Run a job as of a minute later: a job runs once for a moment."""
        self.clock.now += timedelta(minutes=1)
        assert worklist.run_once(self.workbench, self.settings, name) is RunState.DONE

    def night(self) -> None:
        """What came is rolled up, judged, and made into cases."""
        for name in ("roll", "assess", "open_cases"):
            self.job(name)

    def case(self) -> Case:
        with self.book.reading() as tx:
            return tx.scalars(select(Case).where(Case.kind == CaseKind.RECLAIM).order_by(Case.id)).first()

    def list(self, sheet: Path, check: Callable[[Page], None] = lambda _page: None) -> Page:
        """The supervisor enters the sheet as of half an hour ago."""
        page = self.person("jiandu1")
        page.goto("/inventories/new")
        page.fill("#as_of", f"{(self.clock.now - timedelta(minutes=30)).astimezone(ZONE):%Y-%m-%dT%H:%M}")
        page.set_input_files("#file", sheet)
        check(page)
        page.click("main form button.btn-primary")
        page.wait_for_selector("text=确认入库")
        check(page)
        page.click("text=确认入库")
        page.wait_for_url(lambda url: not url.endswith("/new"))
        return page

    def usage(self, files: list[Path]) -> Page:
        """The supervisor enters the files; what lies beyond now is refused, and comes with the same files a day later."""
        page = self.person("jiandu1")
        for path in files:
            page.goto("/usage-files/new")
            page.set_input_files("#file", path)
            page.select_option("#format", "bitbrains")
            page.click("main form button.btn-primary")
            page.wait_for_selector("text=确认入湖")
            assert "台账中没有的机器，其采样不采用" not in page.content()
            page.click("text=确认入湖")
            page.wait_for_url("**/lake/**")
        return page

    def by_hand(self) -> None:
        """The provider's staff carry out the order that waits for them, step by step."""
        page = self.person("yunwei")
        page.goto("/orders/?state=open")
        links = page.locator('main tbody a[href^="/orders/"]')
        for address in {links.nth(n).get_attribute("href") for n in range(links.count())}:
            for act in ("take_over", "start", "deliver"):
                page.goto(address)
                if page.locator(f'a[href="{address}/{act}"]').count():
                    page.click(f'a[href="{address}/{act}"]')
                    page.fill("#text", "按工单办理")
                    page.click("main form button.btn-primary, main form button.btn-danger")
                    page.wait_for_url(self.live.address + address)


@pytest.fixture
def story(tmp_path: Path, browser: Browser) -> Iterator[Story]:
    assert assets.ready(), "run python -m console.assets first"
    i18n.compile_all()
    settings = founding.found(Settings(data=tmp_path / "home", idle_minutes=LONG_MIN), demo=False, at=NOW)
    clock = StoryClock()
    book = Book(settings.database_url, clock=clock)
    template.write(tmp_path / "city.xlsx")
    with book.transaction(steward("found")) as tx:  # months pass, and what guards accounts has stories of its own
        access_rules.enact(
            tx, second=set(), grace_days=0, proof_minutes=0, password_days=0, allowed={}, reason="只用密码登录"
        )
    app = create_app(settings, book)
    app.extensions[EXTENSION].lake = Lake(settings.lake_dir)
    for live in serve(app, {}):
        made = Story(live, settings, book, browser, clock)
        yield made
        for page, _at in made.pages.values():
            page.context.close()
    book.dispose()


def listing(files: list[Path], to: Path, states: Mapping[str, str] = MappingProxyType({})) -> Path:
    """What the data centre's own sheet says: each machine's cores and memory, as its recording last had them; ``states`` of
    those that do not run."""
    with to.open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(("资源编号", "名称", "类型", "核数", "内存(GB)", "状态", "使用单位", "创建时间"))
        for number, path in enumerate(files):
            last = [part.strip() for part in path.read_text("utf-8").strip().splitlines()[-1].split(";")]
            cores, memory = max(1, int(float(last[1]))), max(1, round(float(last[5]) / 2**20))
            out.writerow(
                (
                    path.stem,
                    f"业务机{number}",
                    "云主机",
                    cores,
                    memory,
                    states.get(path.stem, "running"),
                    "A01",
                    "2013-01-01 00:00:00",
                )
            )
    return to


@pytest.mark.slow
def test_the_first_machine_is_recovered(
    story: Story, tmp_path: Path, traces: Path, check: Callable[[Page], None]
) -> None:
    files = sorted((traces / "raw" / "bitbrains_rnd" / "2013-8").glob("*.csv"))
    assert len(files) >= 4
    story.founded(tmp_path / "city.xlsx", check)

    # What runs there: the sheet, compared before it is entered.
    page = story.list(listing(files, tmp_path / "machines.csv"), check)
    page.wait_for_selector(f"text={len(files)}")

    # Whose it is, and on which paper: the supervisor takes it over for the department.
    page.goto("/takeovers/")
    check(page)
    page.click("text=核对并接管")
    page.fill("#document", PAPER)
    check(page)
    page.click('button[value="propose"]')
    page.wait_for_selector("text=已接管")

    # What it used: the files as they were recorded.
    check(story.usage(files))

    # Judged in the shadow, until the authority opens.
    story.night()
    page = story.person("zhuguan")
    assert "试运行" in page.content()
    page.goto("/rollout/decide")
    page.check('input[name="direction"][value="open"]')
    page.fill("#reason", "存量已接管，结论核对无误")
    page.click("main form button.btn-primary")
    page.wait_for_selector("text=本应立案")
    check(page)
    page.click("main form button.btn-primary")
    page.wait_for_url("**/rollout/")
    story.clock.now += timedelta(days=1)
    story.usage(files)
    story.night()
    case = story.case()
    assert case is not None, "nothing idle was found"
    with story.book.reading() as tx:
        machine = tx.get_one(Resource, case.resource_id)
        before = dict(machine.booked)

    # Reviewed, noticed; the department agrees.
    page = story.person("jiandu1")
    page.goto(f"/cases/{case.id}/review")
    check(page)
    follow(page.locator("main form button.btn-primary"))
    page.goto(f"/notices/new?case={case.id}")
    page.click("main form button.btn-primary")
    page.wait_for_selector("text=将签发")
    page.click("main form button.btn-primary")
    page.wait_for_url(re.compile(r".*/notices/\d+$"))
    tenant = story.person("jiaoyu")
    assert "待答复的通知" in tenant.content()
    tenant.goto(page.url + "/answer")
    check(tenant)
    tenant.check(f'input[name="answer-{case.id}"][value="agree"]')
    tenant.click("text=核对答复")
    tenant.wait_for_selector("text=提交后不能修改")
    follow(tenant.locator("main form button.btn-primary"))
    assert story.case().state == CaseState.CLEARED
    page.goto(f"/cases/{case.id}/act")
    check(page)
    page.check("#sure")
    follow(page.locator("main form button.btn-danger, main form button.btn-primary").first)
    assert story.case().state == CaseState.ORDERED

    # The provider's staff carry it out by hand; the clock runs through watch and bin; two persons delete.
    for _ in range(40):
        state = story.case().state
        if state == CaseState.CLOSED:
            break
        if state == CaseState.CONFIRMING:
            for login in ("jiandu2", "zhuguan"):
                page = story.person(login)
                page.goto(f"/cases/{case.id}/confirm-deletion")
                page.check("#sure")
                follow(page.locator("main form button.btn-danger"))
        elif state == CaseState.ORDERED:
            story.job("carry")  # the pool's cloud has no interface: it is the staff's
            story.by_hand()
        else:
            story.clock.now += timedelta(days=5)
            off = {CaseState.WATCHED: "stopped", CaseState.BINNED: "recycled"}[CaseState(state)]
            story.list(listing(files, tmp_path / "machines.csv", {machine.external_id: off}))
        for name in ("advance", "carry"):
            story.job(name)
    with story.book.reading() as tx:
        told = [(one.verb, one.state, one.by_hand, one.fault) for one in tx.scalars(select(WorkOrder))]
    assert story.case().state == CaseState.CLOSED, told
    page = story.person("jiaoyu")
    page.goto(f"/cases/{case.id}/certificate")
    assert "指纹核对一致" in page.content()
    check(page)
    with story.book.reading() as tx:
        assert sum(before.values()) > 0
        assert entries.conserved(tx)
        assert list(entries.check(tx)) == []
        assert dict(tx.get_one(Resource, case.resource_id).booked) == {}
