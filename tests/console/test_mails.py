"""Mails that a real server takes, refuses, or is not there to take: each notice is written about once."""

from __future__ import annotations

import email
import email.policy
import smtplib
from contextlib import contextmanager
from datetime import timedelta

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from sqlalchemy import func, select

from console.accounts import accounts
from console.app import create_app
from console.mail import mails, postman
from console.mail.mails import PATIENCE
from console.settings import BadSetting, Settings, load
from console.tables import Mail, MailItem
from metering.cases import notices as letters
from metering.reports import editions, periods
from metering.workbench import Workbench
from providers.assessment import Fitness, compatibility
from quota.actors import Actor, Role, steward
from quota.calendar import ZONE
from quota.directory import CloudProvider, delegations, outside
from quota.directory.people import Person
from quota.errors import Invalid, NotAllowed
from quota.inventory import inquiries, owners
from tests.city import City, DepartmentPlan, Plan, PoolPlan
from tests.patience import free_port

SYSADMIN = Actor("root", "系", Role.SYSADMIN)


class Postbox:
    """What the server was given. ``refuse``: address → what it answers."""

    def __init__(self):
        self.taken, self.refuse, self.data = [], {}, "250 OK"

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802 - aiosmtpd's name
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        if self.data == "250 OK":
            letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
            self.taken.append((envelope.rcpt_tos[0], letter))
        return self.data


@contextmanager
def serving(**more):
    port = free_port()
    box = Postbox()
    server = Controller(box, hostname="127.0.0.1", port=port, **more)
    server.start()
    try:
        yield box, port
    finally:
        server.stop()


def plain(port: int, **more) -> Settings:
    return Settings(
        secret_key="t" * 40,
        mail_server=f"127.0.0.1:{port}",
        mail_security="none",
        mail_from="管家 <guanjia@city.example>",
        public_url="https://guanjia.city.example",
        city="云港市",
        **more,
    )


def carried(works: Workbench, settings: Settings) -> postman.Round:
    return postman.carry_out(works, settings, create_app)


PLAN = Plan(
    companies={},
    departments={"bureau": DepartmentPlan("b", "某局"), "office": DepartmentPlan("o", "某处", above="bureau")},
)


class Town(City):
    """A bureau with an office below it, and who is written to: zhang of the bureau, zhao; li of the office is not."""

    def __init__(self, book, home):
        super().__init__(book, plan=PLAN, home=home)
        bureau, office = self.departments
        with book.transaction(steward()) as tx:
            for login, role, department, address in (
                ("zhang", Role.TENANT, bureau, "zhang@b.example"),
                ("li", Role.TENANT, office, ""),
                ("zhao", Role.AUTHORITY, None, "zhao@city.example"),
            ):
                who, _first = accounts.enrol(tx, login, login, role, department=department, granted=True)
                mails.write_to(tx, who, address)

    def letter(self, department: int) -> int:
        with self.book.transaction(Actor("wang", "王", Role.SUPERVISOR)) as tx:
            return letters.write(tx, department, "", 10, 5).id

    def states(self) -> list[tuple[str, str]]:
        with self.book.reading() as tx:
            return [(one.address, one.state) for one in tx.scalars(select(Mail).order_by(Mail.id))]


@pytest.fixture
def town(book, clock, tmp_path) -> Town:
    return Town(book, tmp_path)


def test_each_thing_is_written_about_once_to_the_department_or_the_one_above(town, clock):
    with serving() as (box, port):
        first, second = town.letter(town.office), town.letter(town.bureau)
        done = carried(town.works, plain(port))
        assert (done.made, done.sent, done.waiting) == (1, 1, 0)
        ((address, letter),) = box.taken
        assert address == "zhang@b.example"
        assert letter["Subject"] == "[管家] 2 项通知"
        assert (letter["From"], letter["Auto-Submitted"]) == ("管家 <guanjia@city.example>", "auto-generated")
        text = letter.get_content()
        for number in (first, second):
            assert f"https://guanjia.city.example/cases/notices/{number}" in text or f"/{number}" in text
        assert "闲收忙扩〔2026〕" in text
        assert "时限" in text
        assert carried(town.works, plain(port)).made == 0
        with town.book.transaction(steward()) as tx:
            tx.get_one(letters.Notice, first).reminded_at = tx.now
            tx.get_one(letters.Notice, first).escalated_at = tx.now
        assert carried(town.works, plain(port)).sent == 2
        assert [one[0] for one in box.taken[1:]] == ["zhang@b.example", "zhao@city.example"]
        assert "逾期未答复" in box.taken[2][1]["Subject"]


def test_an_inquiry_is_written_about_when_it_is_sent_near_its_day_and_after_it(town, clock):
    town.add(Plan(companies={"c": ("c", "云")}, pools={"p": PoolPlan("c")}, departments={}))
    stray = town.standing_machine({}, "stray", department_id=None, basis="", booked={})
    with town.book.transaction(steward()) as tx:
        who, _first = accounts.enrol(tx, "wang", "王", Role.SUPERVISOR, granted=True)
        mails.write_to(tx, who, "wang@city.example")
    with town.book.transaction(Actor("wang", "王", Role.SUPERVISOR)) as tx:
        day = tx.now.astimezone(ZONE).date() + timedelta(days=10)
        (asked,) = inquiries.ask(tx, owners.OWNER, {town.office: [stray]}, day, key="k")
    with serving() as (box, port):

        def reminded():
            with town.book.transaction(steward()) as tx:
                inquiries.remind(tx)
            carried(town.works, plain(port))
            return [(address, str(letter["Subject"])) for address, letter in box.taken]

        assert reminded() == [("zhang@b.example", f"[管家] {asked.number} 收到征询，请逐项答复")]
        text = box.taken[0][1].get_content()
        assert f"https://guanjia.city.example/inquiries/{asked.id}" in text
        clock.advance(days=8)
        assert reminded()[1:] == [("zhang@b.example", f"[管家] {asked.number} 征询将到期，请尽快答复")]
        clock.advance(days=3)
        assert reminded()[2:] == [("wang@city.example", f"[管家] {asked.number} 征询逾期未答复")]
        assert len(reminded()) == 3


def test_a_report_is_written_about_to_whose_it_is(town, clock):
    for scope in ("city", "department:o"):
        editions.make(town.works, scope, periods.period("2026-05"), actor=steward())
    with serving() as (box, port):
        assert carried(town.works, plain(port)).sent == 2
    told = {to: (letter["Subject"], letter.get_content()) for to, letter in box.taken}
    assert set(told) == {"zhao@city.example", "zhang@b.example"}  # the office has nobody with an address: the bureau
    assert "2026-05 运营报告第 1 版已出" in told["zhao@city.example"][0]
    assert "某处 2026-05" in told["zhang@b.example"][0]
    assert "https://guanjia.city.example/reports/editions/2" in told["zhang@b.example"][1]


def test_what_nobody_has_an_address_for_is_not_kept_for_later(town):
    with town.book.transaction(SYSADMIN) as tx:
        mails.write_to(tx, tx.scalars(select(Person).where(Person.login == "zhang")).one(), "")
    town.letter(town.office)
    with serving() as (box, port):
        assert carried(town.works, plain(port)).made == 0
        with town.book.transaction(SYSADMIN) as tx:
            mails.write_to(tx, tx.scalars(select(Person).where(Person.login == "zhang")).one(), "z@b.example")
        assert carried(town.works, plain(port)).made == 0
        assert box.taken == []


def test_what_is_old_when_the_post_is_set_up_is_left_alone(town, clock):
    town.letter(town.bureau)
    clock.advance(days=4)
    with serving() as (box, port):
        assert carried(town.works, plain(port)).made == 0
    assert box.taken == []


def test_who_becomes_a_deputy_is_written_to_and_either_of_whom_the_other_revokes(town):
    with town.book.transaction(steward()) as tx:
        wu, _first = accounts.enrol(tx, "wu", "吴", Role.TENANT, department=town.departments[0], granted=True)
        mails.write_to(tx, wu, "wu@b.example")
        zhang = tx.scalar(select(Person).where(Person.login == "zhang"))
        ids, away, deputy = (zhang.id, wu.id), zhang.actor(), wu.actor()
    today = town.book.clock().astimezone(ZONE).date()
    with town.book.transaction(away) as tx:
        row = delegations.delegate(tx, *ids, today, today, "外出").id
        assert [(one.address, one.items[0].source) for one in mails.gather(tx)] == [("wu@b.example", "deputy")]
        assert mails.gather(tx) == []
    with town.book.transaction(deputy) as tx:
        delegations.revoke(tx, row, "不便")
        assert [(one.address, one.items[0].source) for one in mails.gather(tx)] == [("zhang@b.example", "deputy_off")]


def test_a_server_that_is_not_there_loses_nothing(town, clock):
    town.letter(town.bureau)
    with serving() as (_box, port):
        pass
    with pytest.raises(OSError, match="refused"):
        carried(town.works, plain(port))
    assert town.states() == [("zhang@b.example", "waiting")]
    with serving() as (box, port):
        assert carried(town.works, plain(port)).sent == 1
    assert len(box.taken) == 1


def test_a_refusal_for_now_is_tried_again_and_one_for_good_is_not(town, clock):
    town.letter(town.bureau)
    with serving() as (box, port):
        box.refuse["zhang@b.example"] = "451 later"
        assert carried(town.works, plain(port)).sent == 0
        assert carried(town.works, plain(port)) == postman.Round(0, 0, 0), "not before its pause is over"
        clock.advance(seconds=61)
        del box.refuse["zhang@b.example"]
        assert carried(town.works, plain(port)).sent == 1
        town.letter(town.bureau)
        box.refuse["zhang@b.example"] = "550 no such box"
        carried(town.works, plain(port))
        assert town.states() == [("zhang@b.example", "sent"), ("zhang@b.example", "failed")]
        with town.book.transaction(SYSADMIN) as tx:
            assert "550 no such box" in tx.scalars(select(Mail.error).where(Mail.state == "failed")).one()
            mails.again(tx, tx.scalars(select(Mail.id).where(Mail.state == "failed")).one())
        del box.refuse["zhang@b.example"]
        assert carried(town.works, plain(port)).sent == 1
    assert len(box.taken) == 2


def test_after_three_days_it_is_said_that_it_failed(town, clock):
    town.letter(town.bureau)
    with serving() as (box, port):
        box.data = "452 full"
        carried(town.works, plain(port))
        clock.advance(seconds=PATIENCE.total_seconds() + 1)
        carried(town.works, plain(port))
    assert town.states() == [("zhang@b.example", "failed")]


def test_a_try_that_died_is_repeated_under_the_same_number(town, clock, monkeypatch):
    town.letter(town.bureau)
    with serving() as (box, port):
        with monkeypatch.context() as patched:  # the process dies after the server took it

            def dies(*_):
                raise KeyboardInterrupt

            patched.setattr(mails, "sent", dies)
            with pytest.raises(KeyboardInterrupt):
                carried(town.works, plain(port))
        assert town.states() == [("zhang@b.example", "waiting")]
        clock.advance(seconds=61)
        carried(town.works, plain(port))
    assert len({letter["Message-ID"] for _to, letter in box.taken}) == 1
    assert len(box.taken) == 2


def test_who_left_gets_nothing(town):
    town.letter(town.bureau)
    with town.book.transaction(steward()) as tx:
        mails.gather(tx)
        tx.scalars(select(Person).where(Person.login == "zhang")).one().active = False
    with serving() as (box, port):
        assert carried(town.works, plain(port)).sent == 0
    assert (box.taken, town.states()) == ([], [("zhang@b.example", "failed")])


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_encrypted_by_the_citys_own_authority_and_logged_in(town, tmp_path, security):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))

    def known(_server, _session, _envelope, _mechanism, data):
        return AuthResult(success=(data.login, data.password) == (b"guanjia", b"secret"), handled=False)

    more = {"ssl_context": context} if security == "tls" else {"tls_context": context, "require_starttls": True}
    town.letter(town.bureau)
    with serving(authenticator=known, auth_required=True, auth_require_tls=security == "starttls", **more) as (
        box,
        port,
    ):
        secure = {"mail_user": "guanjia", "mail_password": "secret"}
        base = plain(port, **secure)
        chosen = {name: getattr(base, name) for name in base.__dataclass_fields__} | {"mail_security": security}
        with pytest.raises(OSError, match="certificate"):
            carried(town.works, Settings(**chosen))
        wrong = Settings(**{**chosen, "mail_ca": bundle, "mail_password": "guess"})
        with pytest.raises(smtplib.SMTPAuthenticationError):
            carried(town.works, wrong)
        assert carried(town.works, Settings(**{**chosen, "mail_ca": bundle})).sent == 1
        assert len(box.taken) == 1


@pytest.mark.parametrize("bad", ["nobody", "a@b@c", "a b@c.example", "a@b.example\r\nBcc: x@y.example", "李@b.example"])
def test_what_is_no_address_is_refused(town, bad):
    with pytest.raises(Invalid) as refused, town.book.transaction(SYSADMIN) as tx:
        mails.write_to(tx, tx.get_one(Person, 1), bad)
    assert refused.value.params["field"] == "email"


def test_only_the_system_administrator_sets_addresses(town):
    with pytest.raises(NotAllowed), town.book.transaction(Actor("sec", "安", Role.SECADMIN)) as tx:
        mails.write_to(tx, tx.get_one(Person, 1), "a@b.example")


def test_a_name_cannot_write_headers(town):
    with town.book.transaction(SYSADMIN) as tx:
        tx.scalars(select(Person).where(Person.login == "zhang")).one().name = "张\r\nBcc: x@y.example"
    town.letter(town.bureau)
    with serving() as (box, port):
        carried(town.works, plain(port))
    assert box.taken[0][1]["Bcc"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAIL_SERVER", "a b"),
        ("MAIL_SERVER", "mail:port"),
        ("MAIL_SECURITY", "ssl"),
        ("MAIL_FROM", "nobody"),
        ("MAIL_CA", "/nowhere.pem"),
        ("PUBLIC_URL", "guanjia"),
    ],
)
def test_settings_that_make_no_sense_stop_the_start(tmp_path, name, value):
    with pytest.raises(BadSetting, match=name):
        load(tmp_path, {f"GUANJIA_{name}": value})


def test_a_server_without_a_sender_stops_the_start(tmp_path):
    with pytest.raises(BadSetting, match="mail_from"):
        load(tmp_path, {"GUANJIA_MAIL_SERVER": "mail.city.example"})
    set_up = load(tmp_path, {"GUANJIA_MAIL_SERVER": "mail.city.example", "GUANJIA_MAIL_FROM": "g@city.example"})
    assert set_up.mail_place == ("mail.city.example", 587)


def test_what_was_looked_at_is_not_looked_at_again(town, clock):
    for _ in range(3):
        town.letter(town.bureau)
    with town.book.transaction(steward()) as tx:
        assert len(mails.gather(tx)) == 1
        assert mails.gather(tx) == []
        assert tx.scalar(select(func.count()).select_from(MailItem)) == 3


def test_over_the_web_addresses_are_kept_and_a_trial_is_sent(house, app, client_of, tmp_path):
    root = client_of(Role.SYSADMIN)
    assert "尚未设置邮件服务器" in root.get("/settings/mail/").text
    with house.reading() as tx:
        own = tx.scalars(select(Person).where(Person.role == Role.SYSADMIN.value).order_by(Person.id)).first().id
    answer = root.send(f"/settings/people/{own}/email", {"email": "no address"})
    assert answer.status_code == 422
    assert "不是有效的邮箱地址" in answer.text
    root.send(f"/settings/people/{own}/email", {"email": "root@city.example"})
    assert "root@city.example" in root.get(f"/settings/people/{own}").text
    assert client_of(Role.SECADMIN).get(f"/settings/people/{own}/email").status_code == 403
    assert root.send("/settings/mail/trial").status_code == 409
    with serving() as (box, port):
        app.extensions["guanjia"].settings = app.jinja_env.globals["settings"] = plain(port)
        assert "给自己发测试邮件" in root.get("/settings/mail/").text
        root.send("/settings/mail/trial")
        assert "root@city.example" in root.get("/settings/mail/").text
        assert "测试邮件" in box.taken[0][1].get_content()
    root.send("/settings/mail/trial")
    assert "未能发出" in root.get("/settings/mail/").text
    with house.transaction(steward()) as tx:
        who = tx.get_one(Person, own)
        mails._mail(tx, who)
        mails.refused(tx, 1, "550 no", final=True)
    assert "重发" in root.get("/settings/mail/?state=failed").text
    assert "有 1 封邮件未能送达" in root.get("/").text
    root.send("/settings/mail/1/again")
    assert "待发送" in root.get("/settings/mail/").text
    assert root.send("/settings/mail/1/again").status_code == 409
    assert root.send("/settings/mail/9/again").status_code == 404


def test_what_ends_on_a_day_that_may_be_put_off_is_written_about_once_of_each_day(town, clock):
    """What is recognised outside the cloud, or must move, and certificates of combinations that the city asks for."""
    town.add(Plan(companies={"c": ("c", "云")}, departments={}))
    today = clock.now.astimezone(ZONE).date()
    with town.book.transaction(steward()) as tx:
        cloud = tx.scalars(select(CloudProvider)).one()
        company = cloud.id
        for login, role, provider in (("wang", Role.SUPERVISOR, None), ("chen", Role.PROVIDER, cloud)):
            who, _first = accounts.enrol(tx, login, login, role, provider=provider, granted=True)
            mails.write_to(tx, who, f"{login}@city.example")
    with town.book.transaction(Actor("wang", "王", Role.SUPERVISOR)) as tx:
        room = outside.register(tx, town.office, {"name": "旧机房", "kind": "room", "place": "三楼"}).id
        outside.recognise(tx, room, today + timedelta(days=31), "SQ-1")
        for chip, required in (("鲲鹏", True), ("飞腾", False)):
            compatibility.state(tx, company, chip, "麒麟", Fitness.CERTIFIED, required=required, certificate="A1",
                                valid_until=today + timedelta(days=30))  # fmt: skip

    def told(days: int = 0) -> list[tuple[str, str]]:
        clock.advance(days=days)
        box.taken.clear()
        assert carried(town.works, plain(port)).waiting == 0
        return [(one[0].partition("@")[0], one[1]["Subject"].partition("] ")[2]) for one in box.taken]

    with serving() as (box, port):
        assert told() == [("chen", f"鲲鹏 麒麟 适配证书将于 {today + timedelta(days=30)} 到期，请更新")]
        near = f"认定将于 {today + timedelta(days=31)} 到期，请再次申请认定或迁移"
        assert told(days=1) == [("zhang", f"旧机房 {near}")]
        assert told() == []
        with town.book.transaction(Actor("wang", "王", Role.SUPERVISOR)) as tx:
            outside.recognise(tx, room, today + timedelta(days=40), "SQ-2")
        assert [who for who, what in told(days=9)] == ["zhang"], "another day is written about again"
        over = f"鲲鹏 麒麟 适配证书已于 {today + timedelta(days=30)} 到期"
        assert told(days=21) == [("chen", over), ("wang", over)]
        with town.book.transaction(Actor("wang", "王", Role.SUPERVISOR)) as tx:
            outside.refuse(tx, room, today + timedelta(days=41), "SQ-3")
        assert told() == [("zhang", f"旧机房 须于 {today + timedelta(days=41)} 前迁移")]
        late = f"旧机房 应于 {today + timedelta(days=41)} 前迁移，已逾期"
        assert told(days=11) == [("zhang", late), ("wang", late)]
        assert told(days=1) == []
