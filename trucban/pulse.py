"""The pulse process: topics, control records, and the business time each second into every partition."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from feeds.clock import BusinessClock, ClockSpec, start_of
from feeds.outlet import KafkaOutlet, Meta, Outlet, read_meta
from rules.engine.configured import encode_config
from schemas.errors import BrokerAway
from schemas.topics import ARRIVED, CONTROL, EVENTS, KIND, META, PULSE
from schemas.wire import Config, Pulse
from streams.topics import TopicOptions, ensure_topics
from trucban.addresses import read_clock
from trucban.controls import Change, Controls, Reading, Settling, look, watch
from trucban.metrics import CLOCK, CONTROL_FAULTS, CONTROLS, PULSES, Meter

SECOND_MS = 1000
LOOKS_A_PULSE = 2
LOOK_SECONDS = 1.0 / LOOKS_A_PULSE
"""Between two looks at the files: a change is read after one to two of them."""
HOLD_SECONDS = 0.3
"""How often a clock that waits looks for what it waits for."""


@dataclass(frozen=True, slots=True)
class PulseSettings:
    """What the pulse process needs to know."""

    broker: str
    partitions: int
    clock: ClockSpec
    rules: Path
    reference: Path | None
    clock_file: Path
    """Where the newest business time told is kept, so that it never goes back."""
    ready_file: Path
    """Written when the topics are there: workers may start."""
    state_file: Path
    """`FilesState` as it is now: what the console tells the engineer of the rule files."""
    fed: bool = False
    """Whether a feed sends what happened before a demo's clock starts: the clock waits for it."""


class FilesState(msgspec.Struct, frozen=True):
    """What became of the rule and reference files as they were last read (JSON)."""

    at: int
    """When they were read, real time, ms since the epoch."""
    hash: str
    """Hash of the rules that were published last; empty before the first."""
    errors: list[str]
    """``file:line:column: …`` of each fault; empty: what is in the files is what was published."""
    reference: str = ""
    """Hash of the reference data that were published last."""


class Teller:
    """Writes pulses and control records through an outlet."""

    def __init__(self, outlet: Outlet, clock: BusinessClock, meter: Meter) -> None:
        self._outlet = outlet
        self._clock = clock
        self._meter = meter

    def begin(self) -> None:
        """Tell senders everywhere which clock runs here, and the agents its mode."""
        self._outlet.send(META, 0, None, msgspec.json.encode(Meta(clock=self._clock.anchor)), [])
        self._control(Config(clock_mode=self._clock.spec.mode))

    def hold(self) -> None:
        """Until what was before a demo's start is prepared, the clock is moved by what is fed."""
        self._control(Config(clock_mode="data"))

    def ask(self, start: int) -> None:
        """Let the feed send what was before ``start`` (ms)."""
        self._outlet.send(META, 0, None, msgspec.json.encode(Meta(hold=start)), [])
        self._outlet.flush()

    def change(self, config: Config, told: dict[str, str]) -> None:
        """Publish a new version; what was published is noted after it is acknowledged everywhere."""
        self._control(config)
        self._outlet.send(META, 0, None, msgspec.json.encode(Meta(published=told)), [])
        self._outlet.flush()
        self._meter.add(CONTROLS)

    def pulse(self, clock: int) -> None:
        """Tell the business time in every partition."""
        every = round(SECOND_MS * self._clock.spec.rate)
        value = msgspec.json.encode(Pulse(clock, self._clock.spec.mode, every))
        headers = [(KIND, PULSE), (ARRIVED, str(clock).encode())]
        for partition in range(self._outlet.partitions):
            self._outlet.send(EVENTS, partition, None, value, headers)
        self._outlet.flush()
        self._meter.add(PULSES, self._outlet.partitions)
        self._meter.set(CLOCK, clock / 1000)

    def _control(self, config: Config) -> None:
        value = encode_config(config)
        for partition in range(self._outlet.partitions):
            self._outlet.send(EVENTS, partition, None, value, [(KIND, CONTROL)])
        self._outlet.flush()


def run_pulse(settings: PulseSettings, meter: Meter, stop: threading.Event) -> None:
    """Run until ``stop``. While the broker is away it waits and says so.

    Raises `LogError` if the topics cannot be made or a record is refused.
    """
    log: structlog.stdlib.BoundLogger = structlog.get_logger("pulse")
    while not stop.is_set():
        try:
            epoch = ensure_topics(
                settings.broker, settings.partitions, TopicOptions(clock=settings.clock.mode), timeout=10.0
            )
            settings.ready_file.parent.mkdir(parents=True, exist_ok=True)
            settings.ready_file.write_text(epoch, encoding="ascii")
            log.info("pulse: the topics are there", epoch=epoch, partitions=settings.partitions)
            _tell(settings, meter, stop, log)
        except BrokerAway as error:
            log.warning("pulse: waiting for the broker", reason=str(error))
            stop.wait(1.0)


def _tell(
    settings: PulseSettings, meter: Meter, stop: threading.Event, log: structlog.stdlib.BoundLogger
) -> None:
    outlet = KafkaOutlet(settings.broker)
    clock = BusinessClock(settings.clock, real=real_now(), last=read_clock(settings.clock_file))
    teller = Teller(outlet, clock, meter)
    meta = read_meta(settings.broker)
    controls = watch(settings.rules, settings.reference, meta.published or {})
    if (start := held_start(settings, meta)) is not None:
        teller.hold()
        first = controls.poll()
        _publish(teller, controls, first, meter, log)  # what comes first is judged by it
        write_state(settings.state_file, first, controls.published, real_now())
        teller.ask(start)
        log.info("pulse: the clock waits for what was before its start")
        if not _prepared(settings.broker, start, stop):
            return
        write_clock(settings.clock_file, start)
        clock = BusinessClock(settings.clock, real=real_now(), last=start)
        teller = Teller(outlet, clock, meter)
    teller.begin()
    with ThreadPoolExecutor(1, "files") as threads:
        files = Reading(Settling(lambda: look(settings.rules, settings.reference)), controls.poll, threads)
        patience, looks = None, 0  # of the first time the pulses wait
        while not stop.is_set():
            began = time.monotonic()
            if (change := files.changed(patience)) is not None:
                _publish(teller, controls, change, meter, log)
                write_state(settings.state_file, change, controls.published, real_now())
            if looks % LOOKS_A_PULSE == 0 and settings.clock.mode != "data":
                told = clock.tick(real_now())
                write_clock(settings.clock_file, told)  # first: what is told is never ahead of the file
                teller.pulse(told)
            patience, looks = 0.0, looks + 1
            stop.wait(max(0.0, began + LOOK_SECONDS - time.monotonic()))


def _publish(
    teller: Teller, controls: Controls, change: Change, meter: Meter, log: structlog.stdlib.BoundLogger
) -> None:
    for fault in change.faults:
        log.error("pulse: a file has a fault; what is in force stays", fault=str(fault))
    meter.set(CONTROL_FAULTS, len(change.faults))
    if change.config is not None:
        teller.change(change.config, controls.acknowledge(change))
        log.info("pulse: published", **change.hashes)


def held_start(settings: PulseSettings, meta: Meta) -> int | None:
    """Where (ms) a demo's clock waits for its feed; None: it does not, or has begun to go."""
    if not settings.fed or settings.clock.mode != "demo" or read_clock(settings.clock_file) is not None:
        return None
    start = start_of(settings.clock, real_now()) if meta.hold is None else meta.hold
    return start if (meta.prepared or 0) < start else None


def _prepared(broker: str, start: int, stop: threading.Event) -> bool:
    while (read_meta(broker).prepared or 0) < start:
        if stop.wait(HOLD_SECONDS):
            return False
    return True


def write_clock(path: Path, told: int) -> None:
    """Note the newest business time, all of it or nothing."""
    _replace(path, str(told).encode())


def write_state(path: Path, change: Change, published: dict[str, str], now: int) -> None:
    """Note what became of the files at ``now``, all of it or nothing."""
    errors = [str(fault) for fault in change.faults]
    state = FilesState(now, published.get("rules", ""), errors, published.get("reference", ""))
    _replace(path, msgspec.json.encode(state))


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


def real_now() -> int:
    """Real time, ms since the epoch."""
    return time.time_ns() // 1_000_000
