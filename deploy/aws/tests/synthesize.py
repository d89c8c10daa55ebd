"""Makes the templates that the tests look at: both environments, and small ones with one changed parameter each.

It is a program, because the library checks the types of every call unless Python runs with -O, which takes most of the
time. `python -O -m deploy.aws.tests.synthesize FOLDER NAME…` writes one assembly for each name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from aws_cdk import App
from msgspec import convert, to_builtins

from deploy.aws.fleet.parameters import Parameters, load
from deploy.aws.fleet.stage import build, with_rules
from deploy.aws.tests.variants import CHANGES, CHECKED, VERSION

CONTEXT: Final = json.loads(Path(__file__).parents[1].joinpath("cdk.json").read_text())["context"]


def changed(parameters: Parameters, change: dict[str, Any]) -> Parameters:
    values = to_builtins(parameters)
    for name, value in change.items():
        values[name] = (values.get(name) or {}) | value
    return convert(values, Parameters)


def synthesize(folder: Path, name: str) -> None:
    app = App(outdir=str(folder / name), context=CONTEXT)
    parameters = load(name if name in CHECKED else "small")
    build(app, changed(parameters, CHANGES.get(name, {})), "1.2.4" if name == "version" else VERSION)
    if name in CHECKED:
        with_rules(app)
    app.synth()


if __name__ == "__main__":
    for each in sys.argv[2:]:
        synthesize(Path(sys.argv[1]), each)
