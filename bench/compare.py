"""Compare two commits: run it as `python -m bench.compare BASE [COMMIT]`, or `make bench BASE=…`.

COMMIT is what lies in the working tree if it is not given. Each round measures every layer of both, in processes of
their own and in another order than the round before, on an empty PostgreSQL database for each. It prints the medians,
and the ratio of COMMIT to BASE: the median of the ratios of each round, the lowest and the highest. Below 1 means that
COMMIT takes less. A ratio says something only if 1 is not between the lowest and the highest.

A commit is measured by the `bench.layers` of its own, or by that of the working tree if it has none. Both run with the
packages of this environment.
"""

# ruff: noqa: INP001, T201 - a script, not a package, that talks to whoever runs it

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from tests.support.commands import clean_environment
from tests.support.servers import PostgresServer

ROOT: Final = Path(__file__).parents[1]
ROUNDS: Final = 7


@contextmanager
def tree_of(commit: str | None) -> Iterator[Path]:
    """A folder with the files of a commit; the working tree for None. Errors: `SystemExit` for an unknown commit."""
    if commit is None:
        yield ROOT
        return
    archived = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)  # noqa: S603, S607
    if archived.returncode:
        raise SystemExit(archived.stderr.decode().strip())
    with tempfile.TemporaryDirectory(prefix="ubr-bench-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
            archive.extractall(folder, filter="data")
        tree = Path(folder)
        if not (tree / "bench/layers.py").exists():
            shutil.rmtree(tree / "bench", ignore_errors=True)
            shutil.copytree(ROOT / "bench", tree / "bench")
        yield tree


def measure(tree: Path, url: str) -> dict[str, float]:
    """Microseconds of each call. Errors: `SystemExit` if the commit cannot be measured."""
    environment = clean_environment(PYTHONPATH=f"{tree / 'src'}{os.pathsep}{tree}", PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "bench.layers", url]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"bench.layers failed in {tree}:\n{done.stderr[-2000:]}")
    return {name: float(cost) for name, _, cost in (line.partition("\t") for line in done.stdout.splitlines())}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Compare the costs of two commits.")
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("commit", nargs="?", help="the commit to measure (default: the working tree)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    measured: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    with (
        tree_of(asked.base) as base,
        tree_of(asked.commit) as commit,
        PostgresServer.start(private=True) as server,
    ):
        trees = (base, commit)
        for number in range(asked.rounds):
            for side in (0, 1) if number % 2 else (1, 0):
                name = f"bench_{number}_{side}"
                measured[side].append(measure(trees[side], server.create_database(name)))
                server.drop_database(name)
            print(f"\rround {number + 1} of {asked.rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    before, after = measured
    print(f"{'µs of CPU':38} {asked.base[:10]:>10} {(asked.commit or 'here')[:10]:>10} {'ratio':>6}  lowest to highest")
    for call in after[0]:
        if call not in before[0]:
            print(f"{call:38} {'':10} {median(each[call] for each in after):10.1f}")
            continue
        ratios = [mine[call] / its[call] for its, mine in zip(before, after, strict=True)]
        pair = f"{median(each[call] for each in before):10.1f} {median(each[call] for each in after):10.1f}"
        print(f"{call:38} {pair} {median(ratios):6.2f}  {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
