"""The rules of the embedded metric format of CloudWatch, for tests.

Source: Amazon CloudWatch User Guide, "Specification: Embedded metric format": structure, sizes and units; for the form
of histograms, PutMetricData and its statistic sets.
"""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema

_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 1024}
_NUMBER: Final = {"type": "number"}

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 1_500_000_000_000},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": _NAME,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": _NAME,
                                        "Unit": {"enum": ["Seconds", "Bytes", "Count", "None"]},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
    "additionalProperties": {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": 1024},
            _NUMBER,
            {
                "type": "object",
                "required": ["Values", "Counts", "Min", "Max", "Sum", "Count"],
                "additionalProperties": False,
                "properties": {
                    "Values": {"type": "array", "minItems": 1, "maxItems": 100, "items": _NUMBER},
                    "Counts": {"type": "array", "minItems": 1, "maxItems": 100, "items": _NUMBER},
                    "Min": _NUMBER,
                    "Max": _NUMBER,
                    "Sum": _NUMBER,
                    "Count": _NUMBER,
                },
            },
        ]
    },
}


def parse(line: str | bytes) -> dict[str, Any]:
    """A line. Errors: `ValidationError`, `AssertionError` for everything that the format does not allow."""
    assert len(line) <= 1024 * 1024
    found: dict[str, Any] = json.loads(line)
    jsonschema.validate(found, SCHEMA)
    for directive in found["_aws"]["CloudWatchMetrics"]:
        names = [metric["Name"] for metric in directive["Metrics"]]
        assert len(set(names)) == len(names)
        for name in names:
            value = found[name]
            assert not isinstance(value, str), name
            if isinstance(value, dict):
                _check(name, value)
        for dimension in (name for names in directive["Dimensions"] for name in names):
            assert isinstance(found[dimension], str)
    return found


def _check(name: str, value: dict[str, Any]) -> None:
    """A statistic set that can be: the sum lies between the least and the most that its values allow."""
    assert len(value["Values"]) == len(value["Counts"]), name
    assert sum(value["Counts"]) == value["Count"] > 0, name
    assert value["Min"] <= min(value["Values"]) <= max(value["Values"]) == value["Max"], name
    assert value["Min"] * value["Count"] <= value["Sum"] * (1 + 1e-9), name
    assert value["Sum"] <= value["Max"] * value["Count"] * (1 + 1e-9), name
