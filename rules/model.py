"""Typed, frozen rules and the queries they compile to.

A *rule* is what an author wrote. Its direct aggregates (``count(*) filter (...)`` …) become one
*query*: rows of one event type, filtered, grouped, cut into windows, aggregated into mergeable
panes. Rules with equal queries share them. Everything else in a rule (derived measures,
baselines, conditions) is evaluated by the judge on merged panes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

SHARE: Final = 0.2
LEAST: Final = 3

AggKind = Literal["count", "sum", "values", "last"]
"""count: signed rows. sum: integers scaled by the field's decimals. values: counted multiset
(min, max, distinct). last: newest event time in ms (only for types that have no corrections)."""


@dataclass(frozen=True, slots=True, order=True)
class Agg:
    """One mergeable aggregate of a query. ``value`` and ``filter`` are canonical SQL text."""

    kind: AggKind
    value: str = ""
    filter: str = ""
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """``school_day``: civil days. ``fixed``: aligned to the civil day's midnight, ``length`` in ms.
    ``none``: one pane for all time (silence)."""

    kind: Literal["school_day", "fixed", "none"]
    length: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """What ``count`` computes. ``id`` is a hash of everything else: equal queries are one."""

    id: str
    type: str
    where: str
    group_by: tuple[str, ...]
    window: Window
    aggs: tuple[Agg, ...]
    evidence: str
    """SQL filter of the rows whose event ids are kept as evidence; empty: all rows."""

    def __hash__(self) -> int:
        """By the id, which stands for the rest: queries are looked up for each batch."""
        return hash(self.id)


@dataclass(frozen=True, slots=True)
class Direct:
    """A measure that is read off the pane: ``how`` applied to ``query.aggs[index]``."""

    name: str
    how: Literal["count", "sum", "min", "max", "distinct", "last"]
    index: int


@dataclass(frozen=True, slots=True)
class Formula:
    """A measure computed from other measures; canonical SQL text."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """``baseline(of, same_weekday, days[, floor])``: mean and sd of ``of`` in the last ``days``
    earlier windows of the same weekday that have a value; *unknown* (null) with fewer.

    The sd is floored by ``floor`` and, where ``of`` is a ratio a / b, by the binomial
    sqrt(p(1-p)/b) with p the mean and b the present denominator. Gives ``name.mean``,
    ``name.sd`` and ``name.days``.
    """

    name: str
    of: str
    kind: Literal["same_weekday"]
    days: int
    floor: float
    denominator: str
    """Name of the measure or SQL that is the ratio's denominator; empty: not a ratio."""


@dataclass(frozen=True, slots=True)
class Complete:
    """From when on a window that still fills may be judged. None of both: only at its close,
    unless the condition is monotone."""

    roster_share: float | None = None
    """Share (0–1) of the roster's enrolled that ``count_measure`` must reach."""
    count_measure: str = ""
    condition: str = ""
    """Or a SQL condition over measures."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No event for ``after`` ms of time that pulses cover."""

    after: int


@dataclass(frozen=True, slots=True)
class Expect:
    """Something must come from every class or school of the roster by a time of each school day."""

    every: Literal["class", "school"]
    by: tuple[tuple[str, int], ...]
    """For whom (empty: everyone else, a level, a session, or both with a space between) and the
    deadline, ms after midnight."""

    def deadline(self, level: str, session: str) -> int | None:
        """The deadline of the nearest entry: level and session, session, level, default. None: none."""
        found = dict(self.by)
        for who in (f"{level} {session}", session, level, ""):
            if who in found:
                return found[who]
        return None


@dataclass(frozen=True, slots=True)
class Rollup:
    """Where many alerts of a rule are one of the unit above them.

    For each unit of ``along`` (kinds of units, from below): an alert when one of its members (schools, or
    classes where the rule is grouped by class) fires and at least ``least`` fire or are pending, which are
    more than ``share`` (0–1) of all and not all of one unit below; it ends when fewer than half are left.
    """

    along: tuple[str, ...]
    share: float = SHARE
    least: int = LEAST


@dataclass(frozen=True, slots=True)
class Text:
    """Text in Vietnamese and English."""

    vi: str
    en: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule."""

    name: str
    hash: str
    """Content hash of the canonical rule (without its tests)."""
    file: str
    title: Text
    severity: Literal["P1", "P2", "P3", "P4"]
    status: Literal["draft", "shadow", "active", "retired"]
    owner: str
    query: Query
    measures: tuple[Direct | Formula | Baseline, ...]
    """In an order in which each can be computed from those before it."""
    when: str
    """Canonical SQL over measures; empty for silence."""
    recover: str
    """Canonical SQL; empty: ``not when``."""
    monotone: bool
    """More input can only make ``when`` truer: it may fire at once."""
    complete: Complete | None
    silence: Silence | None
    hold: int
    """``for`` in ms."""
    notify: tuple[str, ...]
    message: Text
    """With ``{placeholders}``, checked when the rule was read."""
    school_in_group: bool
    """The group names a school, so one source partition holds all of it."""
    expect: Expect | None = None
    inhibited_by: tuple[str, ...] = ()
    """Rules whose firing alerts for the same place hold this rule's alerts back."""
    rollup: Rollup | None = None
    over: str = ""
    """A composite: the rule whose alerts it counts. It has no query of its own."""
    tests: tuple[object, ...] = field(default=(), compare=False)
    """Cases of `rules.cases`; they are no part of what the rule means."""

    def __hash__(self) -> int:
        """By the content hash: rules are looked up for each change of a pane."""
        return hash(self.hash)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in force together, sorted by name, and the distinct queries behind them.

    Drafts and retired rules are not in it.
    """

    rules: tuple[Rule, ...]
    """Those that judge panes."""
    queries: tuple[Query, ...]
    composites: tuple[Rule, ...] = ()
    """Those over the alerts of others."""
