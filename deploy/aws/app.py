"""The program that `cdk` runs: `cdk deploy --all --context environment=small --context version=1.2.3`."""

from __future__ import annotations

import re
import sys

from aws_cdk import App

from deploy.aws.fleet.parameters import WrongParameters, load
from deploy.aws.fleet.stage import build, with_rules


def main() -> int:
    app = App()
    environment, version = app.node.try_get_context("environment"), app.node.try_get_context("version")
    if not environment or not version:
        return _stop("Name the environment and the version: --context environment=small --context version=1.2.3.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", str(version)):
        return _stop("The version must be the tag of an image.")
    try:
        parameters = load(str(environment))
    except WrongParameters as error:
        return _stop(str(error))
    build(app, parameters, str(version))
    with_rules(app)
    app.synth()
    return 0


def _stop(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
