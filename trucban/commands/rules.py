"""``trucban rules check`` and ``trucban rules test``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from rules.check import as_json, as_text
from rules.check import check as check_files
from rules.load import CATALOGUE, load_rules
from rules.testing import run_all
from schemas.errors import DocumentError, Fault
from schemas.wire import RuleFile
from trucban.settings import Settings


def check(settings: Settings, args: argparse.Namespace) -> int:
    """Print all faults of all rule files; 1 if there are any."""
    files, faults = _read(settings)
    if not faults:
        faults = check_files(files)
    show = as_json if args.json else as_text
    print(show(faults, len(files)))
    return 1 if faults else 0


def test(settings: Settings, args: argparse.Namespace) -> int:
    """Run the examples in all rule files; 1 if one fails or a file is no rule."""
    files, faults = _read(settings)
    if faults:
        raise DocumentError(faults)
    results = run_all(files)
    failed = sum(not result.passed for result in results)
    if args.json:
        listed = [asdict(result) | {"passed": result.passed} for result in results]
        print(json.dumps({"tests": listed, "failed": failed}, ensure_ascii=False, indent=2))
    else:
        for result in results:
            print(result)
        print(f"{len(results)} tests, {failed} failed")
    return 1 if failed else 0


def _read(settings: Settings) -> tuple[list[RuleFile], list[Fault]]:
    try:
        return load_rules(settings.rules or CATALOGUE), []
    except DocumentError as error:
        return [], error.faults
