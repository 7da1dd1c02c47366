"""What agents send, decoded: Prometheus remote-write 1.0 and 2.0 (snappy protobuf), OTLP/HTTP metrics (protobuf or JSON).

Remote-write 1.0 is read with a schema of its own: a series' labels stay the bytes that they came as, because they are the
same at every scrape and only a series that is new has to be looked at. Of the rest only the numbers are read, all at once.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from itertools import compress
from operator import itemgetter
from typing import Any, Generic, TypeVar, cast

import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, Metric, ScopeMetrics

from metering.intake import PushedBody, conventions

MAX_BODY = 16 * 1024 * 1024
MAX_UNPACKED = 16 * 1024 * 1024
MAX_JSON = 4 * 1024 * 1024
MAX_POINTS = 500_000
"""Series and points of one body. Empty messages take two bytes each and forty times as much once they are read; real
senders send some thousands at a time."""
MAX_SEEN = 2_000_000
MAX_SEEN_BYTES = 128 * 1024 * 1024
"""What is remembered from body to body, at most: then it is forgotten, so that labels that are ever new fill no memory."""


class Unreadable(ValueError):
    """The body is not what its headers say; the message says why."""


class TooLarge(ValueError):
    """The body, unpacked, is larger than MAX_UNPACKED bytes (MAX_JSON of JSON), or holds more than MAX_POINTS series or points."""


def _count(number: int) -> int:
    """``number``, unless it is too many."""
    if number > MAX_POINTS:
        raise TooLarge(f"more than {MAX_POINTS} series or points; send fewer at a time")
    return number


# --- remote-write ------------------------------------------------------------------------------------------


def _schema() -> tuple[Any, Any, Any, Any, Any]:
    """(WriteRequest, TimeSeries, Label, Request, Status): prometheus.WriteRequest of remote-write 1.0 and
    io.prometheus.write.v2.Request of 2.0, as far as they are read here; google.rpc.Status without details."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="guanjia/wire.proto", package="guanjia.wire", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, bool, str]) -> None:
        made = file.message_type.add(name=name)
        for title, number, kind, repeated, of in fields:
            made.field.add(
                name=title,
                number=number,
                type=kind,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
                type_name=f".guanjia.wire.{of}" if of else None,
            )

    message("Label", ("name", 1, field.TYPE_STRING, False, ""), ("value", 2, field.TYPE_STRING, False, ""))
    message("Sample", ("value", 1, field.TYPE_DOUBLE, False, ""), ("timestamp", 2, field.TYPE_INT64, False, ""))
    message(
        "TimeSeries",
        ("labels", 1, field.TYPE_BYTES, True, ""),  # serialised Labels, left as they are
        ("samples", 2, field.TYPE_MESSAGE, True, "Sample"),
    )
    message("WriteRequest", ("timeseries", 1, field.TYPE_BYTES, True, ""))  # serialised TimeSeries, likewise
    message(
        "Series",  # of 2.0: labels are numbers of symbols, name and value in turn
        ("labels_refs", 1, field.TYPE_UINT32, True, ""),
        ("samples", 2, field.TYPE_MESSAGE, True, "Sample"),
        ("histograms", 3, field.TYPE_BYTES, True, ""),  # only counted
    )
    message(
        "Request",
        ("symbols", 4, field.TYPE_STRING, True, ""),
        ("timeseries", 5, field.TYPE_MESSAGE, True, "Series"),
    )
    message("Status", ("code", 1, field.TYPE_INT32, False, ""), ("message", 2, field.TYPE_STRING, False, ""))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name], pool)
    names = ("WriteRequest", "TimeSeries", "Label", "Request", "Status")
    return tuple(classes[f"guanjia.wire.{name}"] for name in names)


_WriteRequest, _TimeSeries, _Label, _Request, Status = _schema()
_SNAPPY = pa.Codec("snappy")


def remote_write(body: bytes) -> PushedBody:
    """A remote-write 1.0 body. Raises Unreadable or TooLarge. Histograms, exemplars and metadata are passed over."""
    try:
        request = _WriteRequest.FromString(unpacked(body))
        _count(len(request.timeseries))
        plain = list(request.timeseries)
        # Prometheus sends one sample a series: the labels, then 18 bytes that always have the same form.
        heads = [raw[:-_TAIL] for raw in plain]
        usual = np.fromiter(map(_regular, plain, heads), bool, len(plain))
        tails = np.frombuffer(b"".join([raw[-_TAIL:] for raw in compress(plain, usual)]), np.uint8)
        ts, value, fits = _read_tails(tails.reshape(-1, _TAIL))
        usual[usual] = fits
        series: list[Hashable] = list(compress(heads, usual))
        index, ts, value = list(range(len(series))), ts[fits].tolist(), value[fits].tolist()
        for raw in compress(plain, ~usual):
            one = _TimeSeries.FromString(raw)
            _count(len(ts) + len(one.samples))
            for sample in one.samples:
                index.append(len(series))
                ts.append(sample.timestamp)
                value.append(sample.value)
            series.append(_TimeSeries(labels=one.labels).SerializeToString())
    except DecodeError:
        raise Unreadable("not a remote-write 1.0 message") from None
    return PushedBody(series, _labels, index, ts, value)


def remote_write_2(body: bytes) -> PushedBody:
    """A remote-write 2.0 body. Raises Unreadable or TooLarge.

    Native histograms are refused by name, as OTLP's are; so is a series whose labels point past the symbols, with all that
    it holds. Exemplars, metadata and start times are passed over.
    """
    try:
        request = _Request.FromString(unpacked(body))
    except DecodeError:
        raise Unreadable("not a remote-write 2.0 message") from None
    _count(max(len(request.symbols), len(request.timeseries)))
    symbols = _words.kept(request.symbols)
    if request.timeseries and (not symbols or symbols[0]):
        raise Unreadable("the first of the symbols is not the empty string")
    series: list[Hashable] = []
    index: list[int] = []
    ts: list[int] = []
    value: list[float] = []
    refused: Counter[str] = Counter()
    for one in request.timeseries:
        refs, samples = one.labels_refs, one.samples
        _count(len(ts) + len(samples))
        try:
            key = itemgetter(*refs)(symbols) if refs else ()
        except IndexError:
            key = ()
        if not key or len(refs) % 2:
            refused["series.malformed"] += max(1, len(samples) + len(one.histograms))
            continue
        if one.histograms:
            refused["kind.histogram"] += len(one.histograms)
        if samples:
            number = len(series)
            series.append(key)
            for sample in samples:
                index.append(number)
                ts.append(sample.timestamp)
                value.append(sample.value)
    return PushedBody(series, _paired, index, ts, value, refused)


_Word = TypeVar("_Word", str, bytes)


class _Seen(Generic[_Word]):
    """Words that were seen: the same word is the same object in the next body, so that known series are found at a glance."""

    def __init__(self) -> None:
        self.known: dict[_Word, _Word] = {}
        self.size = 0

    def kept(self, words: Iterable[_Word]) -> list[_Word]:
        """The words, as they were seen before."""
        given = list(words)
        self._room()
        fresh = {word for word in given if word not in self.known}
        self.known.update(zip(fresh, fresh, strict=True))
        self.size += sum(map(len, fresh))
        return [self.known[word] for word in given]

    def _room(self) -> None:
        if len(self.known) > MAX_SEEN or self.size > MAX_SEEN_BYTES:
            self.known.clear()
            self.size = 0


_words = _Seen[str]()


def _paired(key: Hashable) -> Mapping[str, str]:
    """Labels of a series from names and values in turn."""
    words = cast("tuple[str, ...]", key)
    return dict(zip(words[::2], words[1::2], strict=True))


_TAIL = 18
_MARK = b"\x12\x10\x09"  # samples, 16 bytes: value, a double; …
_seen = _Seen[bytes]()
"""Heads that are labels and nothing else, so that what follows them is the only sample of the series."""


def _regular(raw: bytes, head: bytes) -> bool:
    """Whether ``raw`` is labels and one sample of the usual form."""
    if raw[-_TAIL : 3 - _TAIL] != _MARK:
        return False
    if head in _seen.known:
        return True
    try:
        labels = _TimeSeries.FromString(head).labels
    except DecodeError:
        return False  # the mark stood within something else
    if _TimeSeries(labels=labels).SerializeToString() != head:
        return False
    _seen.kept([head])
    return True


def _read_tails(tails: NDArray[np.uint8]) -> tuple[Any, Any, NDArray[np.bool_]]:
    """(ts, value, whether it is of that form) of rows of 18 bytes: mark, double, 0x10, a varint of six bytes."""
    value = np.ascontiguousarray(tails[:, 3:11]).view("<f8").ravel()
    digits = tails[:, 12:]
    fits = (tails[:, 11] == 0x10) & (digits[:, :5] >= 0x80).all(axis=1) & (digits[:, 5] < 0x80)
    ts = ((digits & 0x7F).astype(np.int64) << np.arange(0, 42, 7)).sum(axis=1)
    return ts, value, fits


def _labels(key: Hashable) -> Mapping[str, str]:
    """Labels of a series from their bytes; none where they are no labels, so that the series is of no use."""
    try:
        labels = [_Label.FromString(raw) for raw in _TimeSeries.FromString(key).labels]
    except DecodeError:
        return {}
    return {label.name: label.value for label in labels}


def unpacked(body: bytes) -> bytes:
    """A snappy block, unpacked; its size stands in front and is believed only up to MAX_UNPACKED."""
    size = shift = 0
    for byte in body[:5]:
        size |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
        shift += 7
    else:
        raise Unreadable("not a snappy block")
    if size > MAX_UNPACKED:
        raise TooLarge(f"{size} bytes unpacked; at most {MAX_UNPACKED} are taken")
    if size == 0:
        return b""
    try:
        return bytes(_SNAPPY.decompress(body, size, asbytes=True))
    except (pa.ArrowException, OSError):
        raise Unreadable("not a snappy block") from None


# --- OTLP --------------------------------------------------------------------------------------------------


def otlp(body: bytes, *, as_json: bool, packed: bool) -> PushedBody:
    """An OTLP ExportMetricsServiceRequest: gauges and cumulative sums. Raises Unreadable or TooLarge.

    Labels are the resource's attributes, then the point's; the metric's name is ``__name__``; what the sender says about
    the metric (unit, version of its conventions, scope) stands under the pseudo-labels of metering.intake.conventions. Delta sums,
    histograms and summaries are refused by name: the steward keeps what it can difference itself.
    """
    if packed:
        body = _gunzipped(body)
    if as_json and len(body) > MAX_JSON:
        raise TooLarge(f"more than {MAX_JSON} bytes of JSON; send protobuf, or fewer points at a time")
    request = ExportMetricsServiceRequest()
    try:
        if as_json:
            json_format.Parse(body, request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError):
        raise Unreadable("not an OTLP ExportMetricsServiceRequest") from None
    series: list[Hashable] = []
    index: list[int] = []
    ts: list[int] = []
    value: list[float] = []
    refused: Counter[str] = Counter()
    seen = _count(len(request.resource_metrics))
    for group in request.resource_metrics:
        machine = _attributes(group.resource.attributes)
        seen = _count(seen + len(group.scope_metrics))
        for scope in group.scope_metrics:
            seen = _count(seen + len(scope.metrics))
            for metric in scope.metrics:
                points, why = _points(metric)
                seen = _count(seen + len(points))
                if why:
                    refused[why] += max(1, len(points))
                    continue
                told = _told(metric, group.schema_url, scope)
                for point in points:
                    index.append(len(series))
                    series.append(tuple({**machine, **_attributes(point.attributes), **told}.items()))
                    ts.append(point.time_unix_nano // 1_000_000)
                    if point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
                        value.append(float("nan"))
                    else:
                        value.append(point.as_double if point.WhichOneof("value") == "as_double" else point.as_int)
    return PushedBody(series, dict, index, ts, value, refused)  # type: ignore[arg-type]


def _points(metric: Metric) -> tuple[Any, str]:
    """The points of a metric, and why they can't be used ("" where they can)."""
    kind = metric.WhichOneof("data")
    if kind == "gauge":
        return metric.gauge.data_points, ""
    if kind == "sum":
        cumulative = metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        return metric.sum.data_points, "" if cumulative else "temporality.delta"
    if kind is None:
        return (), "metric.empty"
    return getattr(metric, kind).data_points, f"kind.{kind}"


def _told(metric: Metric, schema_url: str, scope: ScopeMetrics) -> dict[str, str]:
    """The metric's name, and what the sender says about it."""
    told = {
        conventions.UNIT: metric.unit,
        conventions.SCHEMA: conventions.version(scope.schema_url or schema_url),
        conventions.SCOPE: f"{scope.scope.name}@{scope.scope.version}" if scope.scope.name else "",
    }
    return {"__name__": metric.name, **{name: value for name, value in told.items() if value}}


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return "" if kind is None else str(getattr(value, kind))


def _gunzipped(body: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            plain = file.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error):
        raise Unreadable("not gzip") from None
    if len(plain) > MAX_UNPACKED:
        raise TooLarge(f"more than {MAX_UNPACKED} bytes unpacked")
    return plain
