"""Tests of a rule as they stand in its document."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from rules.nodes import Report, items
from schemas.registry import EventType


def read_cases(node: yaml.Node, report: Report, types: Mapping[str, EventType]) -> tuple[object, ...]:
    """The tests of a rule. What is wrong goes into ``report``."""
    del types
    items(node, report, "'tests'")
    return ()
