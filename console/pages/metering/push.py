"""Where agents deliver: Prometheus remote-write and OTLP/HTTP metrics, each source with its token.

An answer says what was refused. 2xx: all that is of use is durable. 400: the rest is durable, what the sentence names
was refused and is not worth sending again. 503: the disk is full; send it again. To remote-write it is text, to OTLP a
google.rpc.Status in the encoding of the request, as its specification has it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial

from flask import Blueprint, Response, current_app, request
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from werkzeug.exceptions import RequestEntityTooLarge

from console.access import public
from console.book import book, lake
from console.pages.metering import wire
from console.security import program
from metering.intake import Desk, PushedBody, PushReceipt, PushSource, sources
from quota.actors import nobody
from quota.errors import NotAllowed, out_of_room

log = logging.getLogger("guanjia.push")
blueprint = Blueprint("push", __name__)

PROTOBUF, JSON = "application/x-protobuf", "application/json"
RETRY = {"Retry-After": "60"}
ONE, TWO = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
MESSAGES: Mapping[str, Callable[[bytes], PushedBody]] = {ONE: wire.remote_write, TWO: wire.remote_write_2}
CODES = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 503: 14}
"""HTTP status → google.rpc.Code: INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE;
else UNKNOWN."""
Answers = Callable[[int, str, dict[str, str] | None], Response]
WRITTEN = "X-Prometheus-Remote-Write"


class _Desks:
    """The desks of this process, one a source, each used by one thread at a time."""

    def __init__(self) -> None:
        self._desks: dict[tuple[object, ...], tuple[threading.Lock, Desk]] = {}
        self._guard = threading.Lock()

    def take(self, source: PushSource, delivery: PushedBody) -> PushReceipt:
        key = (str(lake().root), source.id, source.code, source.pool_id, source.label, source.systems)
        with self._guard:
            turn, desk = self._desks.setdefault(key, (threading.Lock(), Desk(lake(), source)))
        with turn:
            return desk.take(book(), delivery)


_desks = _Desks()


@blueprint.post("/api/v1/write")
@public
@program
def remote_write() -> Response:
    """Prometheus remote-write 1.0 and 2.0, as the content type says. 204, or text on what went wrong."""
    read = MESSAGES.get(request.mimetype_params.get("proto", ONE)) if request.mimetype == PROTOBUF else None
    if read is None or _packing() != "snappy":
        return _text(415, f"remote-write is taken as {PROTOBUF}, of {' or '.join(MESSAGES)}, packed by snappy")
    taken = _received(read)
    if isinstance(taken, Response):
        return taken
    headers = {"X-Guanjia-Taken": str(taken.points)}
    if read is wire.remote_write_2:
        # A sender holds for failed what is not counted here: points of no use were let in and left out on purpose.
        headers |= {f"{WRITTEN}-Samples-Written": str(taken.points + taken.ignored)}
        headers |= {f"{WRITTEN}-{what}-Written": "0" for what in ("Histograms", "Exemplars")}
    if taken.refused:
        return _text(400, _told(taken), headers)
    return Response(status=204, headers=headers)


@blueprint.post("/v1/metrics")
@public
@program
def otlp() -> Response:
    """OTLP/HTTP metrics, protobuf or JSON, gzip or plain. 200 with ``partial_success`` where points were refused."""
    kind, packing = request.mimetype, _packing() or "identity"
    answers = partial(_status, PROTOBUF if kind == PROTOBUF else JSON)
    if kind not in (PROTOBUF, JSON) or packing not in ("identity", "gzip"):
        return answers(415, "OTLP metrics are taken as application/x-protobuf or application/json, plain or gzip")
    taken = _received(lambda body: wire.otlp(body, as_json=kind == JSON, packed=packing == "gzip"), answers)
    if isinstance(taken, Response):
        return taken
    answer = ExportMetricsServiceResponse()
    if taken.refused:
        answer.partial_success.rejected_data_points = sum(taken.refused.values())
        answer.partial_success.error_message = _told(taken)
    if kind == JSON:
        return Response(json_format.MessageToJson(answer), content_type=JSON)
    return Response(answer.SerializeToString(), content_type=PROTOBUF)


def _packing() -> str:
    """The content coding: its names are the same in either case (RFC 9110, 8.4.1)."""
    return request.headers.get("Content-Encoding", "").strip().lower()


def _received(decode: Callable[[bytes], PushedBody], answers: Answers | None = None) -> PushReceipt | Response:
    """Let the source in, read what it sent, keep it; or the answer that says why not."""
    answers = answers or _text
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.authorization.password or "" if request.authorization else ""
    try:
        with book().reading(nobody()) as tx:
            source = sources.admit(tx, token)
    except NotAllowed as refused:
        status = 401 if refused.code == "push.token" else 403
        return answers(status, refused.code, {"WWW-Authenticate": 'Bearer realm="guanjia"'} if status == 401 else {})
    request.max_content_length = wire.MAX_BODY
    try:
        return _desks.take(source, decode(request.get_data(cache=False)))
    except (wire.TooLarge, RequestEntityTooLarge) as error:
        said = str(error) if isinstance(error, wire.TooLarge) else f"more than {wire.MAX_BODY} bytes"
        return answers(413, said, None)
    except wire.Unreadable as error:
        return answers(400, str(error), None)
    except OSError as error:
        log.exception("a delivery of %s could not be kept", source.code)
        return answers(
            503,
            "the disk is full; nothing of this was taken" if out_of_room(error) else "not taken; send it again",
            RETRY,
        )


def _status(encoding: str, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """google.rpc.Status in ``encoding``."""
    current_app.logger.debug("push: %s %s", status, text)
    said = wire.Status(code=CODES.get(status, 2), message=text)
    body = json_format.MessageToJson(said) if encoding == JSON else said.SerializeToString()
    return Response(body, status, headers, content_type=encoding)


def _told(taken: PushReceipt) -> str:
    """What was refused, in words of the exposition: reason, count, an example."""
    parts = [f"{reason}: {count}" for reason, count in sorted(taken.refused.items())]
    shown = [f"{reason} e.g. {example}" for reason, example in sorted(taken.examples.items())]
    return f"{taken.points} points taken; refused {', '.join(parts)}" + (f"; {'; '.join(shown)}" if shown else "")


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    current_app.logger.debug("push: %s %s", status, text)
    return Response(text + "\n", status, headers, content_type="text/plain; charset=utf-8")
