"""One seed: a morning, a schedule, and everything that must hold afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import msgspec

from schemas.wire import Transition
from tests.simulator.invariants import check_counts, check_episodes, check_life, check_missing, recount
from tests.simulator.morning import Morning
from tests.simulator.nodes import Faults
from tests.simulator.schedule import NO_FAULTS, Simulation

PARTITIONS = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a seed showed. ``problem`` is empty where everything held."""

    seed: int
    problem: str
    happened: Counter[str]


def trial(seed: int, faults: Faults = NO_FAULTS) -> Outcome:
    """Even seeds: the clock is in the data, and the transitions equal those of a calm run.
    Odd seeds: live clock, senders with another partitioner; the counts equal the recount."""
    by_data = seed % 2 == 0
    try:
        life, happened = _run(seed, by_data=by_data, calm=False, faults=faults)
        if by_data:
            calm, _ = _run(seed, by_data=True, calm=True, faults=NO_FAULTS)
            assert _comparable(life) == _comparable(calm), "other transitions than in a calm run"
    except Exception as error:  # noqa: BLE001 - whatever breaks is the finding, with its seed
        return Outcome(seed, f"seed {seed}: {type(error).__name__}: {error}", Counter())
    return Outcome(seed, "", happened)


def _run(
    seed: int, *, by_data: bool, calm: bool, faults: Faults
) -> tuple[dict[str, list[Transition]], Counter[str]]:
    morning = Morning(seed, PARTITIONS, mode="data" if by_data else "wall", misplaced=not by_data)
    records = morning.records()
    simulation = Simulation(seed, PARTITIONS, calm=calm, faults=faults)
    simulation.run(records, morning.closing())
    life = check_life(simulation.logs)
    simulation.happened["episode continued"] += check_episodes(life)
    check_counts(simulation.logs, recount(morning.sent))
    if by_data:
        check_missing(life, simulation.logs, morning.schools)
    return life, simulation.happened


def _comparable(life: dict[str, list[Transition]]) -> dict[str, list[Transition]]:
    """Where several partitions hold a group, which of them was read further is chance."""
    return {
        alert: [
            step if "school" in step.group else msgspec.structs.replace(step, positions={}) for step in steps
        ]
        for alert, steps in life.items()
    }
