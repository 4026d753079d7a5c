"""A seeded scheduler: who runs next, who crashes, freezes, wakes as a zombie, moves."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from rules.engine.correlate import CorrelateCore
from rules.engine.count import CountCore
from rules.engine.judge import JudgeCore
from schemas.topics import judge_partitions
from schemas.wire import Core, CoreOptions, OutRecord
from tests.simulator.logs import Logs
from tests.simulator.nodes import Faults, Node

CORES: dict[str, Callable[[int, CoreOptions], Core]] = {
    "count": CountCore,
    "judge": JudgeCore,
    "correlate": CorrelateCore,
}
NO_FAULTS = Faults()


@dataclass(slots=True)
class Simulation:
    """The pipeline count → judge → correlate under one schedule."""

    seed: int
    partitions: int
    faults: Faults = NO_FAULTS
    calm: bool = False
    """No crash, freeze, snapshot or partial send: the run the others are held against."""
    logs: Logs = field(default_factory=Logs)
    happened: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(init=False)
    _nodes: dict[tuple[str, int], Node] = field(default_factory=dict)
    _zombies: list[Node] = field(default_factory=list)
    _lives: int = 0
    _acknowledged: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        for agent, partition in self._places():
            self._nodes[agent, partition] = self._take_over(agent, partition)

    def _places(self) -> list[tuple[str, int]]:
        judges = judge_partitions(self.partitions)
        return [
            *(("count", p) for p in range(self.partitions)),
            *(("judge", p) for p in range(judges)),
            ("correlate", 0),
        ]

    def _take_over(self, agent: str, partition: int) -> Node:
        self._lives += 1
        options = CoreOptions(self.partitions, judge_partitions(self.partitions))
        core: Core = CORES[agent](partition, options)
        if self.faults.wrap is not None:
            core = self.faults.wrap(agent, core)
        return Node(agent, partition, f"life-{self._lives}", core, self.logs, self._acknowledged, self.faults)

    def run(self, events: list[OutRecord], closing: list[OutRecord]) -> None:
        """Feed the events, let chance rule, then let everyone finish; ``closing`` comes last."""
        waiting = list(reversed(events))
        while waiting:
            for _ in range(min(len(waiting), 1 + self._random.randrange(12))):
                self.logs.append(waiting.pop())
            if not self.calm:
                for _ in range(self._random.randrange(4)):
                    self._something()
        self._finish()
        for record in closing:
            self.logs.append(record)
        self._finish()

    def _something(self) -> None:
        place = self._random.choice(list(self._nodes))
        node = self._nodes[place]
        chance = self._random.random()
        if chance < 0.45:
            node.read(1 + self._random.randrange(24))
        elif chance < 0.65:
            node.send(1 + self._random.randrange(8))
        elif chance < 0.80:
            node.snapshot()
            node.send(self._random.randrange(len(node.outgoing) + 1))
            self.happened["snapshot"] += 1
        elif chance < 0.90:
            self.happened["crash"] += 1
            self._nodes[place] = self._take_over(*place)
        elif chance < 0.96:
            self.happened["freeze"] += 1
            self._zombies.append(node)
            self._nodes[place] = self._take_over(*place)
        elif self._zombies:
            self.happened["zombie"] += 1
            zombie = self._random.choice(self._zombies)
            zombie.read(self._random.randrange(12))
            if self._random.random() < 0.3:
                zombie.snapshot()
            zombie.send(self._random.randrange(len(zombie.outgoing) + 1))
            if self._random.random() < 0.5:
                self._zombies.remove(zombie)

    def _finish(self) -> None:
        if not self.calm:
            for place in list(self._nodes):
                if self._random.random() < 0.3:
                    self._nodes[place] = self._take_over(*place)
        for agent in ("count", "judge", "correlate"):
            for _ in range(2):  # forwards come back to `count`
                for (name, _partition), node in self._nodes.items():
                    if name == agent:
                        self._drain(node)

    def _drain(self, node: Node) -> None:
        node.read(0)
        while node.behind > 0 or node.outgoing:
            node.read(10_000 if self.calm else 1 + self._random.randrange(60))
            node.send(len(node.outgoing))
