"""Agents at the door: let in by token, limited in size, answered with what was refused."""

from __future__ import annotations

import gzip
import resource
import signal
import struct
from contextlib import contextmanager
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from sqlalchemy import select

from console.book import EXTENSION
from console.pages.metering import wire
from metering.intake import push, sources
from metering.intake.collection import SampleRefusal
from metering.intake.sources import PushSource
from metering.lake.files import Damaged
from metering.visits import SystemVisits
from metering.workbench import Workbench
from quota.actors import Actor, Role, steward
from quota.directory import departments
from quota.directory.departments import System
from quota.directory.pools import Pool
from quota.inventory import Resource

WRITE, OTLP = "/api/v1/write", "/v1/metrics"
TWO = {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
SUPERVISOR = Actor("supervisor1", "督导", Role.SUPERVISOR)


@pytest.fixture
def pool(house, city):
    with house.transaction(steward()) as tx:
        row = Pool(
            code="p1", name="政务外网区", provider_id=city.provider.id, arch="x86_64", zone="政务外网", adapter="files"
        )
        tx.add(row)
        tx.flush()
        for number, (name, address) in enumerate([("web-1", "10.0.0.1"), ("web-2", "10.0.0.2")], 1):
            tx.add(
                Resource(
                    pool_id=row.id, external_id=f"vm-{number}", name=name, kind="vm", arch="x86_64", state="running",
                    address=address, first_seen_at=tx.now,
                )
            )  # fmt: skip
        return row.id


@pytest.fixture
def token(house, pool):
    with house.transaction(SUPERVISOR) as tx:
        return sources.register(tx, "agents", "代理", pool)[1]


def _series(labels, samples):
    one = wire._TimeSeries(labels=labels)
    for ts, value in samples:
        one.samples.add(timestamp=ts, value=value)
    return one.SerializeToString()


def encoded(*series, apart=False):
    """series: (labels, [(ts in ms, value), …]) as a remote-write body."""
    message = wire._WriteRequest()
    for labels, samples in series:
        known = [wire._Label(name=name, value=value).SerializeToString() for name, value in labels.items()]
        if not apart:
            message.timeseries.append(_series(known, samples))
        else:  # as Prometheus does it: a series a sample
            for one in samples:
                message.timeseries.append(_series(known, [one]))
    return bytes(pa.Codec("snappy").compress(message.SerializeToString(), asbytes=True))


def send(client, body, token, url=WRITE, **headers):
    given = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", **headers}
    if token:
        given.setdefault("Authorization", f"Bearer {token}")
    return client.post(url, data=body, headers={name: value for name, value in given.items() if value})


def counter(clock, instance="10.0.0.1:9100", name="node_network_receive_bytes_total", **labels):
    begin = int(clock().timestamp()) // 300 * 300 - 900
    return (
        {"__name__": name, "instance": instance, "device": "eth0", **labels},
        [((begin + second) * 1000, 1000.0 * second) for second in range(0, 900, 15)],
    )


def works(app):
    held = app.extensions[EXTENSION]
    with app.app_context():
        from console.book import lake

        return Workbench(held.book, lake(), held.settings.data)


def folded(app, clock):
    clock.advance(minutes=2)
    return push.fold_all(works(app))


def rates(app, clock, number):
    chart = works(app).lake.chart(number, clock() - timedelta(hours=1), clock(), ["net_rx_kbps"])
    return [value for value in chart.values["net_rx_kbps"].tolist() if value == value]


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=3),
            st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1) | st.integers(2**35, 2**42), st.floats()), max_size=3),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_bodies_of_any_form_are_read_as_the_plain_schema_reads_them(series, apart):
    read = wire.remote_write(encoded(*series, apart=apart))
    found = sorted(
        (sorted(read.labels(read.series[number]).items()), ts, repr(value))
        for number, ts, value in zip(read.index, read.ts, read.value, strict=True)
    )
    assert found == sorted(
        (sorted(labels.items()), ts, repr(value)) for labels, samples in series for ts, value in samples
    )


def test_what_is_written_is_folded_into_the_lake_and_counted(app, client, house, token, clock):
    stale = ({"__name__": "node_memory_MemTotal_bytes", "instance": "web-2"}, [(counter(clock)[1][0][0], float("nan"))])
    answer = send(client, encoded(counter(clock), counter(clock, name="go_goroutines"), stale), token)
    assert (answer.status_code, answer.headers["X-Guanjia-Taken"]) == (204, "60")
    assert send(client, encoded(counter(clock)), token).status_code == 204  # again: nothing changes
    assert folded(app, clock)["agents"].samples == 3
    assert rates(app, clock, 1) == pytest.approx([8.0] * 3)
    with house.reading() as tx:
        source = sources.admit(tx, token)
        assert (source.points, source.ignored, source.refused) == (120, 61, 0)


@pytest.mark.parametrize("name", ["vm-1", "web-1", "10.0.0.1", "10.0.0.1:9100"])
def test_a_machine_may_be_called_by_id_name_or_address(client, token, clock, name):
    assert send(client, encoded(counter(clock, instance=name)), token).status_code == 204


def test_an_answer_says_what_was_refused_and_the_rest_is_kept(app, client, house, token, clock):
    late = ({"__name__": "node_memory_MemTotal_bytes", "instance": "vm-1"}, [(1_000, 5.0), (2**52, 5.0)])
    wrong = ({"__name__": "node_memory_MemTotal_bytes", "instance": "vm-2"}, [(counter(clock)[1][0][0], -1.0)])
    nameless = ({"__name__": "node_memory_MemTotal_bytes"}, [(counter(clock)[1][0][0], 1.0)])
    answer = send(client, encoded(counter(clock), counter(clock, instance="nobody"), late, wrong, nameless), token)
    assert answer.status_code == 400
    for said in ("60 points taken", "resource.unknown: 60", "ts.future: 1", "ts.old: 1", "value.absurd: 1",
                 "series.unnamed: 1", "instance=nobody"):  # fmt: skip
        assert said in answer.text
    folded(app, clock)
    assert len(rates(app, clock, 1)) == 3
    with house.reading() as tx:
        assert {row.reason: row.count for row in tx.query(SampleRefusal)} == {
            "resource.unknown": 60,
            "ts.future": 1,
            "ts.old": 1,
            "value.absurd": 1,
            "series.unnamed": 1,
        }


def many(count: int, start: bytes, each: bytes) -> bytes:
    return bytes(pa.Codec("snappy").compress(start + each * count, asbytes=True))


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (WRITE, many(wire.MAX_POINTS + 1, b"", b"\x0a\x00"), {}),
        (WRITE, many(1, b"\x0a\xc4\x84\x3d", b"\x12\x00" * 500_002), {}),  # one series of as many samples
        (WRITE, many(wire.MAX_POINTS + 1, b"\x22\x00", b"\x2a\x00"), TWO),
        (WRITE, many(wire.MAX_POINTS + 1, b"", b"\x22\x00"), TWO),
        (OTLP, gzip.compress(b"\x0a\x00" * (wire.MAX_POINTS + 1), 1, mtime=0), {"Content-Encoding": "gzip"}),
        (
            OTLP,
            gzip.compress(b'{"resourceMetrics":[' + b"{}," * (wire.MAX_JSON // 3) + b"{}]}", 1, mtime=0),
            {"Content-Encoding": "gzip", "Content-Type": "application/json"},
        ),
    ],
    ids=["series", "samples", "series of 2.0", "symbols", "resources", "JSON"],
)
def test_small_bodies_that_grow_when_they_are_read_are_refused(client, token, otlp_token, path, body, headers):
    """Empty messages take two bytes each, next to nothing when packed, and forty times as much once they are read."""
    answer = send(client, body, otlp_token if path == OTLP else token, path, **headers)
    assert answer.status_code == 413, answer.text
    assert "fewer" in answer.text


def test_a_damaged_spool_keeps_no_other_source_waiting(app, client, house, token, otlp_token, clock):
    assert send(client, encoded(counter(clock)), token).status_code == 204
    root = works(app).lake.root / "push"
    (damaged,) = (root / "agents").glob("*.arrow")
    damaged.write_bytes(damaged.read_bytes()[:100])
    plain = {"Content-Encoding": None}
    assert send(client, otlp(clock).SerializeToString(), otlp_token, OTLP, **plain).status_code == 200
    clock.advance(minutes=30)
    with pytest.raises(Damaged, match=damaged.name):
        folded(app, clock)
    assert list((root / "otel").glob("*-folded.arrow"))
    with house.reading() as tx:
        assert {row.code: row.points for row in tx.scalars(select(PushSource))} == {"agents": 0, "otel": 60}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {"Authorization": None}, 401),
        (b"", {"Authorization": "Bearer gjp_nonsense"}, 401),
        (b"", {"Content-Type": "text/plain"}, 415),
        (b"", {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"}, 415),
        (
            b"",
            {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "Content-Encoding": None},
            415,
        ),
        (bytes(pa.Codec("snappy").compress(b"\x2a\xffgarbage", asbytes=True)), TWO, 400),
        (b"\xff\xff\xff\xff\xff\xff", TWO, 400),
        (b"", {"Content-Encoding": None}, 415),
        (b"\xff\xff\xff\xff\xff\xff", {}, 400),
        (b"\x05abc", {}, 400),
        (bytes(pa.Codec("snappy").compress(b"\x0a\xffgarbage", asbytes=True)), {}, 400),
        (b"\xff\xff\xff\xff\x07" + b"x" * 50, {}, 413),  # says that it is 2 GB
        (b"x" * (wire.MAX_BODY + 1), {}, 413),
    ],
)
def test_hostile_bodies_get_a_clear_answer(app, client, token, body, headers, status):
    answer = send(client, body, token, **headers)
    assert answer.status_code == status
    assert answer.mimetype == "text/plain"
    assert not (works(app).lake.root / "push").exists()


@pytest.mark.parametrize(("minutes", "status"), [(9, 204), (11, 400), (-7 * 24 * 60 + 1, 204), (-7 * 24 * 60 - 1, 400)])
def test_how_far_a_clock_may_be_off(client, token, clock, minutes, status):
    labels, _samples = counter(clock)
    at = int((clock() + timedelta(minutes=minutes)).timestamp() * 1000)
    answer = send(client, encoded((labels, [(at, 1.0)])), token)
    assert answer.status_code == status
    assert ("ts." in answer.text) == (status == 400)


def test_basic_auth_is_taken_and_a_closed_source_is_not(client, house, token, clock):
    assert (
        client.post(
            WRITE,
            data=encoded(counter(clock)),
            headers={"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
            auth=("agents", token),
        ).status_code
        == 204
    )
    with house.transaction(SUPERVISOR) as tx:
        row = sources.admit(tx, token)
        sources.activate(tx, row, False)
    assert send(client, encoded(counter(clock)), token).status_code == 403
    with house.transaction(SUPERVISOR) as tx:
        sources.activate(tx, tx.merge(row), True)
        fresh = sources.rotate(tx, sources.source(tx, row.id))
    assert send(client, encoded(counter(clock)), token).status_code == 401
    assert send(client, encoded(counter(clock)), fresh).status_code == 204


# --- remote-write 2.0: bytes written here by the published field numbers, not by the schema that reads them -----------


def _varint(number):
    number &= 2**64 - 1
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _field(number, content):
    """A length-delimited field; an integer makes a varint field."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _sample(ts, value, start=None):
    """Sample: 1 value, a double; 2 timestamp; 3 start_timestamp."""
    double = _varint(1 << 3 | 1) + struct.pack("<d", value)
    return double + _field(2, ts) + (_field(3, start) if start is not None else b"")


def _series_2(refs, samples, histograms=0, exemplars=0):
    """TimeSeries: 1 labels_refs, packed; 2 samples; 3 histograms; 4 exemplars; 5 metadata."""
    return b"".join(
        [
            _field(1, b"".join(map(_varint, refs))),
            *(_field(2, _sample(*one)) for one in samples),
            *(_field(3, _field(15, 1_700_000_000_000)) for _ in range(histograms)),
            *(_field(4, _field(1, b"") + _varint(2 << 3 | 1) + struct.pack("<d", 1.0)) for _ in range(exemplars)),
            _field(5, _field(1, 1) + _field(3, 0)),
        ]
    )


def encoded_2(*series, symbols=("",)):
    """series: (labels, samples[, histograms[, exemplars]]) as a remote-write 2.0 body: 4 symbols, 5 timeseries."""
    known = dict(zip(symbols, range(len(symbols)), strict=True))
    parts = []
    for labels, *rest in series:
        refs = [known.setdefault(word, len(known)) for pair in labels.items() for word in pair]
        parts.append(_field(5, _series_2(refs, *rest)))
    head = [_field(4, word.encode()) for word in known]
    return bytes(pa.Codec("snappy").compress(b"".join([*head, *parts]), asbytes=True))


def written(answer):
    return [
        int(answer.headers[f"X-Prometheus-Remote-Write-{what}-Written"])
        for what in ("Samples", "Histograms", "Exemplars")
    ]


def test_remote_write_2_is_folded_as_1_is_and_says_what_was_written(app, client, house, token, clock):
    labels, samples = counter(clock)
    body = encoded_2((labels, samples, 0, 2), counter(clock, name="go_goroutines"))
    answer = send(client, body, token, **TWO)
    assert (answer.status_code, answer.headers["X-Guanjia-Taken"], written(answer)) == (204, "60", [120, 0, 0])
    assert send(client, encoded(counter(clock)), token).status_code == 204, "the same series by 1.0: nothing changes"
    assert folded(app, clock)["agents"].samples == 3
    assert rates(app, clock, 1) == pytest.approx([8.0] * 3)
    empty = send(client, bytes(pa.Codec("snappy").compress(b"", asbytes=True)), token, **TWO)
    assert (empty.status_code, written(empty)) == (204, [0, 0, 0])


def test_remote_write_2_says_what_was_refused_and_keeps_the_rest(app, client, house, token, clock):
    labels, samples = counter(clock)
    answer = send(client, encoded_2((labels, samples, 3), counter(clock, instance="nobody")), token, **TWO)
    assert (answer.status_code, written(answer)) == (400, [60, 0, 0])
    assert "kind.histogram: 3" in answer.text
    assert "resource.unknown: 60" in answer.text
    folded(app, clock)
    assert len(rates(app, clock, 1)) == 3
    with house.reading() as tx:
        assert {row.reason: row.count for row in tx.query(SampleRefusal)} == {
            "kind.histogram": 3,
            "resource.unknown": 60,
        }


@pytest.mark.parametrize("refs", [[1, 2, 3], [1, 99], []])
def test_a_series_of_remote_write_2_whose_labels_are_none_is_refused_alone(client, token, clock, refs):
    labels, samples = counter(clock)
    words = {word: n + 1 for n, word in enumerate(word for pair in labels.items() for word in pair)}
    symbols = b"".join(_field(4, word.encode()) for word in ("", *words))
    good = _field(5, _series_2(words.values(), samples))
    body = symbols + _field(5, _series_2(refs, samples[:2])) + good
    answer = send(client, bytes(pa.Codec("snappy").compress(body, asbytes=True)), token, **TWO)
    assert (answer.status_code, written(answer)) == (400, [60, 0, 0])
    assert "series.malformed: 2" in answer.text


def test_symbols_of_remote_write_2_begin_with_the_empty_one(client, token, clock):
    answer = send(client, encoded_2(counter(clock), symbols=("__name__",)), token, **TWO)
    assert answer.status_code == 400
    assert "empty string" in answer.text


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(max_size=4), st.text(max_size=6), min_size=1, max_size=3),
            st.lists(
                st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), st.none() | st.integers(0, 2**42)), max_size=3
            ),
        ),
        max_size=8,
    )
)
def test_bodies_of_remote_write_2_are_read_as_they_were_written(series):
    read = wire.remote_write_2(encoded_2(*series))
    found = [
        (read.labels(read.series[number]), ts, repr(value))
        for number, ts, value in zip(read.index, read.ts, read.value, strict=True)
    ]
    assert found == [(labels, ts, repr(value)) for labels, samples in series for ts, value, _start in samples]


@contextmanager
def no_room():
    """Files may not grow beyond 100 bytes: what a full disk says to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_said_and_the_same_again_is_taken(app, client, token, clock):
    assert works(app).lake.step_s == 300
    body = encoded(counter(clock))
    send(client, encoded(counter(clock, name="go_goroutines")), token)  # the book has been read
    with no_room():
        answer = send(client, body, token)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert "disk is full" in answer.text
    assert list((works(app).lake.root / "push" / "agents").glob("*")) == []
    assert send(client, body, token).status_code == 204
    assert folded(app, clock)["agents"].samples == 3


def otlp(clock, temporality=2, host="web-2"):
    begin = int(clock().timestamp()) // 300 * 300 - 900
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.add(key="host.name").value.string_value = host
    metric = group.scope_metrics.add().metrics.add(name="system.network.io")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = temporality, True
    for second in range(0, 900, 15):
        point = metric.sum.data_points.add(time_unix_nano=(begin + second) * 10**9, as_int=1000 * second)
        point.attributes.add(key="direction").value.string_value = "receive"
        point.attributes.add(key="device").value.string_value = "eth0"
    return request


@pytest.fixture
def otlp_token(house, pool):
    with house.transaction(SUPERVISOR) as tx:
        return sources.register(tx, "otel", "采集器", pool, "host.name")[1]


@pytest.mark.parametrize("packing", [None, "gzip"])
@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
def test_opentelemetry_metrics_are_taken(app, client, otlp_token, clock, kind, packing):
    from google.protobuf import json_format

    request = otlp(clock)
    body = request.SerializeToString() if "proto" in kind else json_format.MessageToJson(request).encode()
    body = gzip.compress(body) if packing else body
    answer = send(client, body, otlp_token, OTLP, **{"Content-Type": kind, "Content-Encoding": packing})
    assert (answer.status_code, answer.mimetype) == (200, kind)
    assert folded(app, clock)["otel"].samples == 3
    assert rates(app, clock, 2) == pytest.approx([8.0] * 3)


def test_opentelemetry_refusals_are_partial_successes(client, otlp_token, clock):
    plain = {"Content-Encoding": None}
    answer = send(client, otlp(clock, temporality=1).SerializeToString(), otlp_token, OTLP, **plain)
    said = ExportMetricsServiceResponse.FromString(answer.data).partial_success
    assert said.rejected_data_points == 60
    assert "temporality.delta: 60" in said.error_message
    answer = send(client, otlp(clock, host="nobody").SerializeToString(), otlp_token, OTLP, **plain)
    assert "resource.unknown: 60" in ExportMetricsServiceResponse.FromString(answer.data).partial_success.error_message
    bad = {"Content-Type": "application/json", "Content-Encoding": None}
    assert send(client, b"[1]", otlp_token, OTLP, **bad).status_code == 400
    assert send(client, b"x", otlp_token, OTLP, **{"Content-Encoding": "gzip"}).status_code == 400
    damaged = bytearray(gzip.compress(b"abc" * 5000))
    damaged[10:14] = b"\xff" * 4
    assert send(client, bytes(damaged), otlp_token, OTLP, **{"Content-Encoding": "gzip"}).status_code == 400
    bomb = gzip.compress(bytes(wire.MAX_UNPACKED + 1))
    assert send(client, bomb, otlp_token, OTLP, **{"Content-Encoding": "gzip"}).status_code == 413
    assert (
        send(client, b"", otlp_token, OTLP, **{"Content-Type": "text/csv", "Content-Encoding": None}).status_code == 415
    )


def test_a_supervisor_registers_a_source_and_sees_the_token_once(client_of, house, pool):
    supervisor = client_of(Role.SUPERVISOR)
    form = {"code": "agents", "name": "代理", "pool": str(pool), "label": "instance"}
    answer = supervisor.send("/resources/sources/new", form)
    assert "gjp_" in answer.text
    with house.reading() as tx:
        source = tx.query(sources.PushSource).one()
    page = supervisor.get(f"/resources/sources/{source.id}")
    assert "gjp_" not in page.text
    assert "/api/v1/write" in page.text
    assert supervisor.send("/resources/sources/new", form).status_code == 422
    assert supervisor.send("/resources/sources/new", {**form, "code": "Bad Code"}).status_code == 422
    assert "gjp_" in supervisor.send(f"/resources/sources/{source.id}/rotate").text
    assert supervisor.send(f"/resources/sources/{source.id}/active", {"active": "0"}).status_code == 302
    assert client_of(Role.AUDITOR).get("/resources/sources/").status_code == 200
    assert client_of(Role.TENANT).get("/resources/sources/").status_code == 403
    assert client_of(Role.AUDITOR).send(f"/resources/sources/{source.id}/rotate").status_code == 403


def status_of(answer):
    """(code, message) of a google.rpc.Status, by its published field numbers: 1 code, 2 message."""
    if answer.mimetype == "application/json":
        return answer.json["code"], answer.json["message"]
    assert answer.mimetype == "application/x-protobuf"
    said = wire.Status.FromString(answer.data)
    text = said.message.encode()
    assert answer.data == _field(1, said.code) + _field(2, text)
    return said.code, said.message


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {"Authorization": "Bearer gjp_nonsense", "Content-Encoding": None}, 401, 16),
        (b"", {"Content-Encoding": "br"}, 415, 3),
        (b"\xff\xff\xff", {"Content-Encoding": None}, 400, 3),
        (b"\xff\xff\xff", {"Content-Encoding": "gzip"}, 400, 3),
        (gzip.compress(bytes(wire.MAX_UNPACKED + 1), mtime=0), {"Content-Encoding": "GZip"}, 413, 8),
    ],
)
def test_opentelemetry_is_refused_in_a_status_of_its_own_encoding(
    client, otlp_token, kind, body, headers, status, code
):
    answer = send(client, body, otlp_token, OTLP, **{"Content-Type": kind, **headers})
    assert (answer.status_code, answer.mimetype) == (status, kind)
    found, message = status_of(answer)
    assert found == code
    assert message


def test_a_full_disk_is_a_status_as_well(client, otlp_token, clock):
    plain = {"Content-Encoding": None}
    with no_room():
        answer = send(client, otlp(clock).SerializeToString(), otlp_token, OTLP, **plain)
    assert (answer.status_code, answer.headers["Retry-After"], status_of(answer)[0]) == (503, "60", 14)


def test_nested_json_is_unreadable_not_a_fault(client, otlp_token):
    answer = send(
        client, b'{"resourceMetrics":' + b"[" * 100_000, otlp_token, OTLP,
        **{"Content-Type": "application/json", "Content-Encoding": None},
    )  # fmt: skip
    assert (answer.status_code, status_of(answer)[0]) == (400, 3)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "GZip"])
def test_content_codings_are_the_same_in_either_case(client, token, otlp_token, clock, coding):
    body = gzip.compress(otlp(clock).SerializeToString())
    assert send(client, body, otlp_token, OTLP, **{"Content-Encoding": coding}).status_code == 200
    assert send(client, encoded(counter(clock)), token, **{"Content-Encoding": "Snappy"}).status_code == 204


def test_partial_success_is_said_in_json_as_well(client, otlp_token, clock):
    from google.protobuf import json_format

    body = json_format.MessageToJson(otlp(clock, temporality=1)).encode()
    answer = send(client, body, otlp_token, OTLP, **{"Content-Type": "application/json", "Content-Encoding": None})
    said = answer.json["partialSuccess"]
    assert said["rejectedDataPoints"] == "60"
    assert "temporality.delta: 60" in said["errorMessage"]


def gauge(clock, name, value, unit="", host="web-2", **attributes):
    begin = int(clock().timestamp()) // 300 * 300 - 900
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.add(key="host.name").value.string_value = host
    metric = group.scope_metrics.add().metrics.add(name=name, unit=unit)
    for second in range(0, 900, 15):
        point = metric.gauge.data_points.add(time_unix_nano=(begin + second) * 10**9, as_double=value)
        for key, told in attributes.items():
            point.attributes.add(key=key).value.string_value = told
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("name", "unit", "value", "said"),
    [
        ("system.memory.utilization", "1", 37.5, "value.share: 60"),
        ("system.memory.utilization", "%", 37.5, ""),
        ("system.memory.utilization", "By", 0.4, "unit.unknown: 60"),
        ("DCGM_FI_DEV_GPU_UTIL_RATIO", "", 37.5, "value.share: 60"),
        ("guanjia_mem_pct", "1", 0.4, "unit.unknown: 60"),
        ("guanjia_mem_pct", "%", 37.5, ""),
        ("guanjia_mem_pct", "%", float("inf"), "value.absurd: 60"),
    ],
)
def test_units_are_believed_or_refused(app, client, otlp_token, clock, name, unit, value, said):
    answer = send(client, gauge(clock, name, value, unit, state="used"), otlp_token, OTLP, **{"Content-Encoding": None})
    told = ExportMetricsServiceResponse.FromString(answer.data).partial_success.error_message
    assert (said in told) if said else not told
    if not said:
        folded(app, clock)
        chart = works(app).lake.chart(2, clock() - timedelta(hours=1), clock(), ["mem_pct"])
        assert {value for value in chart.values["mem_pct"].tolist() if value == value} == {37.5}


def test_a_card_that_says_per_cent_under_the_name_of_a_ratio_is_not_read_for_a_day(
    app, client, house, otlp_token, clock
):
    """What the door refuses as no share is known when the spool is folded, by whichever process, hours later."""

    def cards(value):
        body = gauge(clock, "DCGM_FI_DEV_GPU_UTIL_RATIO", value, gpu="0")
        answer = send(client, body, otlp_token, OTLP, **{"Content-Encoding": None})
        told = ExportMetricsServiceResponse.FromString(answer.data).partial_success.error_message
        done = folded(app, clock)
        chart = works(app).lake.chart(2, clock() - timedelta(hours=1), clock(), ["card_pct"])
        [one] = done.values()
        return told, {value for value in chart.values["card_pct"].tolist() if value == value}, one

    told, found, done = cards(37.5)
    assert "value.share: 60" in told
    assert (found, done.points, dict(done.refused)) == (set(), 0, {"value.share": 60})
    clock.advance(hours=3)
    told, found, done = cards(0.4)
    assert (told, found, done.points) == ("", set(), 60)
    assert done.refused["card.per_cent"] >= 40, "whole slots"
    with house.reading() as tx:
        assert "card.per_cent" in {row.reason for row in tx.query(SampleRefusal)}
    clock.advance(hours=25)
    _told, found, _done = cards(0.4)
    assert found == {40.0}


def test_memory_that_nobody_tells_the_total_of_is_the_inventorys(app, client, house, otlp_token, clock):
    with house.transaction(steward()) as tx:
        tx.get(Resource, 2).amounts = {"memory": 8192}
    body = gauge(clock, "system.memory.usage", 2.0 * 2**30, "By", state="used")
    assert send(client, body, otlp_token, OTLP, **{"Content-Encoding": None}).status_code == 200
    folded(app, clock)
    chart = works(app).lake.chart(2, clock() - timedelta(hours=1), clock(), ["mem_pct"])
    assert {value for value in chart.values["mem_pct"].tolist() if value == value} == {25.0}


def test_labels_that_grow_without_end_are_refused(client, token, clock, monkeypatch):
    monkeypatch.setattr(push, "MOST_SERIES", 3)
    series = [counter(clock, request=str(n)) for n in range(5)]
    answer = send(client, encoded(*series), token)
    assert answer.status_code == 400
    assert "180 points taken; refused series.many: 120" in answer.text
    answer = send(client, encoded(counter(clock, instance="web-2", note="x" * 20_000)), token)
    assert "series.long: 60" in answer.text
    assert len(answer.text) < 1000


def test_what_was_seen_is_forgotten_by_bytes(monkeypatch):
    monkeypatch.setattr(wire, "MAX_SEEN_BYTES", 1000)
    seen = wire._Seen[str]()
    for number in range(100):
        assert seen.kept([f"{number:0100d}", "same"]) == [f"{number:0100d}", "same"]
        assert seen.size <= 1000 + 204
    assert len(seen.known) < 12


def test_what_can_not_be_used_is_said_on_the_sources_page(app, client, client_of, house, token, clock):
    labels, _samples = counter(clock)
    begin = int(clock().timestamp()) // 300 * 300
    hourly = [((begin - back) * 1000, 1e6 - back) for back in (10_800, 7_200, 3_600, 0)]
    assert send(client, encoded((labels, hourly)), token).status_code == 204
    starving = [
        (
            {"__name__": "node_cpu_seconds_total", "instance": "web-2", "cpu": "0", "mode": mode},
            [((begin - back) * 1000, 1000 - back * rate) for back in range(900, -1, -15)],
        )
        for mode, rate in (("user", 0.5), ("steal", 0.5), ("idle", 0.0))
    ]
    assert send(client, encoded(*starving), token).status_code == 204
    folded(app, clock)
    with house.reading() as tx:
        told = {row.reason: (row.count, row.example) for row in tx.query(SampleRefusal)}
        source = tx.scalar(select(PushSource).where(PushSource.code == "agents"))
    assert told == {"interval.long": (3, "web-1: 3600 s > 900 s"), "cpu.starved": (3, "web-2: 50 %")}
    assert source.refused == 3, "what is only noted was not refused"
    page = client_of(Role.SUPERVISOR).get(f"/resources/sources/{source.id}").text
    assert "发送间隔超过15分钟" in page
    assert "供方供给不足" in page


def test_systems_are_told_of_by_sources_that_may(app, client, house, pool, token, clock):
    """By the system's code; what another source says of systems is refused, and so is a code that nobody has."""
    with house.transaction(steward()) as tx:
        owner = departments.register(tx, "d9", "市考试院")
        tx.add(System(code="exam", name="报名系统", department_id=owner.id, active=True))
        sso = sources.register(tx, "sso", "统一认证", pool, systems=True)[1]
    begin = int(clock().timestamp()) // 60 * 60 - 3600
    points = [((begin + 60 * n) * 1000, 5.0 * n) for n in range(60)]
    one = {"__name__": "guanjia_system_logins_total", "system": "exam", "instance": "sso-1"}
    two = [{**one, "prometheus_replica": name} for name in ("a", "b")]
    body = encoded(*((labels, points) for labels in two))
    refused = send(client, body, token)
    assert refused.status_code == 400
    assert "system.source" in refused.text
    strange = send(client, encoded(({**one, "system": "none"}, points)), sso)
    assert "system.unknown" in strange.text
    users = {**one, "__name__": "guanjia_system_active_users"}
    many = send(client, encoded((users, [(begin * 1000, 1e30), (begin * 1000 + 1, -1.0)])), sso)
    assert "value.absurd" in many.text
    assert send(client, body, sso).headers["X-Guanjia-Taken"] == "120"
    assert send(client, body, sso).status_code == 204  # again
    assert folded(app, clock)["sso"].points == 240
    with house.reading() as tx:
        (row,) = tx.scalars(select(SystemVisits))
        assert (row.kind, row.count, row.known_s) == ("logins", 59 * 5, 59 * 60)
        source = tx.scalars(select(PushSource).where(PushSource.code == "sso")).one()
        assert (source.points, source.refused) == (240, 62)
        assert source.last_point_at.timestamp() == begin + 59 * 60
