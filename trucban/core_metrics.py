"""What `count` knows of its input, read from the cores themselves when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from weakref import WeakValueDictionary

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rules.engine.count import CountCore
from trucban.metrics import COUNTED, LATE, LIVE_PANES, REJECTED, REPEATS

NUMBERS: Final = ((COUNTED, "counted"), (REPEATS, "repeats"), (LATE, "beyond"))


class CoreWatch(Collector):
    """Knows the newest core of each partition; one that was given up is forgotten with its core."""

    def __init__(self) -> None:
        self._cores: WeakValueDictionary[int, CountCore] = WeakValueDictionary()

    def watch(self, core: CountCore) -> CountCore:
        """Tell of this core from now on."""
        self._cores[core.partition] = core
        return core

    def collect(self) -> Iterator[Metric]:
        """One sample for each partition; refused events also by reason."""
        cores = sorted(self._cores.items())
        for metric, name in NUMBERS:
            family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for partition, core in cores:
                family.add_metric([str(partition)], getattr(core.stats, name))
            yield family
        refused = CounterMetricFamily(REJECTED.name, REJECTED.help, labels=REJECTED.labels)
        for partition, core in cores:
            for reason, number in list(core.stats.rejected.items()):
                refused.add_metric([str(partition), reason], number)
        yield refused
        panes = GaugeMetricFamily(LIVE_PANES.name, LIVE_PANES.help, labels=LIVE_PANES.labels)
        for partition, core in cores:
            panes.add_metric([str(partition)], core.live_panes)
        yield panes
