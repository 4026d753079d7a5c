"""Transitions and rosters for tests of oncall/, store/ and notify/."""

from __future__ import annotations

from typing import Any

import msgspec

from oncall import OncallRoster, parse_roster
from schemas.wire import Transition

ROSTER = """\
people:
  - code: an
    name: Trần Thị An
    channels:
      - {kind: webhook, url: "http://127.0.0.1:9/an", secret: an-secret}
  - code: binh
    name: Lê Văn Bình
    languages: [en]
    channels:
      - {kind: webhook, url: "http://127.0.0.1:9/binh", secret: binh-secret}
      - {kind: apprise, url: "json://127.0.0.1:9/binh"}
  - code: chi
    name: Phạm Kim Chi
    channels:
      - {kind: webhook, url: "http://127.0.0.1:9/chi", secret: chi-secret}
targets:
  duty-officer: an
  principal:
    - {people: binh, only: {school: ["001", "002"]}}
  leader:
    - {people: chi, severities: [P1]}
"""


def roster(text: str = ROSTER) -> OncallRoster:
    """The roster most tests use: one officer on duty, a principal of two schools, a leader for P1."""
    return parse_roster(text)


def transition(**changes: Any) -> Transition:
    """A firing P2 of school 001; its id follows alert and ordinal unless it is given."""
    values: dict[str, Any] = {
        "alert": "absence-spike|school=001|2018-09-05",
        "ordinal": 1,
        "rule": "absence-spike",
        "rule_hash": "h1",
        "severity": "P2",
        "status": "active",
        "group": {"school": "001"},
        "window_start": 1_536_080_400_000,
        "window_end": 1_536_166_800_000,
        "state": "firing",
        "at": 1_536_110_000_000,
        "decided_at": 1_536_110_001_000,
        "reason": "when",
        "measures": {"rate": 0.21, "usual.mean": None},
        "limits": {"rate": "> 0.08"},
        "positions": {"0": 17},
        "event_ids": ["e-1", "e-2"],
        "title": {"vi": "Vắng học bất thường", "en": "Unusual absence"},
        "text": {"vi": "001: vắng 21/100", "en": "001: 21/100 absent"},
        "notify": ["duty-officer"],
    }
    values.update(changes)
    values.setdefault("id", f"{values['alert']}#{values['ordinal']}")
    return msgspec.convert(values, Transition)
