"""What every answer carries, and what no request gets past."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from flask import request

from console.app import create_app
from console.settings import BadSetting, Settings, load
from quota.actors import Role


def policy(answer):
    return dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))


def test_pages_run_and_style_nothing_inline(client):
    answer = client.get("/login")
    rules = policy(answer)
    assert rules["default-src"] == rules["form-action"] == "'self'"
    assert rules["object-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'self' 'nonce-[\w-]{32}'", rules[kind])
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert policy(client.get("/login"))["script-src"] != rules["script-src"]


@pytest.mark.parametrize("url", ["/login", "/", "/no/such/page", "/static/app.css", "/healthz"])
def test_every_answer_carries_the_headers(client, url):
    headers = client.get(url).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers


def test_pages_are_not_stored_and_static_files_are(client):
    assert client.get("/login").headers["Cache-Control"] == "no-store"
    page = client.get("/login").text
    style = re.search(r'href="(/static/app\.css\?v=[0-9a-f]{10})"', page).group(1)
    assert "max-age=31536000" in client.get(style).headers["Cache-Control"]


def test_under_https_cookies_are_secure_and_the_browser_is_told_to_stay(settings, house):
    app = create_app(replace(settings, https=True, trusted_proxies=1), house)
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    answer = app.test_client().get("/login", headers=forwarded)
    assert "max-age=" in answer.headers["Strict-Transport-Security"]
    cookie = answer.headers["Set-Cookie"]
    assert "Secure" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize(("proxies", "address"), [(0, "127.0.0.1"), (1, "203.0.113.9")])
def test_a_forwarded_address_counts_only_from_a_known_proxy(settings, house, proxies, address):
    app = create_app(replace(settings, trusted_proxies=proxies), house)
    seen = []
    app.before_request(lambda: seen.append(request.remote_addr))
    app.test_client().get("/login", headers={"X-Forwarded-For": "203.0.113.9"})
    assert seen == [address]


def test_a_request_is_named_and_keeps_a_proxys_name_for_it(client):
    assert re.fullmatch(r"[0-9a-f]{16}", client.get("/login").headers["X-Request-ID"])
    assert client.get("/login", headers={"X-Request-ID": "edge-12345678"}).headers["X-Request-ID"] == "edge-12345678"
    bad = client.get("/login", headers={"X-Request-ID": "<script>alert(1)</script>"})
    assert "script" not in bad.headers["X-Request-ID"]


def test_a_form_without_its_token_is_refused(client_of, house):
    client = client_of(Role.SYSADMIN)
    for token in ("", "forged", None):
        data = {"login": "x", "name": "某人"} | ({} if token is None else {"csrf_token": token})
        answer = client.post("/settings/people/new", data=data)
        assert answer.status_code == 400
        assert "某人" in answer.text
        assert "再次提交" not in answer.text  # a page elsewhere may have sent it


def test_the_token_may_come_in_the_header(client_of):
    client = client_of(Role.SYSADMIN)
    client.get("/")
    answer = client.post("/logout", headers={"X-CSRFToken": client.token})
    assert answer.status_code == 302


def test_a_page_left_open_over_another_login_is_sent_again_by_one_press(client_of, app, city):
    client = client_of(Role.SYSADMIN)
    client.get("/settings/people/new")
    old = client.token
    client.send("/logout")
    client.log_in("sysadmin1", city.passwords["sysadmin1"])
    data = {
        "csrf_token": old,
        "login": "wang.wu",
        "name": "王五",
        "role": "auditor",
        "department": "0",
        "provider": "0",
    }
    answer = client.post("/settings/people/new", data=data, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 400
    assert "再次提交" in answer.text
    fields = dict(re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)"', answer.text))
    assert fields["name"] == "王五"
    assert "的初始密码" in client.post("/settings/people/new", data=fields).text


def test_what_was_typed_survives_a_session_that_ended(client_of, clock, city):
    client = client_of(Role.SYSADMIN)
    client.get("/settings/people/new")
    clock.advance(minutes=45)
    data = {
        "csrf_token": client.token,
        "login": "wang.wu",
        "name": "王五",
        "role": "auditor",
        "department": "0",
        "provider": "0",
    }
    answer = client.post("/settings/people/new", data=data, headers={"Origin": "http://localhost"})
    assert answer.status_code == 401
    kept = dict(re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)"', answer.text))
    login = client.post("/login", data=kept)  # brings the login form, the typed text along
    kept = dict(re.findall(r'<input[^>]*type="hidden" name="([\w-]+)" value="([^"]*)"', login.text))
    kept |= dict(re.findall(r'name="(next)" type="hidden" value="([^"]*)"', login.text))
    answer = client.post("/login", data={**kept, "login": "sysadmin1", "password": city.passwords["sysadmin1"]})
    assert answer.status_code == 200
    assert 'action="/settings/people/new"' in answer.text
    fields = dict(re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)"', answer.text))
    assert "password" not in fields
    assert "的初始密码" in client.post("/settings/people/new", data=fields).text


def test_passwords_are_never_shown_back(client_of, clock):
    client = client_of(Role.SYSADMIN)
    client.get("/password")
    clock.advance(minutes=45)
    data = {"csrf_token": client.token, "old": "Secret-0ne!", "password": "Secret-tw0!", "again": "Secret-tw0!"}
    answer = client.post("/password", data=data, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 401
    assert "Secret" not in answer.text


def test_too_much_is_refused(settings, house, client_of, app):
    app.config["MAX_CONTENT_LENGTH"] = 2048
    client = client_of(Role.SYSADMIN)
    answer = client.send("/settings/people/new", {"login": "x" * 5000})
    assert answer.status_code == 413
    assert "一次最多上传" in answer.text


# -- settings


def test_settings_come_from_the_environment_then_the_file_then_defaults(tmp_path):
    (tmp_path / "guanjia.toml").write_text('city = "广州市"\nidle_minutes = 20\n', encoding="utf-8")
    found = load(environment={"GUANJIA_DATA": str(tmp_path), "GUANJIA_IDLE_MINUTES": "15", "GUANJIA_DEMO": "yes"})
    assert (found.city, found.idle_minutes, found.demo, found.lock_after) == ("广州市", 15, True, 5)
    assert found.database_url == f"sqlite:///{tmp_path / 'book.db'}"
    assert found.lake_dir == tmp_path / "lake"
    assert load(tmp_path, {}, demo=True).demo


@pytest.mark.parametrize(
    ("file", "environment", "place"),
    [
        ("idle_minutes = 0", {}, "guanjia.toml: idle_minutes: 0 is not between 1 and 1440"),
        ('demo = "maybe"', {}, "guanjia.toml: demo: 'maybe' is neither true nor false"),
        ("colour = 1", {}, "guanjia.toml: colour: there is no such setting"),
        ("data = 1", {}, "guanjia.toml: data: there is no such setting"),
        ("city = 1", {}, "guanjia.toml: city: 1 is not a text"),
        ("city = ", {}, "guanjia.toml: Invalid value"),
        ("", {"GUANJIA_TIME_ZONE": "Mars/Olympus"}, "GUANJIA_TIME_ZONE: no time zone is called"),
        ("", {"GUANJIA_SESSION_HOURS": "eight"}, "GUANJIA_SESSION_HOURS: 'eight' is not a whole number"),
        ("", {"GUANJIA_SECRET_KEY": "short"}, "GUANJIA_SECRET_KEY: a secret key has at least"),
        ("", {"GUANJIA_LANGUAGE": "fr"}, "GUANJIA_LANGUAGE: 'fr' is neither"),
    ],
)
def test_a_setting_that_makes_no_sense_names_its_place(tmp_path, file, environment, place):
    (tmp_path / "guanjia.toml").write_text(file, encoding="utf-8")
    with pytest.raises(BadSetting) as trouble:
        load(tmp_path, environment)
    assert place in str(trouble.value)


def test_the_secret_key_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    key = Settings(data=tmp_path / "new").key()
    file = tmp_path / "new" / "secret.key"
    assert len(key) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    assert Settings(data=tmp_path / "new").key() == key
    file.write_text("short")
    with pytest.raises(BadSetting, match="too short"):
        Settings(data=tmp_path / "new").key()
