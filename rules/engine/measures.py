"""A rule's measures and conditions over merged states: pure, compiled once for each rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from rules.model import Baseline, Direct, Formula, Rule
from rules.sql import Value, compile_scalar, parse_expression
from schemas.wire import PaneValue

Values = dict[str, Value]
Earlier = Callable[[], Iterable[Sequence[PaneValue]]]
"""The states of earlier windows of the same weekday, newest first."""
REMEMBERED = 4096
Scalar = Callable[[Mapping[str, Value]], Value]


class Measures:
    """Computes a rule's measures and conditions."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._formulas = {m.name: _compile(m.sql) for m in rule.measures if isinstance(m, Formula)}
        self._when = _compile(rule.when) if rule.when else None
        self._recover = _compile(rule.recover) if rule.recover else None
        condition = rule.complete.condition if rule.complete else ""
        self._complete = _compile(condition) if condition else None
        self._denominators = {
            m.name: _compile(m.denominator)
            for m in rule.measures
            if isinstance(m, Baseline) and m.denominator
        }

    def compute(self, states: Sequence[PaneValue], earlier: Earlier) -> Values:
        """All measures by name; null is *unknown*."""
        values = self._base(states)
        for measure in self._rule.measures:
            if isinstance(measure, Baseline):
                values.update(self._baseline(measure, values, earlier))
            elif isinstance(measure, Formula) and measure.name not in values:
                values[measure.name] = self._formulas[measure.name](values)
        return values

    def when(self, values: Values) -> bool | None:
        """Does the condition hold? None: unknown."""
        return _truth(self._when, values)

    def recovers(self, values: Values) -> bool:
        """Does the rule's own recovery condition hold, or, without one, ``when`` no longer?"""
        if self._recover is not None:
            return _truth(self._recover, values) is True
        return self.when(values) is False

    def complete(self, values: Values, roster: int | None) -> bool:
        """May a window that still fills be judged?"""
        complete = self._rule.complete
        if complete is None:
            return False
        if self._complete is not None:
            return _truth(self._complete, values) is True
        count = values.get(complete.count_measure)
        if not roster or complete.roster_share is None or not isinstance(count, int | float):
            return False
        return count >= complete.roster_share * roster

    def _base(self, states: Sequence[PaneValue]) -> Values:
        values: Values = {}
        for measure in self._rule.measures:
            if isinstance(measure, Direct):
                agg = self._rule.query.aggs[measure.index]
                values[measure.name] = _direct(measure.how, states[measure.index], agg.decimals)
        return values

    def _baseline(self, measure: Baseline, values: Values, earlier: Earlier) -> Values:
        past = (self._value(measure.of, states) for states in earlier())
        seen = list(islice((value for value in past if value is not None), measure.days))
        name = measure.name
        if len(seen) < measure.days:
            return {f"{name}.mean": None, f"{name}.sd": None, f"{name}.days": float(len(seen))}
        mean = math.fsum(seen) / len(seen)
        spread = math.fsum((v - mean) ** 2 for v in seen) / max(len(seen) - 1, 1)
        floor = max(measure.floor, self._binomial(measure, mean, values))
        return {
            f"{name}.mean": mean,
            f"{name}.sd": max(math.sqrt(spread), floor),
            f"{name}.days": float(len(seen)),
        }

    def _binomial(self, measure: Baseline, mean: float, values: Values) -> float:
        """Standard deviation of a share of n that comes from chance alone."""
        denominator = self._denominators.get(measure.name)
        if denominator is None:
            return 0.0
        n = denominator(values)
        if not isinstance(n, int | float) or n <= 0 or not 0 <= mean <= 1:
            return 0.0
        return math.sqrt(mean * (1 - mean) / n)

    def _value(self, name: str, states: Sequence[PaneValue]) -> float | None:
        values = self._base(states)
        for measure in self._rule.measures:
            if isinstance(measure, Formula):
                values[measure.name] = self._formulas[measure.name](values)
            if measure.name == name:
                break
        value = values.get(name)
        return float(value) if isinstance(value, int | float) else None


_compiled: dict[str, Measures] = {}


def measures_of(rule: Rule) -> Measures:
    """The rule's compiled measures, remembered by its content's hash."""
    found = _compiled.get(rule.hash)
    if found is None:
        if len(_compiled) >= REMEMBERED:
            _compiled.clear()
        found = _compiled[rule.hash] = Measures(rule)
    return found


def numbers(values: Values) -> dict[str, float | None]:
    """Measures as they are recorded: numbers only."""
    return {
        name: float(value) if isinstance(value, int | float) else None
        for name, value in values.items()
        if not isinstance(value, str)
    }


def _compile(sql: str) -> Scalar:
    return compile_scalar(parse_expression(sql))


def _truth(condition: Scalar | None, values: Values) -> bool | None:
    if condition is None:
        return None
    result = condition(values)
    return result if isinstance(result, bool) else None


def _direct(how: str, state: PaneValue, decimals: int) -> Value:
    if isinstance(state, dict):
        present = [value for value, count in state.items() if count > 0]
        if how == "distinct":
            return len(present)
        numeric = [value for value in present if isinstance(value, int | float)]
        if not numeric:
            return None
        return min(numeric) if how == "min" else max(numeric)
    if state is None or how in ("distinct", "min", "max"):
        return None
    return state / 10**decimals if decimals else state
