"""Says whether requirements/ still answers what pyproject.toml asks for, without asking any index."""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
AWS = ROOT / "deploy" / "aws"
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)


def pins(lock: Path) -> dict[str, str]:
    return {canonicalize_name(pin["name"]): pin["version"] for pin in PIN.finditer(lock.read_text(encoding="utf-8"))}


def unanswered(lock: Path, wanted: Iterable[str]) -> Iterator[str]:
    locked = pins(lock)
    for requirement in map(Requirement, wanted):
        version = locked.get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            yield f"{lock.relative_to(ROOT)} has {version or 'nothing'} for {requirement}"


def raised(lock: Path, wanted: Iterable[str]) -> Iterator[str]:
    """The packages that are locked above the only bound that they have, their floor: nothing tests that one."""
    locked = pins(lock)
    for requirement in map(Requirement, wanted):
        version = locked.get(canonicalize_name(requirement.name))
        (floor,) = requirement.specifier
        if version is not None and (floor.operator != ">=" or Version(version) != Version(floor.version)):
            yield f"{lock.relative_to(ROOT)} has {version} for {requirement}, and not its floor"


def packages_of(extra: str, extras: Mapping[str, list[str]]) -> Iterator[str]:
    """The packages of an extra, which may name others as those of ubr itself."""
    for text in extras[extra]:
        requirement = Requirement(text)
        if requirement.name == "ubr":
            for other in requirement.extras:
                yield from packages_of(other, extras)
        else:
            yield text


def main() -> int:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    core: list[str] = pyproject["project"]["dependencies"]
    extras: dict[str, list[str]] = pyproject["project"]["optional-dependencies"]
    run, everything = ([*core, *packages_of(extra, extras)] for extra in ("service", "all"))
    alone = tomllib.loads((ROOT / "packages" / "verifier" / "pyproject.toml").read_text(encoding="utf-8"))
    verifier: list[str] = alone["project"]["dependencies"]
    groups: dict[str, list[str]] = pyproject["dependency-groups"]
    locks = ROOT / "requirements"
    found = [
        *unanswered(locks / "run.txt", run),
        *unanswered(locks / "build.txt", groups["build"]),
        *unanswered(locks / "dev.txt", [*everything, *groups["dev"]]),
        *unanswered(locks / "lowest.txt", everything),
        *raised(locks / "lowest.txt", everything),
        *unanswered(locks / "lowest-test.txt", groups["lowest-test"]),
        *unanswered(locks / "servers.txt", groups["test-servers"]),
        *unanswered(locks / "verifier.txt", verifier),
        *unanswered(locks / "backup.txt", groups["backup-image"]),
        *unanswered(locks / "clients.txt", groups["clients"]),
        *unanswered(locks / "campaigns.txt", groups["campaigns"]),
        *unanswered(locks / "release.txt", groups["release"]),
        *unanswered(locks / "docs.txt", groups["docs"]),
        *unanswered(locks / "types.txt", groups["types"]),
        *unanswered(AWS / "requirements.txt", [*run, *groups["aws"]]),
        *unanswered(AWS / "requirements-test.txt", [*run, *groups["aws"], *groups["aws-test"]]),
        *unanswered(AWS / "requirements-scan.txt", groups["aws-scan"]),
        *unanswered(AWS / "requirements-node.txt", groups["aws-node"]),
    ]
    # Run and tested are two files: a version that differs would be tested in one and run in the other.
    for name, tests in (
        ("run.txt", "dev.txt"),
        ("build.txt", "dev.txt"),
        ("verifier.txt", "dev.txt"),
        ("lowest.txt", "lowest-test.txt"),
    ):
        tested = pins(locks / tests)
        found += [
            f"requirements/{name} has {package} {version}, {tests} {tested[package]}"
            for package, version in pins(locks / name).items()
            if tested.get(package, version) != version
        ]
    for finding in found:
        print(finding)
    if found:
        print("make lock puts this right")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
