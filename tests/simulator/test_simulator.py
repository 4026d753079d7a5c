"""Promises 1, 2, 3, 5, 6 and 7: whatever crashes, freezes, moves or repeats, nothing changes.

Each seed is a small district's days under a schedule of its own. A seed that fails is printed and
reproduces exactly: ``python -m tests.simulator SEED``.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulator.faults import FAULTS
from tests.simulator.trial import Outcome, trial

SEEDS = int(os.environ.get("TRUCBAN_SEEDS", "2000"))
TRIED_ON_FAULTS = 60


def run(seeds: range) -> list[Outcome]:
    """Outcomes of the seeds, on all cores of the machine."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # a process for each core is enough: a fifth less CPU
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=os.nice, initargs=(10,)) as pool:
        return list(pool.map(trial, seeds, chunksize=20))


@pytest.mark.timeout(2400)
def test_no_schedule_changes_what_comes_out() -> None:
    outcomes = run(range(SEEDS))
    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    happened = sum((outcome.happened for outcome in outcomes), Counter[str]())
    print(f"{SEEDS} seeds: {dict(happened)}")
    assert not problems, "\n".join(problems[:10])
    assert all(happened[what] > SEEDS // 4 for what in ("crash", "freeze", "zombie", "snapshot"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_deliberate_fault_is_found(fault: str) -> None:
    found = next((n for n in range(TRIED_ON_FAULTS) if trial(n, FAULTS[fault]).problem), None)
    assert found is not None, f"{TRIED_ON_FAULTS} seeds did not notice that {fault}"
