"""The part of a rule in which counting, silence and expecting differ."""

from __future__ import annotations

from dataclasses import dataclass

from rules.model import Agg, Baseline, Complete, Direct, Expect, Formula, Rollup, Silence, Window


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a rule counts and when it fires."""

    window: Window
    aggs: tuple[Agg, ...]
    evidence: str
    measures: tuple[Direct | Formula | Baseline, ...]
    numbers: tuple[str, ...]
    """Measures that messages may show."""
    when: str = ""
    recover: str = ""
    monotone: bool = False
    complete: Complete | None = None
    silence: Silence | None = None
    hold: int = 0
    lists: tuple[str, ...] = ()
    """Measures whose members messages may list."""
    expect: Expect | None = None
    rollup: Rollup | None = None
