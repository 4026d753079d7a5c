"""``trucban schema``."""

from __future__ import annotations

import argparse
import json

from schemas.errors import SchemaError, SettingsError
from schemas.events import EVENT_TYPES
from schemas.published import json_schema
from trucban.settings import Settings


def run(_settings: Settings, args: argparse.Namespace) -> int:
    """Print a type's JSON Schema, or the types with their titles."""
    if args.type is None:
        width = max(map(len, EVENT_TYPES))
        for name, kind in sorted(EVENT_TYPES.items()):
            print(f"{name:<{width}}  {kind.title.en} / {kind.title.vi}")
        return 0
    try:
        schema = json_schema(args.type)
    except SchemaError as error:
        raise SettingsError(str(error)) from error
    print(json.dumps(schema, ensure_ascii=False, indent=2))
    return 0
