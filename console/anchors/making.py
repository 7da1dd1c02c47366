"""Making an anchor: the chains' ends read as of one moment, signed outside any transaction, kept with where it is to go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy import func, select

from console.anchors import keys
from console.anchors.curves import thumbprint
from console.anchors.keys import FileSigner
from console.anchors.statements import SUFFIX, Anchored, Signer, fingerprint, signed
from console.anchors.tables import Anchor, AnchorPublication, PublicationState, Way
from console.settings import Settings, named
from quota import audit, sealing
from quota.actors import Actor, Role
from quota.db import Book, Tx
from quota.errors import N_, Conflict, WrongState
from quota.seals import GENESIS


def newest(tx: Tx) -> Anchor | None:
    return tx.scalar(select(Anchor).order_by(Anchor.sequence.desc()).limit(1))


def due(tx: Tx, settings: Settings) -> bool:
    """Whether none was made today."""
    last = newest(tx)
    return last is None or last.at.astimezone(settings.zone).date() < tx.now.astimezone(settings.zone).date()


def make(book: Book, settings: Settings, by: Signer, who: Actor, *, next_key: Mapping[str, str] | None = None) -> int:
    """Sign where the chains end now, and keep the anchor with every place that it is to go to; its number. Raises Conflict where
    somebody else made one at the same moment."""
    who.must_be(Role.SYSTEM)
    with book.reading(who, one_moment=True) as tx:
        said = _stated(tx, settings, by, next_key)
    token = signed(said, by)
    with book.transaction(who) as tx:
        tx.alone("anchors")
        last = newest(tx)
        if (last.sequence if last else 0) != said.sequence - 1:
            raise Conflict("anchor.meanwhile", N_("同时有另一个锚点生成,请重试"))
        tx.add(
            Anchor(
                sequence=said.sequence, at=said.at, made_by=who.login, records=said.records, sealings=said.sealings,
                key_id=said.key_id, token=token,
            )
        )  # fmt: skip
        tx.flush()
        for way, target in places(settings):
            tx.add(
                AnchorPublication(
                    anchor=said.sequence, way=way.value, target=target, state=PublicationState.WAITING.value,
                    attempts=0, next_try_at=tx.now, said="",
                )
            )  # fmt: skip
        tx.audit(
            "house.anchor",
            f"anchor:{said.sequence}",
            after={
                "records": said.records,
                "sealings": said.sealings,
                "key": said.key_id,
                "sm3": fingerprint(token),
                "next_key": None if next_key is None else thumbprint(next_key),
            },
        )
    return said.sequence


def _stated(tx: Tx, settings: Settings, by: Signer, next_key: Mapping[str, str] | None) -> Anchored:
    last = newest(tx)
    records, record_digest = audit.head(tx)
    sealings, seal_digest = sealing.head(tx)
    rows = {one.name: tx.scalar(select(func.count()).select_from(one)) or 0 for one in sealing.under_seal()}
    return Anchored(
        sequence=(last.sequence if last else 0) + 1,
        at=tx.now,
        city=named(settings, tx).city,
        records=records,
        record_digest=record_digest,
        sealings=sealings,
        seal_digest=seal_digest,
        rows=rows,
        previous=fingerprint(last.token) if last else GENESIS,
        key_id=by.key_id,
        next_key=next_key,
    )


def rotate(book: Book, settings: Settings, who: Actor) -> int:
    """Put a new key in place of the old one, which signs last of all that the new one follows it; the number of that anchor.

    The old key stays beside it under its name, retired. What a killed process left is taken up again: a new key that was made
    is used, and the old one signs until the new one is in its place.
    """
    if settings.anchor_pkcs11:
        raise WrongState("anchor.module_rotates", N_("密钥在密码模块里：请在模块中生成新密钥，再用 --next 指明它"))
    path = settings.anchor_key_file
    old = keys.signer(settings)
    aside = path.with_name(path.name + ".next")
    keys.made(aside)
    new = FileSigner(aside)
    number = make(book, settings, old, who, next_key=new.public)
    with suppress(FileExistsError):
        path.with_name(f"{path.name}.retired-{old.key_id[:8]}").hardlink_to(path)
    aside.replace(path)
    return number


def name_next(book: Book, settings: Settings, who: Actor, key: str) -> int:
    """Have the key in use sign, as its last, that ``key`` follows it (a URI of a module's, or a file); the number of that anchor. The
    settings name the new one from then on. Raises Invalid; WrongState where it is the one in use."""
    old, new = keys.signer(settings), keys.named(key)
    if new.key_id == old.key_id:
        raise WrongState("anchor.same_key", N_("这就是正在使用的密钥"))
    return make(book, settings, old, who, next_key=new.public)


def places(settings: Settings) -> Iterator[tuple[Way, str]]:
    """Where an anchor goes."""
    yield Way.FOLDER, str(folder(settings))
    for address in settings.anchor_mail.replace(";", ",").split(","):
        if address.strip():
            yield Way.MAIL, address.strip()
    if settings.anchor_webhook:
        yield Way.WEBHOOK, settings.anchor_webhook


def folder(settings: Settings) -> Path:
    """Where copies lie as files: best on another disk, or on another machine."""
    return (settings.anchor_folder if settings.anchor_folder != Path() else settings.data / "anchors").resolve()


def copies(settings: Settings) -> list[Path]:
    """The folder of copies, where there are any: what a verification holds the book against."""
    place = folder(settings)
    return [place] if place.is_dir() and any(place.glob(f"*{SUFFIX}")) else []
