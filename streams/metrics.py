"""What the streams tell about themselves: a small Protocol that `trucban` fills with prometheus.

Every number the drivers report is a member of `Count` or `Gauge`, so that documentation and code
can be compared by a test.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class Count(Enum):
    """What only grows. The value is the name, without the installation's prefix."""

    RECORDS = "worker_records"
    """Records applied by an agent."""
    BATCHES = "worker_batches"
    """Fetched batches applied by an agent."""
    OUTPUTS = "worker_outputs"
    """Records sent by an agent."""
    OUTPUT_BYTES = "worker_output_bytes"
    """Bytes of keys and values sent by an agent."""
    REWINDS = "worker_rewinds"
    """Times an agent sought back because a fetch began after its position."""
    RESTORES = "worker_restores"
    """Partitions taken over."""
    SNAPSHOTS = "worker_snapshots"
    """Snapshots committed."""
    SNAPSHOT_BYTES = "worker_snapshot_bytes"
    """Bytes of snapshot blocks written."""
    SNAPSHOTS_TORN = "worker_snapshots_torn"
    """Snapshots given up before their commit record (a rebalance or stop ran out of time)."""


class Gauge(Enum):
    """What rises and falls."""

    POSITION = "worker_position"
    """Offset of the next record an agent will apply."""
    BACKLOG = "worker_backlog"
    """Records in the partition not yet applied, by the newest fetch."""
    SNAPSHOT_TIME = "worker_snapshot_time_seconds"
    """When the newest snapshot was committed, seconds since the Unix epoch."""
    BYTES_IN_FLIGHT = "worker_output_bytes_in_flight"
    """Output bytes sent and not yet acknowledged."""


class Metrics(Protocol):
    """Where numbers go. Calls are cheap and never raise."""

    def count(self, what: Count, agent: str, partition: int, by: int = 1) -> None:
        """Add ``by`` to a counter of one agent's partition."""

    def gauge(self, what: Gauge, agent: str, partition: int, value: float) -> None:
        """Set a gauge of one agent's partition."""


class NoMetrics:
    """Metrics that go nowhere."""

    def count(self, what: Count, agent: str, partition: int, by: int = 1) -> None:
        """Drop it."""

    def gauge(self, what: Gauge, agent: str, partition: int, value: float) -> None:
        """Drop it."""
