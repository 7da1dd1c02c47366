"""How an operation is served: the request's JSON becomes what the view's form takes, the view runs as for a page, and what it
answers becomes JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, get_flashed_messages, jsonify, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import ImmutableMultiDict, MultiDict
from werkzeug.exceptions import HTTPException, UnsupportedMediaType
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response as AnyResponse

from console.access import _RULE, proven_where, weighs
from console.api import keys, shapes
from console.api.door import gate
from console.api.operations import PREFIX, ROOT, Operation, Sort
from console.book import actor, book
from console.errors import PROBLEM, Unfilled, problem
from console.programs import asked
from console.security import program
from console.words import sentence
from quota.errors import N_, Conflict, Invalid, NotFound
from quota.units import CLASSES

JSON = "application/json"
MULTIPART = "multipart/form-data"
MOST_BODY = 4 * 1024 * 1024
"""Bytes of a body in JSON."""
DEEPEST = 8
"""Lists and objects within each other in a body."""
_ETAG = re.compile(r'"(\d{1,10})\.[0-9a-f]{16}"')


def view_of(operation: Operation) -> Callable[..., Any]:
    """The function that serves ``operation``, for whom the console's own view is for."""
    serve = {Sort.LIST: _list, Sort.ONE: _one, Sort.ACT: _act, Sort.FILE: _file}[operation.sort]

    def served(**values: Any) -> Any:
        return serve(operation, values)

    served.__name__ = re.sub(r"\W", "_", operation.endpoint)
    served.__doc__ = operation.view.__doc__
    setattr(served, _RULE, operation.roles)
    settled = dict(operation.values)
    proven_where(lambda args: weighs(operation.view, {**args, **settled}))(served)
    return program(served)


# -- reading ----------------------------------------------------------------------------------------------------------


def _list(operation: Operation, values: dict[str, Any]) -> Any:
    assert operation.listed is not None  # noqa: S101 - operations says so
    asked.begin(asked.Asked(args=frozenset(one.name for one in operation.listed.args)))
    return _read(operation, values)


def _one(operation: Operation, values: dict[str, Any]) -> Any:
    """The row of the list, with what more is told of it alone, and its ETag: generation and digest."""
    assert operation.listed is not None  # noqa: S101 - operations says so
    number = values.pop(operation.key)
    asked.begin(asked.Asked(one=number, more=operation.listed.more))
    rows = _read(operation, values).get_json()["items"]
    if not rows:
        raise NotFound("row.none", N_("没有编号为 %(id)s 的记录"), id=number)
    answer = jsonify(rows[0])
    answer.set_etag(f"{rows[0].get('generation', 0)}.{hashlib.sha256(answer.get_data()).hexdigest()[:16]}")
    return answer.make_conditional(request)


def _read(operation: Operation, values: dict[str, Any]) -> Response:
    answer = current_app.make_response(operation.view(**values, **dict(operation.values)))
    if answer.mimetype == "text/html":  # a page that says why there is no list yet
        raise NotFound("list.none", N_("现在还没有这份列表"))
    return answer


def _file(operation: Operation, values: dict[str, Any]) -> Any:
    return current_app.make_response(operation.view(**values))


# -- acting -----------------------------------------------------------------------------------------------------------


def _act(operation: Operation, values: dict[str, Any]) -> Any:
    """The act, once for each Idempotency-Key."""
    takes, key, who = operation.takes, request.headers.get("Idempotency-Key"), actor()
    assert takes is not None  # noqa: S101 - operations says so
    raw = _raw(operation)
    if key is None:  # one that is empty is none of ours: who sends it counts on it
        return _carry_out(operation, values, raw)
    mark = keys.digest(request.method, request.full_path, raw + request.headers.get("If-Match", "").encode("latin-1"))
    kept = keys.begin(book(), who, g.api_person, keys.checked(key), mark, again=shapes.has_key(takes))
    if kept is not None:
        again = jsonify(kept[1])
        again.status_code = kept[0]
        again.headers["Idempotent-Replayed"] = "true"
        return again
    answer: Response | None = None
    try:
        answer = _carry_out(operation, values, raw)
    finally:
        told = answer.get_json() if answer is not None and answer.status_code < 400 else None
        keys.end(book(), who, g.api_person, key, answer.status_code if answer is not None else 0, told)
    return answer


def _carry_out(operation: Operation, values: dict[str, Any], raw: bytes) -> Response:
    takes = operation.takes
    assert takes is not None  # noqa: S101 - operations says so
    _fits(_args(operation), request.args.to_dict())
    asks = asks_generation(operation)
    shown = _as_shown(asks)
    fields = _typed(operation, raw)
    if shown is not None:
        fields["generation"] = str(shown)
    elif asks and "generation" not in fields:
        return problem(428, "precondition.missing", sentence(N_("请以 If-Match 或 generation 给出您所见的版本")))
    for name, value in takes.sends.items():
        fields[name] = value
    if key := request.headers.get("Idempotency-Key"):
        fields[shapes.KEY] = key
    fields.setdefault("csrf_token", "")  # a form without any value would read the JSON itself
    request.form = ImmutableMultiDict(fields)
    if "files" not in vars(request._get_current_object()):  # type: ignore[attr-defined]
        request.files = ImmutableMultiDict()  # else the body that was read is read again
    try:
        answer = operation.view(**values, **dict(operation.values))
    except Conflict as refused:
        if shown is not None and refused.code.endswith(".stale"):
            return problem(412, refused.code, sentence(refused.message, refused.params))
        raise
    return _done(operation, current_app.make_response(answer))


def asks_generation(operation: Operation) -> bool:
    """Whether the act is done to a thing as it was shown: it takes If-Match."""
    return operation.takes is not None and operation.of_one and "generation" in shapes.names_of(operation.takes)


def _as_shown(asks: bool) -> int | None:
    """The generation of If-Match; None where there is none. Raises Invalid where it is none of ours, or the act compares none."""
    header = request.headers.get("If-Match", "")
    if not header:
        return None
    found = _ETAG.fullmatch(header.strip())
    if not asks or found is None:
        raise Invalid("precondition.unfit", N_("If-Match 须为对象的 ETag,且只用于按版本办理的操作"))
    return int(found[1])


def _raw(operation: Operation) -> bytes:
    """The body as it came. Raises UnsupportedMediaType for what is neither JSON nor, where the act takes files, a form."""
    assert operation.takes is not None  # noqa: S101 - operations says so
    if request.mimetype == MULTIPART and shapes.files_of(operation.takes):
        return _parts()
    request.max_content_length = MOST_BODY
    raw = request.get_data(cache=True, parse_form_data=False)
    if request.mimetype != JSON and (raw or request.mimetype):
        raise UnsupportedMediaType
    return raw


def _parts() -> bytes:
    """What two forms with files must share to be the same: their fields, and a digest of each file."""
    if any(name is None for name in (*request.form, *request.files)):
        raise Invalid("body.part", N_("每个部分须有名称"))
    parts = [f"{name}={value}".encode() for name, value in sorted(request.form.items(multi=True))]
    for name, file in sorted(request.files.items(multi=True), key=lambda pair: pair[0]):
        parts.append(f"{name}={file.filename}:".encode() + hashlib.file_digest(file.stream, "sha256").digest())  # type: ignore[arg-type]
        file.stream.seek(0)
    return b"\0".join(parts)


def _typed(operation: Operation, raw: bytes) -> MultiDict[str, str]:
    """What the body says, as the page's form would have sent it. Raises Unfilled naming each place that does not fit."""
    if request.mimetype == MULTIPART:
        return MultiDict((name, value) for name, value in request.form.items(multi=True))
    model = body_model(operation)
    try:
        said = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        raise Invalid("body.json", N_("请求正文不是 JSON 对象")) from None
    if not isinstance(said, dict):
        raise Invalid("body.json", N_("请求正文不是 JSON 对象"))
    if any("\0" in text for text in _texts(said)):
        raise Invalid("text.nul", N_("内容含有无法保存的字符(NUL),请删去后再提交"))
    try:
        checked = model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise Unfilled(shapes.wrong(error)) from None
    fields = shapes.fields_of(checked.model_dump(exclude_unset=True, by_alias=True))
    assert operation.takes is not None  # noqa: S101 - operations says so
    return shapes.joined(fields, operation.takes.given)


def _texts(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise Invalid("body.deep", N_("请求正文嵌套过深"))
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _texts(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, depth + 1)


def _done(operation: Operation, answer: AnyResponse) -> Response:
    """What the act came to: a page that leads on becomes what it says and where; a refusal stays one."""
    flashed: Any = get_flashed_messages(with_categories=True)
    said = [(str(category), str(text)) for category, text in flashed]
    if answer.status_code >= 400 and answer.mimetype in (PROBLEM, JSON):
        return answer  # type: ignore[return-value]
    if answer.status_code in (301, 302, 303):
        wrong = [text for category, text in said if category in ("error", "warning")]
        if wrong and not any(category == "success" for category, _text in said):
            return problem(409, "act.refused", " ".join(wrong))
        place = api_address(answer.location or "")
        told = jsonify(said=[text for _category, text in said], location=place)
        if place:
            told.headers["Location"] = place
        return told
    if answer.status_code >= 400:
        return problem(answer.status_code, "act.refused", HTTP_STATUS_CODES.get(answer.status_code, ""))
    raise RuntimeError(f"{operation.name} answered a program with a page ({answer.status_code})")


def api_address(address: str) -> str | None:
    """The address below ``/api/v1`` of what a page at ``address`` shows; None where the API has none."""
    adapter = current_app.url_map.bind("localhost")
    parts = urlsplit(address).path.split("/")
    while len(parts) > 1:
        try:
            endpoint, _values = adapter.match(f"{ROOT}{'/'.join(parts)}", method="GET")
        except RequestRedirect:
            endpoint = ""
        except HTTPException:
            endpoint = ""
        if endpoint.startswith(PREFIX):
            return f"{ROOT}{'/'.join(parts)}"
        parts.pop()
    return None


# -- models -----------------------------------------------------------------------------------------------------------


@cache
def _body(operation: Operation, _classes: int, _stamp: object) -> type[BaseModel]:
    assert operation.takes is not None  # noqa: S101 - operations says so
    return shapes.body(operation.model, operation.takes, as_shown=operation.of_one)


def body_model(operation: Operation) -> type[BaseModel]:
    """Made when first asked for, and again when the resource classes have changed, or what its form is made of (``Takes.stamp``); the
    description makes its own, in the reader's language."""
    stamp = operation.takes.stamp if operation.takes is not None else None
    return _body(operation, CLASSES.stamp, stamp() if stamp is not None else None)


@cache
def _args(operation: Operation) -> type[BaseModel]:
    assert operation.takes is not None  # noqa: S101 - operations says so
    return shapes.args(operation.model, operation.takes.args)


def _fits(model: type[BaseModel], given: dict[str, Any]) -> None:
    """Raises Unfilled naming each place of ``given`` that does not fit."""
    try:
        model.model_validate(given)
    except ValidationError as error:
        raise Unfilled(shapes.wrong(error)) from None


def attach(app: Flask) -> None:
    """Give ``app`` an address for each operation."""
    for operation in gate(app).operations.values():
        app.add_url_rule(
            operation.rule, operation.endpoint, view_of(operation), methods=[operation.method], strict_slashes=False
        )
