"""Anchors signed by a key in a module spoken to by PKCS #11: SoftHSM, as a real one would be."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from click.testing import CliRunner
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey
from pkcs11.util.ec import encode_named_curve_parameters

from console import anchors
from console.anchors import modules
from console.anchors.curves import EDWARDS, coded, thumbprint
from console.anchors.statements import Anchored, signed
from console.cli.commands import main
from console.health import checks
from console.schema import upgrade
from console.settings import Settings
from quota.actors import steward
from quota.db import Book
from quota.errors import Invalid, WrongState

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, TOKEN = "135790", "guanjia 1"
KINDS = {"Ed25519": OKPKey, "P-256": ECKey, "P-384": ECKey}
CURVES = {"P-256": "secp256r1", "P-384": "secp384r1", "P-521": "secp521r1"}
SAID = Anchored(
    sequence=1, at=datetime(2026, 11, 30, tzinfo=UTC), city="城", records=3, record_digest="a", sealings=2, seal_digest="b",
    rows={"departments": 1}, previous="0", key_id="",
)  # fmt: skip


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A token with a key of each kind, and the file of its PIN; the library reads its settings once a process."""
    assert LIBRARY.exists(), "tests/system_packages installs it"
    home = tmp_path_factory.mktemp("module")
    (home / "tokens").mkdir()
    (home / "softhsm2.conf").write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    (home / "pin").write_text(f"{PIN}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(home / "softhsm2.conf"))
        command = ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "97531"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = pkcs11.lib(str(LIBRARY)).get_token(token_label=TOKEN)
        with found.open(rw=True, user_pin=PIN) as session:
            for label in (*KINDS, "P-521", "twice", "twice"):
                edwards = label == "Ed25519"
                kind = pkcs11.KeyType.EC_EDWARDS if edwards else pkcs11.KeyType.EC
                named = EDWARDS[0] if edwards else encode_named_curve_parameters(CURVES.get(label, "secp256r1"))
                parameters = session.create_domain_parameters(kind, {pkcs11.Attribute.EC_PARAMS: named}, local=True)
                parameters.generate_keypair(store=True, label=label)
        yield home


@pytest.fixture
def uri(token: Path) -> Callable[..., str]:
    def made(label: str = "Ed25519", *, library: object = LIBRARY, name: str = "guanjia%201", pin: object = "") -> str:
        return f"pkcs11:token={name};object={label}?module-path={library}&pin-source=file:{pin or token / 'pin'}"

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_any_jose_library_bears_out_what_a_module_signed(uri: Callable[..., str], kind: str) -> None:
    signer = anchors.ModuleSigner(uri(kind))
    told = signed(SAID, signer)
    head = json.loads(base64.urlsafe_b64decode(told.split(".")[0] + "=="))
    assert (head["jwk"]["crv"], head["alg"]) == (kind, signer.algorithm)
    key = KINDS[kind].import_key(head["jwk"])
    assert key.thumbprint() == signer.key_id == head["kid"]
    assert json.loads(jws.deserialize_compact(told, key, algorithms=[head["alg"]]).payload)["records"] == 3
    assert anchors.opened(told).key_id == signer.key_id


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_changed_afterwards_is_no_anchor(uri: Callable[..., str], kind: str) -> None:
    head, body, signature = signed(SAID, anchors.ModuleSigner(uri(kind))).split(".")
    plain = base64.urlsafe_b64decode(signature + "==")
    half = len(plain) // 2
    said = json.loads(base64.urlsafe_b64decode(head + "=="))

    def headed(**changes: Any) -> str:
        jwk = {**said["jwk"], **changes.pop("jwk", {})}
        return coded(json.dumps({**said, "jwk": jwk, **changes}).encode())

    other = json.dumps({**json.loads(base64.urlsafe_b64decode(body + "==")), "records": 2}).encode()
    others = {"Ed25519": "ES256", "P-256": "ES384", "P-384": "Ed25519"}
    off = coded(b"\x01" * (48 if kind == "P-384" else 32))
    for forged in (
        f"{head}.{coded(other)}.{signature}",
        f"{head}.{body}.{coded(plain[half:] + plain[:half])}",
        f"{head}.{body}.{coded(plain[:-1])}",
        f"{head}.{body}.{coded(plain + bytes(1))}",
        f"{head}.{body}.{coded(bytes(len(plain)))}",
        f"{headed(alg=others[kind])}.{body}.{signature}",
        f"{headed(alg='none')}.{body}.",
        f"{headed(jwk={'x': off})}.{body}.{signature}",
        f"{headed(jwk={'x': 'AAAA'})}.{body}.{signature}",
        f"{headed(jwk={'crv': 'P-521'})}.{body}.{signature}",
        f"{headed(jwk={'kty': ['EC']})}.{body}.{signature}",
    ):
        with pytest.raises(anchors.BadAnchor):
            anchors.opened(forged)


def test_a_point_off_the_curve_is_no_key() -> None:
    jwk = {"kty": "EC", "crv": "P-256", "x": coded(b"\x01" * 32), "y": coded(b"\x01" * 32)}
    head = {"alg": "ES256", "typ": "guanjia-anchor+jws", "kid": thumbprint(jwk), "jwk": jwk}
    with pytest.raises(anchors.BadAnchor, match="no anchor"):
        anchors.opened(f"{coded(json.dumps(head).encode())}.{coded(b'{}')}.{coded(bytes(64))}")


def test_what_cannot_be_used_is_said(uri: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "no.so").write_text("x")
    for wrong, code in (
        (uri("nobody"), "anchor.module_no_key"),
        (uri("twice"), "anchor.module_keys"),
        (uri("P-521"), "anchor.module_kind"),
        (uri(name="other"), "anchor.module_no_token"),
        (uri(library="/nowhere/at/all.so"), "anchor.module"),
        (uri(library=tmp_path / "no.so"), "anchor.module"),
        (uri(pin=tmp_path / "none"), "anchor.module_pin_file"),
        (uri().replace("pin-source=file:", "pin-value="), "anchor.module_uri"),
        (uri().replace("object=Ed25519", "slot-id=3"), "anchor.module_uri"),
        (uri().replace("module-path=/", "module-path="), "anchor.module_uri"),
        ("pkcs11:", "anchor.module_uri"),
    ):
        with pytest.raises(Invalid) as refused:
            anchors.ModuleSigner(wrong)
        assert (refused.value.code, wrong) == (code, wrong)
        assert PIN not in str(refused.value)


def test_the_doctor_says_whether_the_module_can_sign(
    uri: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(where: str) -> list[tuple[str, str]]:
        return [(str(level), one) for level, one in checks._module(Settings(data=tmp_path, anchor_pkcs11=where))]

    assert said("") == said(uri()) == said(uri("P-256")) == []
    assert said(uri("nobody")) == [("bad", "the token guanjia 1 has no pair of keys nobody")]
    assert said(uri(name="other")) == [("bad", f"the module {LIBRARY} has no token other")]
    assert said("pkcs11:token=a") == [("bad", "anchor_pkcs11 is not understood: object is missing")]
    codes = {
        code for text in (modules.__file__,) for code in re.findall(r'"(anchor\.module\w*)"', Path(text).read_text())
    }
    assert codes == set(checks.MODULE)
    monkeypatch.setattr(anchors.ModuleSigner, "sign", lambda _self, _data: bytes(64))
    assert said(uri()) == [("bad", "the two halves of the key Ed25519 of the token guanjia 1 are no pair")]


def test_the_last_try_of_a_pin_is_left_to_people(uri: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = pkcs11.lib

    class AtTheLast:
        flags = pkcs11.TokenFlag.USER_PIN_FINAL_TRY

        def open(self, **_more: object) -> None:
            raise AssertionError("a PIN was tried")

    class Library:
        def get_token(self, **_named: str) -> AtTheLast:
            return AtTheLast()

    monkeypatch.setattr(pkcs11, "lib", lambda _path: Library())
    with pytest.raises(Invalid, match=r"anchor\.module_last_try"):
        anchors.ModuleSigner(uri())
    monkeypatch.setattr(pkcs11, "lib", kept)
    anchors.ModuleSigner(uri()).prove()


def test_a_pin_that_was_refused_is_not_tried_again_until_it_changes(
    uri: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a job that tries ten times a night would lock the token."""
    asked: list[str] = []
    kept = pkcs11.lib

    def counted(path: str) -> Any:
        asked.append(path)
        return kept(path)

    monkeypatch.setattr(pkcs11, "lib", counted)
    file = tmp_path / "pin"
    file.write_text("000000")
    for _try in range(5):
        with pytest.raises(Invalid, match=r"anchor\.module_pin"):
            anchors.ModuleSigner(uri(pin=file))
    assert len(asked) == 1
    file.write_text(PIN)
    os.utime(file, ns=(1, 1))
    assert anchors.ModuleSigner(uri(pin=file)).algorithm == "Ed25519"
    modules._refused.clear()


def test_a_house_goes_over_to_a_module_and_on_to_its_next_key(uri: Callable[..., str], tmp_path: Path) -> None:
    data = tmp_path / "house"
    data.mkdir()
    book = Book(f"sqlite:///{data / 'book.db'}")
    upgrade.migrate(book)

    def anchored(code: int = 0, *words: str, module: str = "") -> str:
        (data / "guanjia.toml").write_text(f"anchor_pkcs11 = '{module}'\n")
        ran = CliRunner().invoke(main, ["anchor", *words, "--data", str(data)])
        assert ran.exit_code == code, ran.output
        return ran.output

    settings = Settings(data=data)
    anchored()
    with book.reading() as tx:
        first = anchors.newest(tx).key_id
    assert "next key" in anchored(0, "--next", uri("P-256"))
    anchored(module=uri("P-256"))
    assert "--next" in anchored(1, "--rotate", module=uri("P-256"))
    anchored(1, "--next", uri("P-256"), module=uri("P-256"))
    anchored(1, "--next", str(tmp_path / "none.pem"), module=uri("P-256"))
    anchored(0, "--next", uri("Ed25519"), module=uri("P-256"))
    anchored(module=uri("Ed25519"))

    def compared() -> list[str]:
        outside, unread = anchors.read([anchors.folder(settings)])
        with book.reading(one_moment=True) as tx:
            return [*unread, *anchors.compare(tx, outside, trusted=first)]

    assert compared() == []
    with book.reading() as tx:
        assert anchors.newest(tx).sequence == 5
    # A key that nobody named, though it lies in the same module.
    anchors.make(book, settings, anchors.ModuleSigner(uri("P-384")), steward("anchor"))
    assert [one for one in compared() if "is not the house's" in one]
    with pytest.raises(WrongState):
        anchors.name_next(book, Settings(data=data, anchor_pkcs11=uri()), steward("anchor"), uri())
    book.dispose()
