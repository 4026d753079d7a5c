"""Windows in civil time, Asia/Ho_Chi_Minh (UTC+7 without summer time since 1975)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from rules.model import Window

CIVIL_OFFSET = 7 * 3600 * 1000
"""Civil time minus UTC, ms."""
DAY = 24 * 3600 * 1000


def day_start(day: int) -> int:
    """Start of a civil day (days since 1970-01-01), ms since the epoch."""
    return day * DAY - CIVIL_OFFSET


def day_of(instant: int) -> int:
    """Civil day of an instant in ms, as days since 1970-01-01."""
    return (instant + CIVIL_OFFSET) // DAY


def weekday_of(instant: int) -> int:
    """Weekday of an instant, 0 = Monday."""
    return (day_of(instant) + 3) % 7


def civil(instant: int) -> dt.datetime:
    """An instant as civil time, without zone."""
    return dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=instant + CIVIL_OFFSET)


def window_end(window: Window, start: int) -> int:
    """End (exclusive) of the window that starts at ``start``; 0 for a window without end."""
    if window.kind == "none":
        return 0
    if window.kind == "school_day":
        return start + DAY
    midnight = day_start(day_of(start))
    return min(start + window.length, midnight + DAY)


def window_start_expr(window: Window) -> pl.Expr:
    """Start of each row's window in ms, from its ``_day`` or its ``time``."""
    if window.kind == "none":
        return pl.lit(0, dtype=pl.Int64)
    midnight = pl.col("_day").cast(pl.Int64) * DAY - CIVIL_OFFSET
    if window.kind == "school_day":
        return midnight
    local = pl.col("time") + CIVIL_OFFSET
    start_of_day = local - local % DAY
    return start_of_day + (local - start_of_day) // window.length * window.length - CIVIL_OFFSET
