"""The templates that `synthesize` wrote, and what is in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

FOLDER: Final = "UBR_TEST_AWS_ASSEMBLIES"
"""The variable with the folder of all assemblies. The first process of a run sets it."""

Resource: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assembly:
    """The templates of one environment, by the concern of the stack, such as `network`."""

    path: Path
    prefix: str
    templates: dict[str, dict[str, Any]]

    def files(self) -> list[Path]:
        return sorted(self.path.glob("*.template.json"))

    def resources(self, *types: str) -> list[Resource]:
        """The properties of every resource of these types."""
        return [each.get("Properties", {}) for _, _, each in self.every() if not types or each["Type"] in types]

    def one(self, kind: str, **properties: Any) -> Resource:
        """The properties of the only resource of a type with these values."""
        found = [
            each for each in self.resources(kind) if all(each.get(name) == value for name, value in properties.items())
        ]
        assert len(found) == 1, f"{len(found)} resources are {kind} with {properties}"
        return found[0]

    def every(self) -> Iterator[tuple[str, str, Resource]]:
        """Each resource with the concern of its stack and its logical id."""
        for concern, template in self.templates.items():
            for name, resource in template["Resources"].items():
                yield concern, name, resource

    def task(self, name: str) -> Resource:
        return self.one("AWS::ECS::TaskDefinition", Family=f"{self.prefix}-{name}")


@cache
def assembly(name: str) -> Assembly:
    path = Path(os.environ[FOLDER]) / name
    prefix = "ubr-production" if name == "production" else "ubr-small"
    templates = {
        file.name.removeprefix(f"{prefix}-").removesuffix(".template.json"): json.loads(file.read_text())
        for file in sorted(path.glob("*.template.json"))
    }
    return Assembly(path, prefix, templates)


def text(value: Any) -> str:
    """A value of a template as one text: references become `{name}`."""
    match value:
        case str():
            return value
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(text, parts))
        case {"Ref": name} | {"Fn::ImportValue": name}:
            return f"{{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{{{name}.{attribute}}}"
        case _:
            return json.dumps(value)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
