"""Who does the work that a city's resources take: this process, workers beside it, or a Spark cluster.

Blocks of resources are independent of each other. A *task* is one block: which resources, and what the inventory knows
of them. The same function does a task everywhere, on the same files, so that the results are the same to the last bit;
they come back in the order of the tasks.

    engine = engines.named("workers", workers=4)
    for done in engine(function, survey, tasks): ...
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from metering.lake import ClosedDays

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from metering.judging.policy import Policy

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class BlockSurvey:
    """What all tasks have in common: where the lake's days lie, which of them, by which policy."""

    place: str
    first: date
    last: date
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class BlockTask:
    """ids: int32 [r], sorted, of one block; about: what else is known of them, by name, [r] each."""

    ids: NDArray[Any]
    about: dict[str, NDArray[Any]] = field(default_factory=dict)


Function = Callable[[ClosedDays, BlockSurvey, BlockTask], Result]
Engine = Callable[[Function[Any], BlockSurvey, Sequence[BlockTask]], Iterator[Any]]


def named(name: str = "local", workers: int | None = None) -> Engine:
    """`local` (threads of this process), `workers` (processes), `spark` or `spark://host:port` (a cluster).

    workers: how many threads or processes, default one a core. ValueError for another name; LookupError where Spark is
    asked for and pyspark is not installed.
    """
    count = workers or len(os.sched_getaffinity(0))
    if name == "local":
        return partial(_local, count)
    if name == "workers":
        return partial(_workers, count)
    if name == "spark" or name.startswith(("spark://", "local[", "yarn", "k8s://")):
        return partial(_spark, os.environ.get("SPARK_MASTER", "local[*]") if name == "spark" else name)
    raise ValueError(f"no engine is called {name}; there are local, workers, spark and spark://host:port")


def _ahead(submit: Callable[[BlockTask], Future[Any]], tasks: Iterable[BlockTask], count: int) -> Iterator[Any]:
    """Results in order, with no more tasks under way than keep everybody busy."""
    waiting = iter(tasks)
    under_way = [submit(task) for task in islice(waiting, count + 1)]
    while under_way:
        done = under_way.pop(0).result()
        under_way.extend(submit(task) for task in islice(waiting, 1))
        yield done


def _local(count: int, function: Function[Any], survey: BlockSurvey, tasks: Sequence[BlockTask]) -> Iterator[Any]:
    shelf = ClosedDays(survey.place)
    with ThreadPoolExecutor(count) as pool:
        yield from _ahead(lambda task: pool.submit(function, shelf, survey, task), tasks, count)


_SHELVES: dict[str, ClosedDays] = {}


def _by_worker(function: Function[Any], survey: BlockSurvey, task: BlockTask) -> Any:
    if survey.place not in _SHELVES:
        _SHELVES[survey.place] = ClosedDays(survey.place)
    return function(_SHELVES[survey.place], survey, task)


def _workers(count: int, function: Function[Any], survey: BlockSurvey, tasks: Sequence[BlockTask]) -> Iterator[Any]:
    # Spawned, not forked: threads of this process must not be copied half-alive.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from _ahead(lambda task: pool.submit(_by_worker, function, survey, task), tasks, count)


def _spark(master: str, function: Function[Any], survey: BlockSurvey, tasks: Sequence[BlockTask]) -> Iterator[Any]:
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise LookupError("the engine spark needs the package pyspark; see docs/outgrown.md") from None
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = (
        SparkSession.builder.master(master)
        .appName("guanjia")
        .config("spark.ui.enabled", os.environ.get("GUANJIA_SPARK_UI", "false"))
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "1")
        .getOrCreate()
    )
    try:
        job = pickle.dumps((function, survey))
        rows = [(number, bytearray(pickle.dumps(task))) for number, task in enumerate(tasks)]
        slices = max(1, min(len(rows), 4 * session.sparkContext.defaultParallelism))
        given = session.createDataFrame(session.sparkContext.parallelize(rows, slices), "number int, content binary")
        answered = given.mapInArrow(partial(_on_cluster, job), "number int, content binary")
        found = {row.number: bytes(row.content) for row in answered.collect()}
    finally:
        session.stop()
    for number in range(len(tasks)):
        yield pickle.loads(found[number])  # noqa: S301 - what our own function has just written


def _on_cluster(job: bytes, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On an executor: tasks in, results out."""
    import pyarrow as pa

    function, survey = pickle.loads(job)  # noqa: S301 - from our own driver
    for batch in batches:
        numbers = batch.column("number").to_pylist()
        tasks = [pickle.loads(content) for content in batch.column("content").to_pylist()]  # noqa: S301
        done = [pickle.dumps(_by_worker(function, survey, task)) for task in tasks]
        yield pa.RecordBatch.from_arrays(
            [pa.array(numbers, pa.int32()), pa.array(done, pa.binary())], ["number", "content"]
        )
