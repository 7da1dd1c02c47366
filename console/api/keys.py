"""Idempotency-Key: the same post with the same key is carried out once and answered alike ever after.

A refusal changed nothing and frees its key; an act that succeeded keeps it for KEPT. While the first is under way the second is told
so. Where a process died between the act and its answer, nobody here can say whether it was done: the key is held, and the program
is told to look; a form with a key of its own is simply sent again, since the book knows that key.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select

from console.api.tables import ApiKeyUse, KeyState
from quota.db import Book, Tx
from quota.errors import N_, Conflict, Invalid

KEPT = timedelta(days=7)
UNDER_WAY = timedelta(minutes=2)
"""After which a post that was not answered is taken for one whose process died."""
SHAPE = re.compile(r"[\x21-\x7e]{8,64}")


def checked(key: str) -> str:
    """``key`` where it is one. Raises Invalid."""
    if not SHAPE.fullmatch(key):
        raise Invalid("key.shape", N_("Idempotency-Key 须为 8 至 64 个可见的 ASCII 字符"))
    return key


def digest(method: str, address: str, body: bytes) -> str:
    """What two posts must share to be the same."""
    return hashlib.sha256(b"\0".join((method.encode(), address.encode(), body))).hexdigest()


def begin(
    book: Book, who: Any, person_id: int, key: str, request: str, *, again: bool
) -> tuple[int, dict[str, Any]] | None:
    """Hold ``key`` for this post; (status, answer) where it was answered before. ``again``: the act may be sent twice.

    Raises Invalid where the key was used for another post, Conflict where the first is under way or nobody knows how it ended.
    """
    with book.transaction(who) as tx:
        tx.alone(f"api_key:{person_id}:{key}")
        tx.execute(delete(ApiKeyUse).where(ApiKeyUse.person_id == person_id, ApiKeyUse.begun_at < tx.now - KEPT))
        found = _held(tx, person_id, key)
        if found is None:
            tx.add(
                ApiKeyUse(person_id=person_id, key=key, request=request, state=KeyState.RUNNING.value, begun_at=tx.now)
            )
            return None
        if found.request != request:
            raise Invalid("key.reused", N_("幂等键 %(key)s 已用于另一笔操作"), key=key)
        if found.state == KeyState.DONE.value:
            return found.status, found.answer
        if tx.now - found.begun_at < UNDER_WAY:
            raise Conflict("key.under_way", N_("用这个幂等键的请求正在办理,请稍后再试"))
        if not again:
            raise Conflict("key.unknown", N_("用这个幂等键的请求没有留下结果:请先查看是否已办理,再用新的幂等键"))
        found.begun_at = tx.now
        return None


def end(book: Book, who: Any, person_id: int, key: str, status: int, answer: dict[str, Any] | None) -> None:
    """Keep what the post was answered; free the key where there is no answer to keep."""
    with book.transaction(who) as tx:
        found = _held(tx, person_id, key)
        if found is None:
            return
        if answer is None:
            tx.delete(found)
        else:
            found.state, found.status, found.answer = KeyState.DONE.value, status, answer


def _held(tx: Tx, person_id: int, key: str) -> ApiKeyUse | None:
    found: ApiKeyUse | None = tx.scalar(
        select(ApiKeyUse).where(ApiKeyUse.person_id == person_id, ApiKeyUse.key == key).with_for_update()
    )
    return found
