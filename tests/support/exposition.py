"""A strict parser of the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_HELP = re.compile(rf"# HELP (?P<name>{_NAME}) (?P<text>(?:[^\\\n]|\\[\\n])+)")
_TYPE = re.compile(rf"# TYPE (?P<name>{_NAME}) (?P<kind>counter|gauge|histogram)")
_SAMPLE = re.compile(
    rf"(?P<name>{_NAME})(?:\{{(?P<labels>{_LABEL}(?:,{_LABEL})*)\}})? (?P<value>-?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)"
)
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    """A metric with its samples, by name and labels."""

    kind: str
    help: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, suffix: str = "", **labels: str) -> float:
        """The value of the one sample with these labels; 0 without one."""
        found = [
            value
            for (name, given), value in self.samples.items()
            if name.endswith(suffix or name) and given >= frozenset(labels.items())
        ]
        assert len(found) <= 1, found
        return found[0] if found else 0

    def sum(self, **labels: str) -> float:
        """The sum of all samples with these labels."""
        return sum(value for (_, given), value in self.samples.items() if given >= frozenset(labels.items()))


def parse(text: str) -> dict[str, Family]:
    """The metrics by name. Errors: `AssertionError` for everything that the format does not allow."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    helped, current = ("", ""), ""
    for line in text.removesuffix("\n").split("\n"):
        if match := _HELP.fullmatch(line):
            helped = match["name"], match["text"]
        elif match := _TYPE.fullmatch(line):
            assert helped[0] == match["name"], "its HELP stands before its TYPE"
            assert match["name"] not in families, "a metric is in one piece"
            current = match["name"]
            families[current] = Family(match["kind"], helped[1])
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            family = families[current]
            ends = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
            assert match["name"] in {current + end for end in ends}, line
            pairs = [(name, _plain(value)) for name, value in _PAIR.findall(match["labels"] or "")]
            assert len(dict(pairs)) == len(pairs), line
            key = match["name"], frozenset(pairs)
            assert key not in family.samples, line
            family.samples[key] = float(match["value"])
    for name, family in families.items():
        assert family.samples, name
        assert (family.kind == "counter") == name.endswith("_total"), name
        if family.kind == "histogram":
            _check_histogram(name, family)
    return families


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value)


def _check_histogram(name: str, family: Family) -> None:
    """Each combination of labels has ascending buckets up to the infinite one, whose count is that of all."""
    combined = {frozenset(pair for pair in labels if pair[0] != "le") for _, labels in family.samples}
    for labels in combined:
        buckets = [
            (float(dict(given)["le"]), value)
            for (sample, given), value in family.samples.items()
            if sample == f"{name}_bucket" and given >= labels and len(given) == len(labels) + 1
        ]
        assert buckets, name
        assert all(one < other and few <= many for (one, few), (other, many) in pairwise(buckets)), name
        assert buckets[-1] == (float("inf"), family.samples[f"{name}_count", labels]), name
        assert family.samples[f"{name}_sum", labels] >= 0
