"""Charts as SVG, made here so that no script draws numbers. Presentation attributes only (strict CSP)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH = 1000
HEIGHT = 300


def progress_svg(
    points: Sequence[tuple[int, int]],
    due: int,
    minute: int,
    deadline: int | None,
    labels: tuple[str, str],
) -> str:
    """Classes closed by the minute of the day, against the clock and the deadline of most schools.

    ``labels``: what it is, for screen readers, and the word for the deadline.
    """
    start, end = span_of(minute)
    width, height = 1000, 64

    def x(at: int) -> float:
        return round(max(0, min(1, (at - start) / (end - start))) * width, 1)

    def y(count: int) -> float:
        return round(height - (count / due if due else 0) * (height - 4), 1)

    path = f"M0,{height}"
    level: float = height
    for at, count in points:
        path += f"H{x(at)}V{y(count)}"
        level = y(count)
    path += f"H{x(minute)}V{height}Z"
    marks = "".join(
        f'<line x1="{x(at)}" x2="{x(at)}" y1="0" y2="{height}" class="tick"/>'
        for at in range(start, end + 1, 15)
    )
    limit = ""
    if deadline is not None:
        limit = f'<line x1="{x(deadline)}" x2="{x(deadline)}" y1="0" y2="{height}" class="limit"/>'
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(labels[0])}" class="progress">{marks}'
        f'<path d="{path}" class="area"/>'
        f"{limit}"
        f'<line x1="{x(minute)}" x2="{x(minute)}" y1="0" y2="{height}" class="now"/>'
        f'<circle cx="{x(minute)}" cy="{level}" r="3" class="now"/></svg>'
    )


def span_of(minute: int) -> tuple[int, int]:
    """First and last minute of the day that the progress of a roll call shows."""
    start = 13 * 60 if minute >= 12 * 60 else 7 * 60
    return start, start + 120


def share_svg(parts: Sequence[tuple[str, int]]) -> str:
    """Numbers as parts of one bar, each with its name as class."""
    total = sum(count for _, count in parts) or 1
    at, bars = 0.0, []
    for name, count in parts:
        width = count * 100 / total
        if count:
            bars.append(f'<rect x="{at:.2f}" width="{width:.2f}" height="8" class="{escape(name)}"/>')
        at += width
    return f'<svg viewBox="0 0 100 8" preserveAspectRatio="none">{"".join(bars)}</svg>'


def measure_svg(values: Sequence[tuple[str, float]], limit: float | None, title: str) -> str:
    """A measure over its windows, oldest first, with its limit as a line."""
    top = max([value for _, value in values] + ([limit] if limit is not None else []) + [1e-9]) * 1.15
    left, bottom = 70, HEIGHT - 40
    step = (WIDTH - left - 20) / max(1, len(values))

    def y(value: float) -> float:
        return round(bottom - value / top * (bottom - 20), 1)

    bars = []
    every = max(1, len(values) // 10)
    for index, (label, value) in enumerate(values):
        over = limit is not None and value > limit
        at = left + index * step
        bars.append(
            f'<rect x="{at + step * 0.15:.1f}" y="{y(value)}" width="{step * 0.7:.1f}" '
            f'height="{max(1.0, bottom - y(value)):.1f}" class="{"over" if over else "bar"}">'
            f"<title>{escape(label)}: {value:.4g}</title></rect>"
        )
        if index % every == 0 or index == len(values) - 1:
            bars.append(
                f'<text x="{at + step / 2:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(label)}</text>'
            )
    line = ""
    if limit is not None:
        line = (
            f'<line x1="{left}" x2="{WIDTH - 20}" y1="{y(limit)}" y2="{y(limit)}" class="limit"/>'
            f'<text x="{left - 8}" y="{y(limit) + 5}" text-anchor="end" class="limit">{limit:.3g}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="chart">'
        f'<line x1="{left}" x2="{WIDTH - 20}" y1="{bottom}" y2="{bottom}" class="axis"/>'
        f"{''.join(bars)}{line}</svg>"
    )
