"""YAML with places: plain values, and for each key and item where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from schemas.errors import Fault

Path = tuple[str | int, ...]


@dataclass(slots=True)
class PlacedYaml:
    """A document's value, the place (line, column; from 1) of each path, and the faults of its form."""

    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path) -> tuple[int, int]:
        """Place of a path, or of the nearest thing around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))


def read_yaml(text: str, file: str) -> PlacedYaml:
    """Read one YAML document. Repeated keys and aliases are faults."""
    result = PlacedYaml()
    try:
        aliases = [token for token in yaml.scan(text, yaml.SafeLoader) if isinstance(token, yaml.AliasToken)]
        for token in aliases:
            place = (token.start_mark.line + 1, token.start_mark.column + 1)
            result.faults.append(Fault(file, *place, "an alias is not allowed", "the value itself"))
        root = None if aliases else yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        result.faults.append(Fault(file, *place, f"not YAML: {error.problem or error.context}"))
        return result
    except yaml.YAMLError as error:
        result.faults.append(Fault(file, 1, 1, f"not YAML: {str(error).splitlines()[0]}"))
        return result
    if root is not None:
        result.value = _value(root, (), result, file)
    return result


def _value(node: yaml.Node, path: Path, result: PlacedYaml, file: str) -> Any:
    result.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value(item, (*path, index), result, file) for index, item in enumerate(node.value))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, result, file)
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError):
        return node.value  # looks like a date and is none: whoever knows what belongs here says so
    finally:
        loader.dispose()


def _mapping(node: yaml.MappingNode, path: Path, result: PlacedYaml, file: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else ""
        place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if not key:
            result.faults.append(Fault(file, *place, "a key is not plain text", "a word"))
        elif key in found:
            result.faults.append(Fault(file, *place, f'the key "{key}" occurs twice', "each key once"))
        else:
            result.places[*path, key] = place
            found[key] = _value(value_node, (*path, key), result, file)
    return found
