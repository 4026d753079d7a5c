"""The main job: a city's real attendance through `trucban up`, judged by the naive recount of the file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.stack import Tables, need_data, running
from tests.acceptance.verdict import (
    check_counts,
    check_decisions,
    check_held,
    check_lives,
    check_pushes,
    complete,
    difference,
    lives,
)
from tests.recount.recount import recount_nyc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("kind", ["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def test_a_real_years_attendance_and_the_same_again_and_after_a_restart(kind: str, tmp_path: Path) -> None:
    file = need_data()
    expected = recount_nyc(file)
    assert expected.events == 59_399
    began = time.monotonic()
    laps: dict[str, float] = {}

    def lap(name: str) -> None:
        laps[name] = round(time.monotonic() - began, 1)

    with running(kind, tmp_path) as stack:
        lap("up")

        def go(name: str) -> Tables:
            stack.replay(file, expected.events)
            lap(f"{name} sent")
            stack.wait_drained(lambda: complete(stack, expected))
            lap(f"{name} drained")
            return stack.tables()

        first = go("first")
        check_counts(stack, expected, first)
        check_lives(first)
        assert len(lives(first)) > 100
        decisions = stack.decisions()
        check_decisions(first, decisions)
        assert check_pushes(stack, first, decisions) == 0
        held = check_held(first)
        assert held > 100
        pushes = len(stack.receiver.requests)

        assert difference(first, go("again")) == {}
        assert len(stack.receiver.requests) == pushes

        stack.stop()
        lap("stopped")
        stack.up()
        stack.wait_ready()
        lap("up again")
        assert difference(first, go("after a restart")) == {}
        assert stack.decisions() == decisions
        assert len(stack.receiver.requests) == pushes
        stack.stop()
    print(
        f"\n{kind}: {len(lives(first))} alerts, {held} held, {pushes} pushes, seconds since the begin: {laps}"
    )
