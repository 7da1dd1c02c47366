"""The second proof: enrolled, asked for, lost; the rules that ask for it; acts that ask again; sessions and networks."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pyotp
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from console import access, api
from console.accounts import access_rules, accounts, factors, sessions
from console.accounts.factor_kinds import FactorAnswer
from console.accounts.tables import AccessRule, RecoveryCode, SecondFactor, SignIn
from console.backups import keyring
from console.cli.commands import main
from console.schema import upgrade
from console.settings import Settings
from metering.cases import CaseAct
from quota import vault
from quota.actors import Role, steward
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory import Person
from quota.errors import Invalid, NotAllowed, WrongState
from tests.console.conftest import Visit

GOOD = "Guanjia-2026"
HIDDEN = re.compile(r'<input[^>]*?type="hidden"[^>]*?>')


def hidden(text):
    """The hidden fields of a page's forms, by name."""
    found = {}
    for one in HIDDEN.findall(text.split('id="main"')[1]):
        named, value = re.search(r'name="([^"]*)"', one), re.search(r'value="([^"]*)"', one)
        found[named.group(1)] = value.group(1) if value else ""
    return found


def person(book, login):
    with book.reading() as tx:
        return tx.scalars(select(Person).where(Person.login == login)).one()


def rules(book, **said):
    """Enact rules from the machine: what is not said asks for nothing."""
    plain = {"second": set(), "grace_days": 0, "proof_minutes": 0, "password_days": 0, "allowed": {}}
    with book.transaction(steward("test")) as tx:
        access_rules.enact(tx, **{**plain, "reason": "试", **said})


def enrol(visit: Visit, password, clock):
    """Enrol as people do; (the secret, the recovery codes)."""
    assert visit.send("/account/factor", {"passcode": password}).status_code == 302
    page = visit.get("/account/factor").text
    secret = re.search(r'gj-secret">([A-Z2-7 ]+)<', page).group(1).replace(" ", "")
    assert "data:image/svg+xml" in page
    answer = visit.send("/account/factor", {"passcode": code(secret, clock)})
    assert answer.status_code == 200, answer.text
    return secret, re.findall(r"<code>([A-Z0-9-]{19})</code>", answer.text)


def code(secret, clock, steps=0):
    return pyotp.TOTP(secret).at(clock.now + timedelta(seconds=30 * steps))


@pytest.fixture
def enrolled(client_of, city, clock):
    """(a browser that has logged in as auditor1, the secret, the recovery codes); the code of the enrolment is over."""
    visit = client_of("auditor1")
    secret, codes = enrol(visit, city.passwords["auditor1"], clock)
    clock.advance(seconds=60)
    return visit, secret, codes


def first_proof(app, city, login="auditor1") -> Visit:
    """Somebody whose password was taken and who is asked for the second proof."""
    visit: Visit = app.test_client()
    answer = visit.log_in(login, city.passwords[login])
    assert answer.status_code == 200
    assert "验证码" in answer.text
    assert visit.get("/").status_code == 302
    visit.get("/login/second")
    return visit


def test_who_enrolled_gets_in_by_password_and_code_alone(app, city, clock, enrolled):
    _visit, secret, codes = enrolled
    assert len(codes) == len(set(codes)) == factors.CODES
    stranger = first_proof(app, city)
    assert stranger.send("/login/second", {"passcode": "000000"}).status_code == 422
    assert stranger.get("/").status_code == 302
    answer = stranger.send("/login/second", {"passcode": code(secret, clock), "next": "/account/"})
    assert (answer.status_code, answer.location) == (302, "/account/")
    assert "两步" in stranger.get("/account/").text


def test_enrolling_ends_what_was_open_elsewhere(client_of, city, clock):
    here, there = client_of("auditor1"), client_of("auditor1")
    enrol(here, city.passwords["auditor1"], clock)
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302


def test_a_code_is_taken_once(app, city, clock, enrolled):
    _visit, secret, _codes = enrolled
    seen = code(secret, clock)
    assert first_proof(app, city).send("/login/second", {"passcode": seen}).status_code == 302
    assert first_proof(app, city).send("/login/second", {"passcode": seen}).status_code == 422
    clock.advance(seconds=30)
    assert first_proof(app, city).send("/login/second", {"passcode": seen}).status_code == 422
    assert first_proof(app, city).send("/login/second", {"passcode": code(secret, clock)}).status_code == 302
    # Nor is one older than the last that was taken, though it lies within the slack.
    assert first_proof(app, city).send("/login/second", {"passcode": code(secret, clock, -1)}).status_code == 422


@pytest.mark.parametrize(("steps", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_half_a_minute_wrong(clock, steps, taken):
    kind, secret = factors.KINDS["totp"], pyotp.random_base32()
    assert (kind.verify(secret, 0, FactorAnswer(code(secret, clock, steps), clock.now)) is not None) == taken


@pytest.mark.parametrize(
    "answer", ["", " ", "12345", "1234567", "abcdef", "-12345", "+12345", "1 2 3", "١٢٣٤٥٦x", "0" * 5000]
)
def test_what_is_no_code_is_refused(house, settings, enrolled, answer):
    who = person(house, "auditor1")
    with pytest.raises(NotAllowed, match=r"factor\.wrong"):
        factors.prove(house, settings, who.id, answer, access.Origin("10.0.0.1"))


def test_codes_are_read_as_they_are_meant(house, settings, clock, enrolled):
    _visit, secret, codes = enrolled
    who, here = person(house, "auditor1"), access.Origin("10.0.0.1")
    wide = code(secret, clock).translate({48 + n: 0xFF10 + n for n in range(10)})
    assert factors.prove(house, settings, who.id, f" {wide[:3]} {wide[3:]}", here) == "totp"
    assert factors.prove(house, settings, who.id, codes[0].lower().replace("-", " "), here) == factors.RECOVERY


def test_a_recovery_code_lets_in_once_and_is_kept_as_a_digest(app, city, house, enrolled):
    _visit, _secret, codes = enrolled
    assert first_proof(app, city).send("/login/second", {"passcode": codes[3]}).status_code == 302
    assert first_proof(app, city).send("/login/second", {"passcode": codes[3]}).status_code == 422
    with house.reading() as tx:
        kept = tx.scalars(select(RecoveryCode)).all()
        trail = str([one.content() for one in tx.scalars(select(AuditRecord))])
    assert len(kept) == factors.CODES
    assert not any(one[:4] in row.digest or one in trail for one in codes for row in kept)


def test_new_recovery_codes_take_the_place_of_the_old(app, city, clock, enrolled):
    visit, secret, codes = enrolled
    assert visit.send("/account/codes", {"passcode": "000000"}).status_code == 422
    answer = visit.send("/account/codes", {"passcode": code(secret, clock)})
    new = re.findall(r"<code>([A-Z0-9-]{19})</code>", answer.text)
    assert len(new) == factors.CODES
    assert first_proof(app, city).send("/login/second", {"passcode": codes[0]}).status_code == 422
    assert first_proof(app, city).send("/login/second", {"passcode": new[0]}).status_code == 302


def test_the_secret_lies_sealed_in_the_book(house, settings, enrolled):
    _visit, secret, _codes = enrolled
    with house.reading() as tx:
        row = tx.scalars(select(SecondFactor)).one()
        trail = str([one.content() for one in tx.scalars(select(AuditRecord))])
    assert secret not in row.sealed
    assert secret not in trail
    assert vault.unseal(row.sealed, settings.factors_key()) == secret
    assert (settings.data / "factors.key").stat().st_mode & 0o777 == 0o600
    # A city that sets keys later keeps what was sealed before, and seals with its own.
    later = Settings(data=settings.data, secrets_key=vault.new_key())
    assert vault.unseal(row.sealed, later.factors_key()) == secret
    assert vault.unseal(vault.seal("x", later.factors_key()), settings.factors_key()) is None


def test_a_backup_holds_the_key_among_its_keys(settings, enrolled):
    """And so not beside the secrets that it opens."""
    settings = replace(settings, backup_key=vault.new_key())
    assert keyring.is_secret("factors.key")
    kept = keyring.opened(keyring.seal(settings), settings.backup_key)
    assert kept["factors.key"].decode().strip() == settings.factors_key()


def test_a_lost_key_leaves_the_recovery_codes(app, city, settings, clock, enrolled):
    _visit, secret, codes = enrolled
    (settings.data / "factors.key").unlink()
    assert first_proof(app, city).send("/login/second", {"passcode": code(secret, clock)}).status_code == 422
    assert first_proof(app, city).send("/login/second", {"passcode": codes[0]}).status_code == 302


def test_guessing_codes_has_to_wait(app, city, clock, enrolled):
    _visit, secret, _codes = enrolled
    stranger = first_proof(app, city)
    answers = [stranger.send("/login/second", {"passcode": "000000"}).status_code for _try in range(6)]
    assert answers == [422] * 5 + [429]
    other = first_proof(app, city)
    assert other.send("/login/second", {"passcode": code(secret, clock)}).status_code == 429
    clock.advance(seconds=61)
    assert other.send("/login/second", {"passcode": code(secret, clock)}).status_code == 302


def test_a_first_proof_does_not_wait_for_ever(app, city, clock, house, enrolled):
    visit, secret, _codes = enrolled
    late = first_proof(app, city)
    clock.advance(minutes=6)
    assert late.send("/login/second", {"passcode": code(secret, clock)}).location.startswith("/login")
    assert late.get("/login/second").status_code == 302
    stale = first_proof(app, city)
    form = {"old": city.passwords["auditor1"], "password": GOOD, "again": GOOD}
    assert visit.send("/password", form).status_code == 302
    assert "请重新登录" in stale.send("/login/second", {"passcode": code(secret, clock)}).text


@pytest.mark.parametrize("held", [None, "x", [], [1], [1, "password", 0, 0], [10**9, "password", 0, 1 << 40]])
def test_a_first_proof_is_not_made_up(client, held):
    with client.session_transaction() as session:
        session["first-proof"] = held
    assert client.get("/login/second").status_code == 302


def test_what_was_typed_survives_both_proofs(app, city, clock, enrolled):
    _visit, secret, _codes = enrolled
    visit: Visit = app.test_client()
    visit.get("/login")
    kept = {"kept-name": "王五", "next": "/somewhere"}
    page = visit.send("/login", {"login": "auditor1", "password": city.passwords["auditor1"], **kept}).text
    fields = hidden(page)
    assert (fields["kept-name"], fields["next"]) == ("王五", "/somewhere")
    answer = visit.post("/login/second", data={**fields, "passcode": code(secret, clock)})
    assert answer.status_code == 200
    assert 'action="/somewhere"' in answer.text
    assert hidden(answer.text)["name"] == "王五"


def test_a_factor_is_exchanged_by_a_code_and_removed_by_one(app, client_of, city, clock, enrolled):
    visit, secret, _codes = enrolled
    assert visit.send("/account/factor", {"passcode": city.passwords["auditor1"]}).status_code == 422
    new, _codes = enrol(visit, code(secret, clock), clock)
    clock.advance(seconds=60)
    assert first_proof(app, city).send("/login/second", {"passcode": code(secret, clock)}).status_code == 422
    assert visit.send("/account/factor/remove", {"passcode": code(new, clock)}).status_code == 302
    assert visit.get("/account/").status_code == 200
    assert client_of("auditor1").get("/").status_code == 200


def test_enrolling_wants_the_password_and_ends_after_a_while(client_of, city, clock):
    visit = client_of("auditor1")
    assert visit.send("/account/factor", {"passcode": "Wrong-pass-1"}).status_code == 422
    assert "gj-secret" not in visit.get("/account/factor").text
    visit.send("/account/factor", {"passcode": city.passwords["auditor1"]})
    shown = visit.get("/account/factor").text
    assert "gj-secret" in shown
    visit.send("/account/factor/again")
    assert "gj-secret" not in visit.get("/account/factor").text
    visit.send("/account/factor", {"passcode": city.passwords["auditor1"]})
    clock.advance(minutes=16)
    assert "gj-secret" not in visit.get("/account/factor").text


# -- by role


def test_a_role_that_needs_two_factors_is_reminded_and_then_led_to_enrol(client_of, city, clock, house):
    rules(house, second={Role.AUDITOR}, grace_days=7)
    visit = client_of("auditor1")
    assert "前登记两步验证" in visit.get("/").text
    clock.advance(days=7, seconds=1)
    visit = client_of("auditor1")
    assert visit.get("/").location == "/account/factor"
    assert visit.get("/search?q=a").location == "/account/factor"
    secret, _codes = enrol(visit, city.passwords["auditor1"], clock)
    assert visit.get("/").status_code == 200
    clock.advance(seconds=60)
    refused = visit.send("/account/factor/remove", {"passcode": code(secret, clock)})
    assert refused.status_code == 409
    assert client_of("supervisor1").get("/").status_code == 200


def test_a_role_keeps_its_grace_when_other_rules_change(house, clock):
    rules(house, second={Role.AUDITOR}, grace_days=7)
    clock.advance(days=3)
    rules(house, second={Role.AUDITOR, Role.TENANT}, grace_days=7, reason="另一次")
    with house.reading() as tx:
        held = access_rules.in_force(tx)
    assert held.due(Role.TENANT) - held.due(Role.AUDITOR) == timedelta(days=3)
    assert held.due(Role.PROVIDER) is None


def test_who_lost_it_enrols_anew_by_two_persons(app, client_of, city, clock, house, enrolled):
    visit, _secret, codes = enrolled
    who = person(house, "auditor1")
    sysadmin, secadmin = client_of(Role.SYSADMIN), client_of(Role.SECADMIN)
    assert secadmin.send(f"/settings/people/{who.id}/factor-lost", {"reason": "丢了"}).status_code == 403
    assert sysadmin.send(f"/settings/people/{who.id}/factor-lost", {"reason": " "}).status_code == 422
    assert sysadmin.send(f"/settings/people/{who.id}/factor-lost", {"reason": "手机丢失"}).status_code == 302
    assert sysadmin.send(f"/settings/people/{who.id}/factor-lost", {"reason": "手机丢失"}).status_code == 422
    assert "手机丢失" in secadmin.get(f"/settings/people/{who.id}").text
    assert "两步验证遗失" in secadmin.get("/").text
    with house.reading() as tx:
        loss = factors.open_loss(tx, who.id).id
    assert sysadmin.send(f"/settings/people/losses/{loss}/decide", {"grant": "1"}).status_code == 403
    assert visit.get("/").status_code == 200
    assert secadmin.send(f"/settings/people/losses/{loss}/decide", {"grant": "1"}).status_code == 302
    assert secadmin.send(f"/settings/people/losses/{loss}/decide", {"grant": "1"}).status_code == 409
    assert visit.get("/").status_code == 302
    again = client_of("auditor1")
    assert again.get("/").status_code == 200
    enrol(again, city.passwords["auditor1"], clock)
    assert first_proof(app, city).send("/login/second", {"passcode": codes[0]}).status_code == 422


def test_a_loss_that_is_declined_changes_nothing(house, enrolled):
    who = person(house, "auditor1")
    with house.transaction(person(house, "sysadmin1").actor()) as tx:
        loss = factors.report_loss(tx, tx.get_one(Person, who.id), "手机丢失").id
    with house.transaction(person(house, "secadmin1").actor()) as tx:
        factors.decide_loss(tx, loss, False)
    with house.reading() as tx:
        assert factors.of_person(tx, who.id)


def test_nobody_reports_or_decides_the_own_loss(house, client_of, city, clock):
    for login, verb in (("sysadmin1", "report"), ("secadmin1", "decide")):
        enrol(client_of(login), city.passwords[login], clock)
        who = person(house, login)
        if verb == "report":
            with house.transaction(who.actor()) as tx, pytest.raises(NotAllowed):
                factors.report_loss(tx, tx.get_one(Person, who.id), "丢了")
            continue
        with house.transaction(person(house, "sysadmin1").actor()) as tx:
            loss = factors.report_loss(tx, tx.get_one(Person, who.id), "丢了").id
        with house.transaction(who.actor()) as tx, pytest.raises(NotAllowed):
            factors.decide_loss(tx, loss, True)


def test_nobody_enrols_for_somebody_else(house, settings):
    with house.transaction(person(house, "secadmin1").actor()) as tx:
        other = tx.scalars(select(Person).where(Person.login == "auditor1")).one()
        for act in (
            lambda: factors.begin(tx, settings, other),
            lambda: factors.confirm(tx, settings, other, "000000"),
            lambda: factors.renew_codes(tx, other),
            lambda: factors.remove(tx, other),
        ):
            with pytest.raises(NotAllowed):
                act()


# -- acts that ask again


def test_a_grant_asks_again_and_keeps_what_was_typed(client_of, city, clock, house):
    rules(house, proof_minutes=10)
    secadmin, who = client_of(Role.SECADMIN), person(house, "supervisor1")
    form = {"role": "auditor", "department": "0", "provider": "0"}
    clock.advance(minutes=11)
    asked = secadmin.send(f"/settings/people/{who.id}/grant", form)
    assert asked.status_code == 401
    assert person(house, "supervisor1").role == "supervisor"
    fields = hidden(asked.text)
    assert fields["kept-role"] == "auditor"
    wrong = secadmin.post("/prove", data={**fields, "passcode": "Wrong-pass-1"})
    assert wrong.status_code == 422
    assert hidden(wrong.text)["kept-role"] == "auditor"
    assert secadmin.post("/prove", data={**fields, "passcode": ""}).status_code == 422
    went = secadmin.post("/prove", data={**fields, "passcode": city.passwords["secadmin1"]})
    assert went.status_code == 200
    assert f'action="/settings/people/{who.id}/grant' in went.text
    assert secadmin.post(f"/settings/people/{who.id}/grant", data=hidden(went.text)).status_code == 302
    assert person(house, "supervisor1").role == "auditor"


def test_who_enrolled_is_asked_for_the_factor_and_not_the_password(client_of, city, clock, house):
    rules(house, proof_minutes=10)
    secadmin = client_of(Role.SECADMIN)
    secret, _codes = enrol(secadmin, city.passwords["secadmin1"], clock)
    clock.advance(minutes=11)
    fields = hidden(secadmin.send("/settings/access/enact", {"grace_days": "3"}).text)
    assert secadmin.post("/prove", data={**fields, "passcode": city.passwords["secadmin1"]}).status_code == 422
    assert secadmin.post("/prove", data={**fields, "passcode": code(secret, clock)}).status_code == 200
    assert secadmin.send("/settings/access/enact", {"grace_days": "3"}).status_code == 422  # the form itself, again


def test_guesses_at_the_password_of_an_open_session_have_to_wait(client_of, clock, house):
    rules(house, proof_minutes=10)
    visit = client_of(Role.SECADMIN)
    visit.get("/")
    answers = [visit.send("/prove", {"passcode": "Wrong-pass-1", "next": "/"}).status_code for _try in range(6)]
    assert answers == [422] * 5 + [429]


def test_a_program_does_not_do_what_asks_again(app, house, clock):
    """Nor what comes before anything else: its person has to be there."""
    app.add_url_rule(
        "/weighs", "weighs", access.allow(*access.EVERYBODY)(access.proven(lambda: "done")), methods=["POST"]
    )
    who = person(house, "secadmin1").id

    def asked():
        with app.test_request_context("/weighs", method="POST"), pytest.MonkeyPatch.context() as patch:
            patch.setattr(access.asked, "by_program", lambda: True)
            assert access.stand_in(who, "token:1")
            access._guard()

    asked()
    rules(house, proof_minutes=10)
    with pytest.raises(NotAllowed, match=r"proof\.person"):
        asked()
    rules(house, second={Role.SECADMIN})
    with pytest.raises(NotAllowed, match=r"factor\.first"):
        asked()


WEIGHTY = re.compile(r"\.(enact|grant|delete|remove|close|end|withdraw|reset|reorganise|undo|decide|lift|decide_loss)$")
NOT_ASKED = {
    "exemptions.grant": "keeps what runs",
    "supervision_items.withdraw": "a draft that nothing was decided by",
    "business.withdraw": "a period that a department entered itself",
    "campaigns.close": "takes nothing away: silence decides nothing",
    "dated.close": "an entry of a register, which stays readable with the reason",
    "decisions.decide": "a signature among several, by the queue",
    "disputes.decide": "money that somebody else may still contest, and a reason that stays",
    "inquiries.withdraw": "an own question, which decided nothing",
    "loans.withdraw": "the own offer, before anything was lent",
    "own_account.end": "the own session",
    "own_account.remove": "asks for a code itself",
    "alert_mappings.withdraw": "a draft",
    "billing_years.withdraw": "a draft",
    "exchange_rules.withdraw": "a draft",
    "formulas.withdraw": "a draft",
    "policies.withdraw": "a draft",
    "rule_drafts.withdraw": "a draft",
    "tickets.close": "of a ticket that its department did not confirm in its time, which stays readable with the reason",
    "cloud_targets.withdraw": "a draft",
    "request_forms.withdraw": "a draft",
    "request_copies.end": "an own template: requests stay",
    "surveys.withdraw": "a draft",
    "tickets.withdraw": "by whoever filed it, which stays readable",
    "rectifications.withdraw": "an order of the steward's to a company, which stays readable with the reason",
    "records.withdraw": "a note of the steward's, which stays readable",
    "requests.withdraw": "the own request",
    "shutdowns.withdraw": "the own shutdown, before anything of it was decided",
}  # fmt: skip


def test_what_enacts_deletes_or_grants_asks_again(app):
    posting = {rule.endpoint for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    unmarked = {
        endpoint
        for endpoint in posting
        if not endpoint.startswith("api.")
        and WEIGHTY.search(endpoint)
        and not getattr(app.view_functions[endpoint], access.PROVEN, False)
    }
    assert unmarked <= set(NOT_ASKED), unmarked - set(NOT_ASKED)
    # Programs come by addresses of their own to the same views.
    for endpoint, one in api.door.gate(app).operations.items():
        settled = dict(one.values)
        assert access.weighs(app.view_functions[endpoint], {}) == access.weighs(one.view, settled), endpoint
    # Whoever has a token acts long after the proof: so who makes one, or lets one in, is there.
    assert all(access.weighs(app.view_functions[f"tokens.{one}"], {}) for one in ("make", "make_for", "confirm"))
    assert {"people.grant", "policies.enact", "rules.enact", "access_rules.enact", "pools.close"} <= posting - unmarked


MILD = {
    CaseAct.REVIEW: "leads to a letter",
    CaseAct.DISMISS: "leaves the machine alone",
    CaseAct.REPLY: "the department's own word",
    CaseAct.RULE: "decides that something may be done, and does nothing",
    CaseAct.WITHDRAW: "leaves the machine alone",
    CaseAct.RESTORE: "gives back",
    CaseAct.ROLL_BACK: "gives back",
    CaseAct.KEEP: "leaves the machine alone",
    CaseAct.ISSUE: "a letter, on a page of its own",
}


def test_what_takes_a_machine_or_its_data_asks_again(app):
    view = app.view_functions["cases.do"]
    weighty = {one for one in CaseAct if access.weighs(view, {"act_name": one.value.replace("_", "-")})}
    assert weighty == set(CaseAct) - set(MILD)
    assert CaseAct.CONFIRM_DELETION in weighty
    assert access.weighs(view, {"act_name": "confirm_deletion"}), "by its other spelling, too"


def test_neither_an_old_session_nor_a_token_confirms_a_deletion(app, client_of, clock, house):
    supervisor, who = client_of(Role.SUPERVISOR), person(house, "supervisor1")
    with house.transaction(who.actor()) as tx:
        scopes = ["cases:read", "cases:act"]
        _row, secret = api.tokens.make(tx, person(house, "supervisor1"), "x", scopes, 30, api.TokenKind.PERSONAL)
    rules(house, proof_minutes=10)
    clock.advance(minutes=11)
    assert supervisor.send("/cases/1/confirm-deletion").status_code == 401
    assert supervisor.send("/cases/1/act").status_code == 401
    assert supervisor.send("/cases/1/review").status_code == 404
    bearer = {"Authorization": f"Bearer {secret}"}

    def told(act):
        answer = app.test_client().post(f"/api/v1/cases/1/{act}", json={"generation": 1}, headers=bearer)
        return answer.status_code, answer.get_json()["code"]

    assert told("confirm-deletion") == told("act") == (403, "proof.person")
    assert told("dismiss")[0] in (404, 422)


# -- sessions


def test_sessions_are_listed_and_ended_by_their_person(app, client_of, house):
    here, there, other = client_of("auditor1"), client_of("auditor1"), client_of("auditor2")
    page = here.get("/account/").text
    assert page.count("Werkzeug") == 2
    who, stranger = person(house, "auditor1"), person(house, "auditor2")
    with house.reading() as tx:
        mine = tx.scalars(select(SignIn.id).where(SignIn.person_id == who.id).order_by(SignIn.id)).all()
        theirs = tx.scalars(select(SignIn.id).where(SignIn.person_id == stranger.id)).one()
    assert here.send(f"/account/sessions/{theirs}/end").status_code == 404
    assert other.get("/").status_code == 200
    assert here.send(f"/account/sessions/{mine[1]}/end").status_code == 302
    assert there.get("/").status_code == 302
    assert here.send(f"/account/sessions/{mine[1]}/end").status_code == 409
    again = client_of("auditor1")
    assert here.send("/account/sessions/end").status_code == 302
    assert (here.get("/").status_code, again.get("/").status_code) == (200, 302)


def test_the_security_administrator_ends_anybodys(client_of, house):
    secadmin, sysadmin, visit = client_of(Role.SECADMIN), client_of(Role.SYSADMIN), client_of("auditor1")
    who = person(house, "auditor1")
    with house.reading() as tx:
        session = tx.scalars(select(SignIn.id).where(SignIn.person_id == who.id)).one()
    for admin, status in ((sysadmin, 403), (visit, 403), (secadmin, 302)):
        assert admin.send(f"/settings/people/sessions/{session}/end").status_code == status
    assert visit.get("/").status_code == 302
    visit = client_of("auditor1")
    assert sysadmin.send(f"/settings/people/{who.id}/sessions/end").status_code == 403
    assert secadmin.send(f"/settings/people/{who.id}/sessions/end").status_code == 302
    assert visit.get("/").status_code == 302


def test_leaving_ends_this_browsers_session_alone(client_of):
    here, there = client_of("auditor1"), client_of("auditor1")
    here.send("/logout")
    assert (here.get("/").status_code, there.get("/").status_code) == (302, 200)


def test_an_ended_session_is_not_listed_and_an_idle_one_neither(client_of, clock, house, settings):
    client_of("auditor1")
    who = person(house, "auditor1")
    with house.reading() as tx:
        assert len(sessions.of_person(tx, settings, who.id)) == 1
    clock.advance(minutes=36)
    with house.reading() as tx:
        assert sessions.of_person(tx, settings, who.id) == []
    clock.advance(days=sessions.KEPT_DAYS)
    with house.transaction(steward()) as tx:
        assert sessions.sweep(tx) == 1


def test_a_session_in_use_is_seen(client_of, clock, house, settings):
    visit, who = client_of("auditor1"), person(house, "auditor1")
    for _step in range(4):
        clock.advance(minutes=20)
        assert visit.get("/").status_code == 200
    with house.reading() as tx:
        (held,) = sessions.of_person(tx, settings, who.id)
        assert held.seen_at == clock.now


def test_the_token_of_a_session_is_not_in_the_book(client_of, house):
    visit = client_of("auditor1")
    with visit.session_transaction() as session:
        token = session["_user_id"]
    with house.reading() as tx:
        row = tx.scalars(select(SignIn).order_by(SignIn.id.desc()).limit(1)).one()
    assert row.digest == sessions.digest(token)
    assert token not in str(vars(row))


# -- networks and passwords


def test_a_role_comes_from_its_networks_alone(app, client_of, city, house):
    visit = client_of("auditor1")
    rules(house, allowed={Role.AUDITOR: ("10.1.0.0/16", "2001:db8::/48")})
    assert visit.get("/").status_code == 403
    assert visit.get("/", environ_base={"REMOTE_ADDR": "10.1.2.3"}).status_code == 200
    assert visit.get("/", environ_base={"REMOTE_ADDR": "::ffff:10.1.2.3"}).status_code == 200
    assert visit.get("/", environ_base={"REMOTE_ADDR": "2001:db8:0:1::5"}).status_code == 200
    assert visit.get("/", environ_base={"REMOTE_ADDR": "nonsense"}).status_code == 403
    new: Visit = app.test_client()
    refused = new.log_in("auditor1", city.passwords["auditor1"])
    assert refused.status_code == 422
    assert "只能从规定的网段登录" in refused.text
    assert client_of("supervisor1").get("/").status_code == 200
    assert visit.send("/logout").status_code == 302


def form_of(**said):
    return {"grace_days": "14", "proof_minutes": "0", "password_days": "0", "reason": "等保整改", **said}


def test_nobody_enacts_networks_that_keep_them_out(client_of, house):
    secadmin = client_of(Role.SECADMIN)
    refused = secadmin.send("/settings/access/enact", form_of(networks_secadmin="10.1.0.0/16"))
    assert refused.status_code == 422
    assert "启用后您将无法登录" in refused.text
    assert "10.1.0.0/16" in refused.text
    assert secadmin.get("/").status_code == 200
    fits = form_of(
        networks_secadmin="10.1.0.0/16\n127.0.0.0/8", networks_tenant="10.2.3.4/16, fd00::/8", second_secadmin="y"
    )
    assert secadmin.send("/settings/access/enact", fits).status_code == 302
    page = secadmin.get("/settings/access/").text
    assert "10.2.0.0/16" in page
    assert "等保整改" in page
    assert secadmin.send("/settings/access/enact", fits).status_code == 422  # nothing changes


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"networks_tenant": "10.0.0.300/8"}, "“10.0.0.300/8”不是网段"),
        ({"networks_tenant": "政务外网"}, "“政务外网”不是网段"),
        ({"networks_tenant": "\n".join(f"10.{n}.0.0/16" for n in range(51))}, "最多50个网段"),
        ({"grace_days": "91"}, "须在0到90之间"),
        ({"proof_minutes": "-1"}, "须在0到1,440之间"),
        ({"password_days": "9" * 30}, "须在0到3,650之间"),
        ({"password_days": "soon"}, "请改正 1 处"),
        ({"reason": "  "}, "请写明理由"),
        ({"reason": ""}, "请写明理由"),
    ],
)
def test_rules_that_make_no_sense_are_refused_with_their_place(client_of, house, said, told):
    answer = client_of(Role.SECADMIN).send("/settings/access/enact", form_of(**said))
    assert answer.status_code == 422
    assert told in answer.text
    with house.reading() as tx:
        assert tx.scalars(select(AccessRule)).all() == []


def test_only_the_security_administrator_enacts(client_of, house):
    for login, status in (("sysadmin1", 403), ("authority1", 403), ("auditor1", 403), ("tenant1", 403)):
        assert client_of(login).send("/settings/access/enact", form_of(proof_minutes="5")).status_code == status
    with house.transaction(person(house, "sysadmin1").actor()) as tx, pytest.raises(NotAllowed):
        access_rules.open_networks(tx)


def test_an_old_password_is_changed_before_anything_else(client_of, city, clock, house):
    rules(house, password_days=30)
    clock.advance(days=29)
    visit = client_of("auditor1")
    changed = person(house, "auditor1").password_changed_at
    clock.now = changed + timedelta(days=30, minutes=1)
    visit = client_of("auditor1")
    assert visit.get("/").location == "/password"
    form = {"old": city.passwords["auditor1"], "password": GOOD, "again": GOOD}
    assert visit.send("/password", form).status_code == 302
    assert visit.get("/").status_code == 200


def test_a_house_begins_with_rules_of_its_own(book):
    with book.transaction(steward("init")) as tx:
        access_rules.begin(tx)
    with book.reading() as tx:
        held = access_rules.in_force(tx)
    assert set(held.second) == {"sysadmin", "secadmin", "audadmin", "authority"}
    assert (held.grace_days, held.proof_minutes, held.password_days, held.networks) == (14, 15, 90, {})


def test_the_machine_lets_its_administrator_in(tmp_path):
    data = tmp_path / "house"
    data.mkdir()
    book, settings = Book(f"sqlite:///{data / 'book.db'}"), Settings(data=data)
    upgrade.migrate(book)
    with book.transaction(steward()) as tx:
        who, _first = accounts.enrol(tx, "an", "安", Role.SECADMIN, granted=True)
        access_rules.enact(
            tx, second=set(), grace_days=0, proof_minutes=0, password_days=0,
            allowed={Role.SECADMIN: ("192.0.2.0/24",)}, reason="试",
        )  # fmt: skip
        tx.actor = who.actor()
        factors.begin(tx, settings, who)
        row = tx.scalars(select(SecondFactor)).one()
        factors.confirm(tx, settings, who, pyotp.TOTP(vault.unseal(row.sealed, settings.factors_key())).at(tx.now))
    for words, done in (
        (["unlock", "an"], 1),
        (["forget-factor", "an"], 0),
        (["forget-factor", "an"], 1),
        (["forget-factor", "niemand"], 1),
        (["open-networks"], 0),
        (["open-networks"], 1),
    ):
        ran = CliRunner().invoke(main, ["account", *words, "--data", str(data)])
        assert ran.exit_code == done, ran.output
    with book.reading() as tx:
        assert access_rules.in_force(tx).networks == {}
        assert tx.scalars(select(SecondFactor)).all() == []
        told = list(tx.scalars(select(AuditRecord.action).where(AuditRecord.role == "system")))
        assert {"factor.forget", "access.enact"} <= set(told)
    book.dispose()


def test_rules_are_versions_that_nobody_changes(house):
    rules(house, grace_days=3)
    with house.transaction(steward()) as tx, pytest.raises(WrongState):
        access_rules.open_networks(tx)
    with pytest.raises(Invalid, match=r"network\.wrong"):
        access_rules.networks("10.0.0.0/8; drop", "networks_tenant")
