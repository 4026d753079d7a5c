"""Names that stand for a thing: the episode of an alert, a push.

Both are built from a delimited canonical form (a JSON array), so that ``("a", "bc")`` and
``("ab", "c")`` never meet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

PUSH_ID_BYTES = 16


def push_id(alert: str, transition: str, person: str, channel: str) -> str:
    """Identity and idempotency key of one push: 32 hexadecimal digits, a function of its parts.

    So it stays the same when the notifier, or its whole database, is started afresh.
    """
    return _digest([alert, transition, person, channel])


def episode_of(rule: str, group: Mapping[str, str]) -> str:
    """What an alert has in common with the alerts of its next windows: rule and group."""
    return _digest([rule, sorted(group.items())])


def _digest(parts: list[object]) -> str:
    canonical = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[: 2 * PUSH_ID_BYTES]
