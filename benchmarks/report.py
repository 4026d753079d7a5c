"""A benchmark's result as Markdown."""

from __future__ import annotations

from benchmarks.measured import Result, Run


def markdown(result: Result) -> str:
    """The page for ``benchmarks/results``."""
    machine = result.machine
    rows = [_row("plain Faust, one count in a table", run) for run in result.plain]
    rows += [_row(f"`trucban worker`, {len(result.rules)} rules", run) for run in result.worker]
    table = "\n".join(rows)
    libraries = ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
    return f"""# One worker against plain Faust, {result.date}

| | events | events/s | CPU s | CPU µs/event | peak memory, MB | load before |
|---|---:|---:|---:|---:|---:|---:|
{table}

**{result.ratio:.1f} times** the events a second (slowest worker run over fastest plain run); an event costs
1/{result.cost_ratio:.1f} of the CPU.

Both read the same {result.loaded:,} events of {result.event_bytes:.0f} bytes on average (marks of pupils, and
of each thousand 10 heartbeats, 10 corrections and 1 report of a school's day; 1,000 schools) from the same
topic with {result.partitions} partitions of one {result.broker} on this machine. The events were loaded before;
start-up is in no number. The worker is the whole `trucban worker` process (agents count, judge and
correlate) with the rules {", ".join(result.rules)}, from taking its partitions up to the moment a reader of
`alerting.aggregates` held the exact final numbers of every school, which it checks. Plain Faust is one agent
that adds one to `counts[school]` of a table in memory, measured in steady state on fewer events (see
`benchmarks/plain.py`).

Machine: {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB, {machine["system"]}; Python
{machine["python"]}; {libraries}; commit {result.commit}; niceness of broker, plain Faust and worker alike:
{result.priority}. The load is the one-minute average of the machine just before each run; broker, reader and
whatever else ran shared the cores, so what counts is the ratio.
"""


def _row(name: str, run: Run) -> str:
    return (
        f"| {name} | {run.events:,} | {run.rate:,.0f} | {run.cpu_seconds:.1f} | {run.cost:.1f} "
        f"| {run.peak_bytes / 1e6:,.0f} | {run.load:.1f} |"
    )
