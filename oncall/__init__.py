"""Who is told, when, how often. Pure: no I/O, no clock.

`load_roster` and `parse_roster` read ``oncall.yaml``; `decide` gives one decision for each person
and channel an alert's transition concerns.
"""

from oncall.decisions import History, decide
from oncall.identity import episode_of, push_id
from oncall.model import (
    Assignment,
    Channel,
    Decision,
    OncallRoster,
    Outcome,
    Person,
    Phase,
    Policy,
    Recipient,
    Target,
)
from oncall.parse import load_roster, parse_roster

__all__ = [
    "Assignment",
    "Channel",
    "Decision",
    "History",
    "OncallRoster",
    "Outcome",
    "Person",
    "Phase",
    "Policy",
    "Recipient",
    "Target",
    "decide",
    "episode_of",
    "load_roster",
    "parse_roster",
    "push_id",
]
