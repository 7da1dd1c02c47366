"""A pool's connection over HTTP: a secret by reference or in the encrypted store, never in clear anywhere; changed with its
history; tested by the jobs' process, which says what is wrong in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner
from sqlalchemy import inspect, select, text

from console.cli import main
from console.schema import upgrade
from console.settings import Settings, load
from metering.intake import probes
from metering.lake import Lake
from metering.workbench import Workbench
from providers import registry
from providers.base import Inventory, ProviderFault
from providers.connection import FAULTS
from providers.options import option
from providers.secrets import Secret
from quota import vault
from quota.actors import Role
from quota.audit import AuditRecord
from quota.db import Book
from quota.directory import Pool

KEY = vault.new_key()


@dataclass(frozen=True, kw_only=True)
class WaryOptions:
    url: str = option("地址")
    password: Secret | None = option("口令", default=None)
    zones: tuple[str, ...] = option("可用区", default=())


class WaryCloud:
    """A cloud that lets in who knows the word."""

    name = "wary"
    Options = WaryOptions
    capabilities = frozenset()
    live_resize = False
    releases = {}  # noqa: RUF012

    def __init__(self, url, password, zones) -> None:
        self.url, self.password, self.zones = url, password, zones

    def inventory(self, now) -> Inventory:
        return Inventory(now, [])

    def probe(self, now) -> str:
        if self.password.reveal() != "open sesame":
            raise ProviderFault("401 go away", transient=False, code="credentials")
        return "Wary 1.0"


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data=tmp_path, secret_key="t" * 40, secrets_key=KEY)


@pytest.fixture
def chief(monkeypatch, client_of):
    monkeypatch.setitem(registry.ADAPTERS, "wary", f"{__name__}:WaryCloud")
    registry.adapters.cache_clear()
    real = registry.adapter
    monkeypatch.setattr(registry, "adapter", lambda name: WaryCloud if name == "wary" else real(name))
    yield client_of(Role.AUTHORITY)
    registry.adapters.cache_clear()


@pytest.fixture
def facts(city):
    return {
        "code": "x", "name": "新池", "provider": city.provider.id, "arch": "x86_64", "zone": "互联网",
        "adapter": "wary", "shown": "wary", "option_url": "http://a",
    }  # fmt: skip


def carried_out(house, settings):
    works = Workbench(house, Lake(settings.lake_dir), settings.data, secrets=settings.secrets)
    return probes.carry_out(works)


def everything(house) -> str:
    """All that the book holds, as text."""
    with house.engine.connect() as connection:
        names = inspect(connection).get_table_names()
        return "\n".join(str(row) for name in names for row in connection.execute(text(f"SELECT * FROM {name}")))


def test_a_secret_in_the_store_is_seen_by_the_cloud_alone(chief, facts, house, settings, caplog) -> None:
    page = chief.send("/pools/new", facts | {"option_password-new": "open sesame", "option_zones": "a, b"})
    assert page.status_code == 302
    with house.reading() as tx:
        pool = tx.scalars(select(Pool).where(Pool.code == "x")).one()
    assert pool.adapter_options == {"url": "http://a", "password": "store:x.password", "zones": ["a", "b"]}
    address = f"/pools/{pool.id}"
    assert "已安排" in chief.get(address).text
    assert [one.fault for one in carried_out(house, settings)] == [""]
    assert carried_out(house, settings) == []
    shown = chief.get(address).text
    assert "连接正常" in shown
    assert "Wary 1.0" in shown

    # Rotated: the connection stays as it is, and is tested anew.
    form = chief.get(f"{address}/connection").text
    assert "store:x.password" in form
    seen = form.split('name="seen"')[1].split('value="')[1].split('"')[0]
    change = {"seen": seen, "option_url": "http://a", "option_zones": "a, b", "option_password": "store:x.password"}
    assert chief.send(f"{address}/connection", change | {"option_password-new": "wrong"}).status_code == 302
    assert [one.fault for one in carried_out(house, settings)] == ["credentials"]
    assert FAULTS["credentials"] in chief.get(address).text
    assert "open sesame" not in everything(house) + caplog.text + shown + form
    assert "wrong'" not in everything(house)


def test_a_connection_is_changed_with_its_history_and_never_by_a_stale_page(chief, facts, house, settings) -> None:
    (settings.data / "secrets").mkdir()
    (settings.data / "secrets" / "word").write_text("open sesame\n")
    place = f"file:{settings.data}/secrets/word"
    assert chief.send("/pools/new", facts | {"option_password": place}).status_code == 302
    with house.reading() as tx:
        pool = tx.scalars(select(Pool).where(Pool.code == "x")).one()
    address = f"/pools/{pool.id}/connection"
    seen = chief.get(address).text.split('name="seen"')[1].split('value="')[1].split('"')[0]
    change = {"seen": seen, "option_url": "http://b", "option_password": place}
    assert chief.send(address, change).status_code == 302
    stale = chief.send(address, change | {"option_url": "http://c"})
    assert stale.status_code == 422
    assert "他人修改" in stale.text
    with house.reading() as tx:
        record = tx.scalars(select(AuditRecord).where(AuditRecord.action == "pool.connect")).one()
        assert (record.before["options"]["url"], record.after["options"]["url"]) == ("http://a", "http://b")
        assert tx.get_one(Pool, pool.id).adapter_options["url"] == "http://b"
    shown = chief.get(address).text
    assert "http://a" in shown
    assert [one.fault for one in carried_out(house, settings)] == [""]
    # The file is gone: the page says which, and what is wrong with it.
    (settings.data / "secrets" / "word").unlink()
    chief.send(f"/pools/{pool.id}/probe")
    assert [one.fault for one in carried_out(house, settings)] == ["secret.file"]
    assert "secrets/word" in chief.get(f"/pools/{pool.id}").text


def test_a_secret_in_clear_is_refused_and_not_shown_again(chief, facts, house, app) -> None:
    page = chief.send("/pools/new", facts | {"option_password": "hunter2"})
    assert page.status_code == 422
    assert 'id="option_password-error"' in page.text
    assert "hunter2" not in page.text
    assert "hunter2" not in everything(house)
    extension = app.extensions["guanjia"]
    extension.settings = replace(extension.settings, secrets_key="")
    page = chief.send("/pools/new", facts | {"option_password-new": "hunter2"})
    assert page.status_code == 422
    assert "GUANJIA_SECRETS_KEY" in page.text
    assert "hunter2" not in page.text


def test_another_adapter_shows_its_own_fields_first(chief, facts) -> None:
    page = chief.send("/pools/new", facts | {"shown": "files", "option_url": ""})
    assert page.status_code == 200
    assert 'name="option_url"' in page.text
    assert "gj-error" not in page.text


def test_others_neither_change_nor_test_it(client_of, place) -> None:
    for role in (Role.TENANT, Role.PROVIDER, Role.SYSADMIN):
        assert client_of(role).send("/pools/1/probe").status_code == 403
    for role in (Role.SUPERVISOR, Role.PROVIDER):
        assert client_of(role).get("/pools/1/connection").status_code == 403


def test_a_secret_is_kept_from_the_terminal(settings, tmp_path, monkeypatch) -> None:
    home = tmp_path / "house"
    home.mkdir()
    book = Book(f"sqlite:///{home / 'book.db'}")
    upgrade.migrate(book)
    key = CliRunner().invoke(main, ["secret", "new-key"]).output.strip()
    monkeypatch.setenv("GUANJIA_SECRETS_KEY", key)
    kept = CliRunner().invoke(main, ["secret", "keep", "cloud.token", "--data", str(home)], input="open sesame\n")
    assert (kept.exit_code, kept.output.strip().splitlines()[-1]) == (0, "store:cloud.token"), kept.output
    works = Workbench(book, Lake(home / "lake"), home, secrets=load(home).secrets)
    assert works.reveal("store:cloud.token") == "open sesame"
    assert "open sesame" not in everything(book)
    monkeypatch.setenv("GUANJIA_SECRETS_KEY", "")
    refused = CliRunner().invoke(main, ["secret", "keep", "cloud.token", "--data", str(home)], input="x\n")
    assert refused.exit_code == 1
    assert "GUANJIA_SECRETS_KEY" in refused.output
    book.dispose()
