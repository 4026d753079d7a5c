"""An alert that lives, as `correlate` knows it."""

from __future__ import annotations

import msgspec

from schemas.wire import Transition


class Live(msgspec.Struct):
    """Its newest step, with who holds it and how many it holds."""

    step: Transition
    since: int
    """When it began: for silence the last event, ms."""
    returns_at: int | None = None
    """Its holder has ended: from this instant on it is told by itself."""
