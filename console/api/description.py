"""The description of the API (OpenAPI 3.1): made of the operations by spectree, in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import Field, create_model
from spectree import Response, SecurityScheme, SpecTree, Tag
from spectree.models import SecureType, SecuritySchemeData
from spectree.plugins.flask_plugin import FlaskPlugin

from console import frame
from console.api import keys, serving, shapes
from console.api.operations import Operation, Sort
from console.errors import PROBLEM
from console.words import _
from quota.errors import N_
from quota.units import CLASSES

FILE_TYPES = (
    "text/csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.apache.parquet",
)
FILE = {"schema": {"type": "string", "format": "binary"}}
ABOUT = N_(
    "管家的接口:与页面同一地址(其前加 /api/v1)、同一权限、同一表单、同一拒绝原因。列表按页给出,也可导出;办理用 POST;"
    "拒绝一律为 application/problem+json,其 code 永久不变。说明见“接口”文档。"
)
LIST_CODES = (401, 403, 404, 409, 422, 429)
ACT_CODES = (400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 428, 429, 507)


class _Told(FlaskPlugin):
    """spectree's way of Flask, told of the operations instead of walking the map of addresses, which has pages in it."""

    told: Sequence[tuple[Operation, Callable[..., Any]]] = ()

    def find_routes(self) -> Iterator[Any]:
        yield from self.told

    def parse_func(self, route: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
        operation, view = route
        yield operation.method, view

    def parse_path(self, route: Any, path_parameter_descriptions: Any) -> tuple[str, list[Any]]:
        path, parameters = super().parse_path(route[0].rule, path_parameter_descriptions)
        for one in parameters:
            if one["schema"].get("type") == "integer":
                one["schema"] |= {"minimum": 0, "maximum": 2**31 - 1}
        return path, parameters

    def bypass(self, _func: Any, _method: str) -> bool:
        return False


class _Spec(SpecTree):
    """spectree, that asks pydantic once for each model: every operation names the same refusals."""

    def _add_model(self, model: Any, mode: Any = "validation") -> str:
        name: str = self.naming_strategy(model)
        return name if name in self.models else super()._add_model(model, mode)


def path_of(operation: Operation) -> str:
    """The address of an operation as the description has it."""
    return re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", r"{\1}", operation.rule)


def release() -> str:
    """The version of the console."""
    try:
        return version("guanjia")
    except PackageNotFoundError:
        return "0"


def description(operations: Sequence[Operation], language: str) -> dict[str, Any]:
    """The whole of it as JSON has it; ``language`` is that of this request, in which its texts are."""
    return _made(tuple(operations), language, CLASSES.stamp)


@lru_cache(maxsize=4)
def _made(operations: tuple[Operation, ...], _language: str, _classes: int) -> dict[str, Any]:
    spec = _Spec(
        backend=_Told,
        title=_("管家接口"),
        description=_(ABOUT),
        version=release(),
        annotations=False,
        naming_strategy=lambda model: model.__name__,
        nested_naming_strategy=lambda _parent, child: child,
        validation_error_model=shapes.Problem,
        security_schemes=[SecurityScheme(name="token", data=SecuritySchemeData(type=SecureType.HTTP, scheme="bearer"))],
        security={"token": []},
    )
    labels = {name: _(label) for name, (label, _icon) in frame.SECTIONS.items()}
    tags = {name: Tag(name=name, description=label) for name, label in labels.items()}
    spec.backend.told = [(one, _described(spec, one, tags[one.section])) for one in operations]  # type: ignore[attr-defined]
    found: dict[str, Any] = dict(spec.spec)
    for one in operations:
        _finish(one, found["paths"][path_of(one)][one.method.lower()])
    return found


def _described(spec: SpecTree, operation: Operation, tag: Tag) -> Callable[..., Any]:
    """A function that spectree knows the operation's models of; it is never called."""

    def view() -> None:
        """Stands for the operation."""

    view.__doc__ = operation.summary
    view.__name__ = operation.endpoint
    codes = ACT_CODES if operation.sort is Sort.ACT else LIST_CODES
    answers: dict[str, Any] = {f"HTTP_{code}": shapes.Problem for code in codes}
    query = json = headers = None
    if operation.listed is not None and operation.sort is Sort.LIST:
        query = shapes.query(
            f"{operation.model}Query",
            operation.listed.filters,
            operation.listed.columns,
            operation.listed.args,
            open_=operation.listed.open,
        )
        answers["HTTP_200"] = shapes.page(operation.model, operation.listed.columns)
    elif operation.listed is not None:
        answers |= {
            "HTTP_200": shapes.one(operation.model, [*operation.listed.columns, *operation.listed.more]),
            "HTTP_304": None,
        }
    elif operation.takes is not None:
        if operation.takes.args:
            query = shapes.args(f"{operation.model}Query", operation.takes.args)
        json, headers = (
            shapes.body(f"{operation.model}Body", operation.takes, as_shown=operation.of_one),
            _headers(operation),
        )
        answers["HTTP_200"] = shapes.Done
    else:
        answers["HTTP_200"] = None
    decorate = spec.validate(
        query=query, json=json, headers=headers, resp=Response(**answers), tags=[tag], skip_validation=True,
        operation_id=operation.name, security=[{"token": [operation.scope]}],
    )  # fmt: skip
    made: Callable[..., Any] = decorate(view)
    return made


def _headers(operation: Operation) -> Any:
    assert operation.takes is not None  # noqa: S101 - asked of acts alone
    key = Field(None, alias="Idempotency-Key", description=_(KEY), pattern=f"^{keys.SHAPE.pattern}$")
    fields: dict[str, Any] = {"idempotency_key": (str | None, key)}
    if serving.asks_generation(operation):
        match = Field(None, alias="If-Match", description=_(MATCH), pattern=r'^"[0-9]{1,10}\.[0-9a-f]{16}"$')
        fields["if_match"] = (str | None, match)
    return create_model(f"{operation.model}Headers", **fields)


KEY = N_("同一键、同一内容只办理一次,答复相同;同一键、另一内容被拒绝")
MATCH = N_("对象的 ETag:此后有变更的,不办理")


def _finish(operation: Operation, told: dict[str, Any]) -> None:
    """What spectree does not say: problems have their own media type, lists are files, too, and acts take files."""
    told["x-roles"] = sorted(role.value for role in operation.roles)
    told["x-scope"] = operation.scope
    for code, answer in told["responses"].items():
        if int(code) >= 400 and "application/json" in answer.get("content", {}):
            answer["content"] = {PROBLEM: answer["content"].pop("application/json")}
    fine = told["responses"]["200"]
    if operation.sort is Sort.LIST:
        fine["content"] |= dict.fromkeys(FILE_TYPES, FILE)
    if operation.download is not None:
        fine["content"] = dict.fromkeys(operation.download.types, FILE)
    if operation.takes is not None:
        files = shapes.files_of(operation.takes)
        body = told["requestBody"]
        schema = body["content"]["application/json"]["schema"]
        body["required"] = False
        if files:
            parts = {name: {"type": "string", "contentMediaType": "application/octet-stream"} for name in files}
            body["content"] = {
                "multipart/form-data": {"schema": {"allOf": [schema, {"type": "object", "properties": parts}]}}
            }
