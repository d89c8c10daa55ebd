"""The command `ubr`, also as `python -m ubr`. It names what is missing if only the library is installed."""

from __future__ import annotations

import sys

from ubr.extras import MissingExtra


def main() -> None:
    try:
        from ubr.entrypoints.cli.main import main as command  # noqa: PLC0415 - it needs the extra `server`
    except MissingExtra as missing:
        sys.exit(f"{missing}.")
    command(prog_name="ubr")


if __name__ == "__main__":
    main()
