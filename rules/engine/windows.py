"""Windows in civil time, Asia/Ho_Chi_Minh (UTC+7 without summer time since 1975)."""

from __future__ import annotations

import polars as pl

from rules.model import Window
from schemas.civil import DAY_MS, OFFSET_MS, day_of, day_start


def weekday_of(instant: int) -> int:
    """Weekday of an instant, 0 = Monday."""
    return (day_of(instant) + 3) % 7


def window_end(window: Window, start: int) -> int:
    """End (exclusive) of the window that starts at ``start``; 0 for a window without end."""
    if window.kind == "none":
        return 0
    if window.kind == "school_day":
        return start + DAY_MS
    midnight = day_start(day_of(start))
    return min(start + window.length, midnight + DAY_MS)


def window_start_expr(window: Window) -> pl.Expr:
    """Start of each row's window in ms, from its ``_day`` or its ``time``."""
    if window.kind == "none":
        return pl.lit(0, dtype=pl.Int64)
    midnight = pl.col("_day").cast(pl.Int64) * DAY_MS - OFFSET_MS
    if window.kind == "school_day":
        return midnight
    local = pl.col("time") + OFFSET_MS
    start_of_day = local - local % DAY_MS
    return start_of_day + (local - start_of_day) // window.length * window.length - OFFSET_MS
