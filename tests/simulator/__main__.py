"""``python -m tests.simulator SEED [SEED]``: one seed, or a range of them."""

from __future__ import annotations

import sys

from tests.simulator.trial import trial


def main() -> int:
    """Try the seeds; 1 if one of them showed a problem."""
    first = int(sys.argv[1])
    last = int(sys.argv[2]) if len(sys.argv) > 2 else first + 1
    problems = [outcome.problem for outcome in map(trial, range(first, last)) if outcome.problem]
    print("\n".join(problems) or f"{last - first} seeds: nothing found")
    return 1 if problems else 0


sys.exit(main())
