"""From the topics into `WatchState`: one thread reads, applies and publishes a wall each half second."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl
import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from console.roll import Closing
from console.state import WatchState
from console.view import Wall, wall_of
from rules.engine.configured import decode_config
from rules.engine.pulses import pulse_of
from schemas.errors import BrokerAway, DocumentError, LogError, LogLost
from schemas.reference import Reference
from schemas.topics import ACCEPTED, ALERTS, CONTROL, EVENTS, KIND, META, PANES, PULSE, judge_partitions
from schemas.wire import LogBatch, Transition
from streams.consumer import KafkaReader, partitions_of
from streams.log import Partition, TopicBatch
from streams.topics import read_epoch

log = structlog.get_logger(__name__)

PUBLISH_SECONDS: Final = 0.5
BACK_MS: Final = 24 * 3_600_000
"""Accepted events that arrived in this span of real time are read again at the start."""
PANES_BACK: Final = 40
ANSWER_SECONDS: Final = 10.0
_NOTED = {"attendance.marked", "attendance.class_closed"}

YOUNG_SECONDS: Final = 60.0

FETCH_WAIT_MS = 250
"""How long the broker may hold an empty fetch: the wall may be so late, and the embedded broker rests."""


class _Preparing(msgspec.Struct, frozen=True):
    """Of a record of ``alerting.meta`` what says how far a demo is prepared; the rest is skipped."""

    hold: int | None = None
    """Business time at which a demo's clock starts, ms."""
    prepared: int | None = None
    """Up to which business time what was before is sent, ms."""


class _PanesClock(msgspec.Struct, frozen=True):
    """Of a `PanesRecord` only what the wall needs; the rest is skipped unread."""

    source: int
    clock: int


@dataclass(frozen=True, slots=True)
class Published:
    """A wall and its number; ``pulse_at`` and ``read_at`` are of the monotonic clock, seconds."""

    number: int
    wall: Wall
    pulse_at: float
    read_at: float
    away: bool
    """Whether the log does not answer."""
    catching_up: bool
    young: bool = False
    """Whether the feed began so recently that a log which does not answer yet is no fault."""


class Feed:
    """Reads until `stop`; `published` is always the newest wall, `state` is to be read under `lock`."""

    def __init__(self, broker: str, *, counted: Callable[[int], None] = lambda _records: None) -> None:
        self._broker = broker
        self._counted = counted
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console-feed", daemon=True)
        self.lock = threading.Lock()
        self.state = WatchState(1)
        self._number = 0
        self._pulse_at = self._read_at = float("-inf")
        self._away, self._catching_up = True, True
        self._began = time.monotonic()
        self.published = self._make()
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; waits for the thread."""
        self._stop.set()
        self._thread.join()

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._read_one_log()
                except BrokerAway:
                    self._absent()
                except LogLost as error:
                    log.warning("the log is another one or lost records: reading again", error=str(error))
                except LogError as error:
                    log.warning("the log cannot be read yet", error=str(error))
                    self._absent()
        except BaseException as error:
            self.failure = error  # told by /healthz, and every page turns red by itself
            self._away = True
            self._publish()
            raise

    def _absent(self) -> None:
        self._away = True
        self._publish()
        self._stop.wait(1.0)

    def _read_one_log(self) -> None:
        epoch = read_epoch(self._broker, timeout=ANSWER_SECONDS)
        counts = partitions_of(self._broker, [EVENTS], timeout=ANSWER_SECONDS)
        with self.lock:
            self.state = WatchState(counts[EVENTS])
        self._catching_up = True
        positions = start_positions(self._broker, counts[EVENTS])
        while not self._stop.is_set():
            reader = KafkaReader(self._broker, positions, fetch_wait_ms=FETCH_WAIT_MS)
            try:
                self._follow(reader)
                return
            except BrokerAway:
                positions = dict(reader.positions())
                self._absent()
            finally:
                reader.close()
            if self._epoch_now() not in {"", epoch}:
                raise LogLost(f"the log at {self._broker} is another one")

    def _epoch_now(self) -> str:
        try:
            return read_epoch(self._broker, timeout=ANSWER_SECONDS)
        except LogError:
            return ""  # away, or its topics are not there yet: told by the next read

    def _follow(self, reader: KafkaReader) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            batches = reader.poll(2000, 0.2)
            self._away = False
            self._read_at = time.monotonic()
            with self.lock:
                for found in batches:
                    self._apply(found)
            if self._catching_up and not batches:
                self._catching_up = any(reader.lag().values())
            if time.monotonic() >= due:
                self._publish()
                due = time.monotonic() + PUBLISH_SECONDS

    def _publish(self) -> None:
        self._number += 1
        self.published = self._make()

    def _make(self) -> Published:
        with self.lock:
            wall = wall_of(self.state, int(time.monotonic()))
        young = time.monotonic() - self._began < YOUNG_SECONDS
        return Published(
            self._number, wall, self._pulse_at, self._read_at, self._away, self._catching_up, young
        )

    # --- records ---------------------------------------------------------------------------------

    def _apply(self, found: TopicBatch) -> None:
        batch = found.batch
        self._counted(len(batch))
        match found.topic:
            case "school.events":
                self._engine_records(batch)
            case "school.events.accepted":
                for value in batch.values:
                    self._accepted(value or b"")
            case "alerting.meta":
                for value in batch.values:
                    told = msgspec.json.decode(value or b"{}", type=_Preparing)
                    self.state.preparing(told.hold, told.prepared)
            case "alerting.alerts":
                for value in batch.values:
                    if value:
                        self._take_alert(value)
            case _:
                for value in batch.values:
                    if value:
                        panes = msgspec.msgpack.decode(value, type=_PanesClock)
                        self.state.watermark(panes.source, panes.clock)

    def _take_alert(self, value: bytes) -> None:
        try:
            self.state.transition(msgspec.json.decode(value, type=Transition))
        except msgspec.DecodeError as error:
            log.error("a record of the alerts cannot be read", error=str(error))  # noqa: TRY400

    def _engine_records(self, batch: LogBatch) -> None:
        for value, headers in zip(batch.values, batch.headers, strict=True):
            kind = next((content for name, content in headers if name == KIND), b"")
            try:
                if kind == PULSE:
                    self.state.pulse(pulse_of(value or b""))
                    self._pulse_at = time.monotonic()
                elif kind == CONTROL:
                    config = decode_config(value or b"")
                    reference = Reference.from_json(config.reference) if config.reference else None
                    self.state.control(reference, config.clock_mode)
            except (ValueError, DocumentError) as error:
                log.error("a record of the engine cannot be read", kind=kind.decode(), error=str(error))  # noqa: TRY400

    def _accepted(self, value: bytes) -> None:
        frame = pl.read_ipc_stream(io.BytesIO(value), use_pyarrow=False)
        if not len(frame):
            return
        if not self._catching_up:  # what is read again did not arrive now
            self.state.arrived(int(time.monotonic()), len(frame))
        newest = frame.group_by("school").agg(pl.col("time").max())
        self.state.alive(newest["school"].to_list(), newest["time"].to_list())
        if frame["type"][0] == "attendance.class_closed":
            for school, pair, date, closing in _closings(frame):
                self.state.closed(school, pair, date, closing)
        elif frame["type"][0] == "attendance.marked":
            keys = ["school", "f_class", "f_session", pl.col("f_date").cast(pl.String).alias("date")]
            for school, group, session, date, count in frame.group_by(keys).len().iter_rows():
                self.state.marked(school, (group, session), str(date), count)


def _closings(frame: pl.DataFrame) -> Iterator[tuple[str, tuple[str, str], str, Closing]]:
    columns = ["school", "f_class", "f_session", "f_date", "time", "f_enrolled", "f_absent_excused",
               "f_absent_unexcused"]  # fmt: skip
    for school, group, session, date, at, enrolled, excused, unexcused in frame.select(columns).iter_rows():
        yield school, (group, session), str(date), Closing(at, enrolled, excused + unexcused)


def start_positions(broker: str, partitions: int) -> dict[Partition, int]:
    """Where to begin: the engine's records from the first, accepted events of the last day, all alerts.

    Raises `BrokerAway`, `LogError`.
    """
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "trucban-console", "log_level": 0})
    try:
        return {
            (EVENTS, 0): _low(consumer, EVENTS, 0),
            (ALERTS, 0): _low(consumer, ALERTS, 0),
            (META, 0): _low(consumer, META, 0),
            **{(ACCEPTED, number): _since(consumer, number) for number in range(partitions)},
            **{
                (PANES, number): _near_end(consumer, number) for number in range(judge_partitions(partitions))
            },
        }
    except KafkaException as error:
        raise BrokerAway(f"no Kafka broker answers at {broker}") from error
    finally:
        consumer.close()


def _ends(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_SECONDS)
    return low, high


def _low(consumer: Consumer, topic: str, partition: int) -> int:
    return _ends(consumer, topic, partition)[0]


def _near_end(consumer: Consumer, partition: int) -> int:
    low, high = _ends(consumer, PANES, partition)
    return max(low, high - PANES_BACK)


def _since(consumer: Consumer, partition: int) -> int:
    wanted = TopicPartition(ACCEPTED, partition, int(time.time() * 1000) - BACK_MS)
    found = consumer.offsets_for_times([wanted], timeout=ANSWER_SECONDS)[0]
    if found.error is not None:
        raise KafkaException(found.error)
    return found.offset if found.offset >= 0 else _ends(consumer, ACCEPTED, partition)[1]
