"""An episode that goes on from one window to the next.

Windows of a fixed length follow each other at once, so what goes on over the turn of the hour is no
news. Between two school days there is a night: over the limit again next morning is.
"""

from __future__ import annotations

from collections.abc import Mapping

from rules.engine.life import Alert, AlertKey, Reason
from rules.model import Rule, Window
from schemas.civil import DAY_MS, day_of, day_start

FIRED = ("firing", "recovering")


def window_before(window: Window, start: int) -> int | None:
    """Start of the window that ends where the one at ``start`` begins; None where none does."""
    if window.kind != "fixed":
        return None
    if start != day_start(day_of(start)):
        return start - window.length
    return start - DAY_MS + (DAY_MS - 1) // window.length * window.length  # the day's last is cut by midnight


def opening_reason(rule: Rule, key: AlertKey, alerts: Mapping[AlertKey, Alert], reason: Reason) -> Reason:
    """Why an alert fires; the first that goes on from the window before takes the episode over from it."""
    before = window_before(rule.query.window, key[2])
    former = None if before is None else alerts.get((key[0], key[1], before))
    if former is None or former.continued or former.state not in FIRED:
        return reason
    former.continued = True
    return "window_continued"


def ending_reason(alert: Alert, reason: Reason) -> Reason:
    """Why an alert ends; with its window its episode need not."""
    return "window_continued" if alert.continued and reason == "window_ended" else reason
