"""How fast the simulated day is made, and in how much memory: ``python -m benchmarks.day [--copies N]``.

A city is the example district several times over, with other school codes: 28 copies are 2,800 schools.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from feeds.day import day_events
from schemas.civil import parse_day
from schemas.organisation import Reference
from schemas.reference_files import load_reference

DAY = "2026-10-05"
DISTRICT = Path(__file__).resolve().parents[1] / "examples" / "thanh-tri"


def city(district: Reference, copies: int) -> Reference:
    """The district's communes with ``copies`` times its schools and classes."""
    units = [unit for unit in district.units if unit.kind != "school"]
    classes = []
    for copy in range(copies):
        units += [
            unit.model_copy(update={"code": f"{copy:02d}-{unit.code}"})
            for unit in district.units
            if unit.kind == "school"
        ]
        classes += [
            entry.model_copy(update={"school": f"{copy:02d}-{entry.school}"}) for entry in district.classes
        ]
    return Reference.of(units, classes, district.calendar)


def main() -> None:
    """Make a whole day and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description=__doc__)
    parser.add_argument("--copies", type=int, default=1, help="28: a city")
    copies = parser.parse_args().copies
    district = load_reference(DISTRICT)
    reference = city(district, copies) if copies > 1 else district
    before = _peak_mb()
    began, cpu, count, size = time.monotonic(), time.process_time(), 0, 0
    for event in day_events(reference, parse_day(DAY)):
        count, size = count + 1, size + len(event.value)
    spent, real = time.process_time() - cpu, time.monotonic() - began
    print(
        f"{count:,} events of {size / count:.0f} bytes in {spent:.1f} s of CPU ({real:.1f} s): "
        f"{count / spent:,.0f} a second; peak memory {_peak_mb()} MB, {before} MB of it before the first"
    )


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
