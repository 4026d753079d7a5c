"""`correlate`: every step of every alert once, whatever is sent again and whoever takes over."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.engine.correlate import ENDED_KEPT_MS, CorrelateCore
from schemas.topics import ALERTS
from schemas.wire import LogBatch, State, Transition
from tests.support.engine import ONE, reborn

STATES: tuple[State, ...] = ("pending", "firing", "recovering", "firing", "resolved")


def step(alert: str, ordinal: int, decided_at: int = 0) -> bytes:
    """An alert's step as it travels."""
    made = Transition(
        id=f"{alert}/{ordinal}", alert=alert, ordinal=ordinal, rule="r", rule_hash="h", severity="P2",
        status="active", group={"school": alert}, window_start=0, window_end=1, state=STATES[ordinal - 1],
        at=0, decided_at=decided_at, reason="condition_met", measures={}, limits={}, positions={},
        event_ids=[], title={}, text={}, notify=[],
    )  # fmt: skip
    return msgspec.json.encode(made)


def batch(values: list[bytes], first: int = 0) -> LogBatch:
    count = len(values)
    return LogBatch(
        0, list(range(first, first + count)), [None] * count, list(values), [()] * count, [0] * count
    )


def passed(core: CorrelateCore) -> list[tuple[str, int]]:
    out = []
    for record in core.flush():
        made = msgspec.json.decode(record.value or b"", type=Transition)
        assert (record.topic, record.partition, record.key) == (ALERTS, 0, made.alert.encode())
        out.append((made.alert, made.ordinal))
    return out


def fresh() -> CorrelateCore:
    return CorrelateCore(0, ONE)


def test_promise_1_what_is_sent_again_is_dropped() -> None:
    core = fresh()
    core.apply(batch([step("a", 1), step("b", 1), step("a", 2), step("a", 1), step("a", 2), step("b", 2)]))
    assert passed(core) == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    core.apply(batch([step("a", 1), step("a", 3)], 4))  # the first two were applied
    assert passed(core) == []
    core.apply(batch([step("a", 3), step("b", 1)], 6))
    assert passed(core) == [("a", 3)]
    assert core.position == 8


@pytest.mark.parametrize("again", [None, fresh], ids=["through", "restored"])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=30), st.integers())
def test_promise_1_replays_change_nothing(
    again: Callable[[], CorrelateCore] | None, moves: list[tuple[str, int]], seed: int
) -> None:
    """Alerts go on step by step; at any time what an alert said from some step on is said again."""
    core, chance, said, expected, position = fresh(), random.Random(seed), dict[str, int](), [], 0
    for alert, back in moves:
        known = said.get(alert, 0)
        ordinals = [*range(max(1, known - back), known + 1)]
        if known < len(STATES):
            said[alert] = known + 1
            ordinals.append(known + 1)
            expected.append((alert, known + 1))
        core.apply(batch([step(alert, n) for n in ordinals], position))
        position += len(ordinals)
        found = passed(core)
        assert found == expected[len(expected) - len(found) :]
        assert len(found) == (known < len(STATES))
        if again is not None and chance.random() < 0.5:
            core = reborn(core, again)
            assert core.position == position


def test_ended_alerts_are_forgotten_after_more_than_a_year_and_live_ones_never() -> None:
    core = fresh()
    ended = [step("over", n, 1) for n in range(1, 6)]
    core.apply(batch([*ended, step("live", 2, 1), step("now", 1, ENDED_KEPT_MS + 2)]))
    passed(core)
    core = reborn(core, fresh)
    core.apply(batch([step("live", 2, 1), step("now", 1, 1), step("over", 5, 1)], 7))
    assert passed(core) == [("over", 5)]


def test_many_alerts_go_in_several_blocks() -> None:
    core = fresh()
    core.apply(batch([step(f"a{n}", 1) for n in range(9000)]))
    passed(core)
    assert len([name for name in core.snapshot(complete=True).live if name.startswith("known/")]) == 3
    core = reborn(core, fresh)
    core.apply(batch([step(f"a{n}", 1) for n in range(9000)], 9000))
    assert passed(core) == []
