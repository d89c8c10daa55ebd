"""Makes the files of a release in `dist/`, and proves them: `make release-check`.

It builds ubr and ubr-verifier twice, in unequal surroundings, and compares the bytes. Then it installs ubr from these
files alone, starts it there, and logs in. In a second environment, with ubr-verifier alone, it verifies that login's
token. It needs a clean checkout with its tags, and a package index for the dependencies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

ROOT: Final = Path(__file__).resolve().parent.parent
NOTES: Final = "RELEASE-NOTES.md"
SUMS: Final = "SHA256SUMS"
SETTINGS: Final = ("UBR_", "PYTHON", "PIP_REQUIRE", "SETUPTOOLS_SCM", "HATCH")
"""Prefixes of environment variables that must not reach a build or an installation."""
_PATIENCE: Final = 120.0
"""Seconds for the start of the service, many times its duration on a busy machine."""

# Runs in the environment of requirements/release.txt.
_VALIDATE: Final = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1], encoding="utf-8").read())
sys.exit(None if error is None else f"{sys.argv[1]} does not match the schema of CycloneDX 1.6: {error}")
"""


# Runs in the environment of ubr-verifier. The first administrator has every permission, as for reading the feed.
_VERIFY: Final = """
import asyncio, sys
from ubr_verifier import Credentials, Verifier
url, email, password, token = sys.argv[1:]
async def main():
    async with Verifier(url, Credentials(email, password), issuer=url) as verifier:
        print((await verifier.verify(token)).user_id)
asyncio.run(main())
"""


@dataclass(frozen=True)
class Product:
    """A package of a release."""

    name: str
    folder: str
    """The folder of its `pyproject.toml`."""
    kind: str
    """Its kind in the SBOM."""
    requirements: str
    """The file with its dependencies and hashes."""
    lock: str


UBR: Final = Product("ubr", ".", "application", "requirements.txt", "run.txt")
VERIFIER: Final = Product("ubr-verifier", "packages/verifier", "library", "requirements-verifier.txt", "verifier.txt")


class Failed(Exception):
    """A release cannot be made. The message is a sentence."""


@dataclass(frozen=True)
class Surroundings:
    """Properties of a build that must not show in its result."""

    folder: str
    umask: int
    modified: int
    """The time of all source files, in Unix seconds."""
    variables: dict[str, str]


_FIRST: Final = Surroundings("first", 0o022, 1_000_000_000, {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"})
_SECOND: Final = Surroundings(
    "a second folder",
    0o077,
    1_700_000_000,
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "HOME": "/nonexistent"},
)


def run(*command: str | Path, cwd: Path = ROOT, umask: int = -1, **variables: str) -> str:
    """The output of a command. Errors: `Failed` with its output."""
    done = subprocess.run(  # noqa: S603 - commands of this file
        command,
        cwd=cwd,
        env={**inherited(), **variables},
        umask=umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise Failed(f"{words[:200]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def inherited() -> dict[str, str]:
    """The environment without settings of ubr, of Python and of the build."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}  # noqa: TID251


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pip(python: Path, *arguments: str | Path, cwd: Path) -> str:
    """Run pip for another environment, which then does not contain it."""
    options = ("--disable-pip-version-check", "--no-input", "--quiet")
    return run(sys.executable, "-m", "pip", "--python", python, *arguments, *options, cwd=cwd)


# Building


def commit() -> tuple[str, str]:
    """The checked-out commit, and its time in Unix seconds. Errors: `Failed` if there are uncommitted changes."""
    if run("git", "status", "--porcelain"):
        raise Failed("The checkout has uncommitted changes: a release is made from a commit.")
    name, when = run("git", "log", "-1", "--format=%H %ct").split()
    return name, when


def tag() -> str | None:
    """The tag of a version at the checked-out commit."""
    found = run("git", "tag", "--points-at", "HEAD", "--list", "v[0-9]*").split()
    if len(found) > 1:
        raise Failed(f"The commit has several tags of versions: {', '.join(found)}.")
    return found[0] if found else None


def built(where: Path, name: str, epoch: str, surroundings: Surroundings) -> tuple[list[Path], list[Path]]:
    """The sdist and the wheels of a fresh clone in these surroundings, and the wheels made from that sdist."""
    top = where / surroundings.folder
    source, unpacked, result = top / "source", top / "unpacked", top / "result"
    top.mkdir(parents=True)
    run("git", "clone", "--quiet", "--no-checkout", "--shared", ROOT, source)
    run("git", "checkout", "--quiet", "--detach", name, cwd=source, umask=surroundings.umask)
    for path in source.rglob("*"):
        if ".git" not in path.parts:
            os.utime(path, (surroundings.modified, surroundings.modified), follow_symlinks=False)

    def build(target: str, of: Path, into: Path, product: Product = UBR) -> Path:
        into.mkdir(exist_ok=True, parents=True)
        hatchling = (sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", into)
        cwd = of / product.folder
        run(*hatchling, cwd=cwd, umask=surroundings.umask, SOURCE_DATE_EPOCH=epoch, **surroundings.variables)
        stem = product.name.replace("-", "_")
        (file,) = into.glob(f"{stem}-*.tar.gz" if target == "sdist" else f"{stem}-*.whl")
        return file

    sdist = build("sdist", source, result)
    shutil.unpack_archive(sdist, unpacked, filter="data")
    (inside,) = unpacked.iterdir()
    from_clone, from_sdist = (
        [build("wheel", of, into, product) for product in (UBR, VERIFIER)]
        for of, into in ((source, result), (inside, top / "from the sdist"))
    )
    return [sdist, *from_clone], from_sdist


def build_twice(where: Path, dist: Path, name: str, epoch: str) -> tuple[Path, Path]:
    """The wheels of ubr and of the verifier in `dist`, beside the sdist. Errors: `Failed` if two builds differ."""
    say("building twice, in unequal surroundings")
    first, from_sdist = built(where, name, epoch, _FIRST)
    second, from_second = built(where, name, epoch, _SECOND)
    others = (*zip(first, second, strict=True), *zip(from_sdist, from_second, strict=True))
    for one, other in (*others, *zip(first[1:], from_sdist, strict=True)):
        if one.name != other.name or one.read_bytes() != other.read_bytes():
            raise Failed(f"Two builds differ:\n{sha256(one)}  {one}\n{sha256(other)}  {other}")
    _, wheel, verifier = (Path(shutil.copyfile(path, dist / path.name)) for path in first)
    if version_of(wheel) != version_of(verifier):
        raise Failed(f"{wheel.name} and {verifier.name} have different versions.")
    return wheel, verifier


def version_of(wheel: Path) -> str:
    with ZipFile(wheel) as packed:
        (about,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        return str(message_from_bytes(packed.read(about))["Version"])


# Papers


def notes(version: str, tagged: str | None) -> str:
    """The section of the changelog for this version; without a tag, the section that the fragments would become.

    Errors: `Failed` if the tag does not fit the version, fragments are left, or the changelog has no such section.
    """
    if tagged is None:
        towncrier = Path(sys.executable).with_name("towncrier")
        return run(towncrier, "build", "--draft", "--version", version, "--date", "").strip() + "\n"
    if tagged != f"v{version}":
        raise Failed(f"The tag {tagged} does not fit the version {version}.")
    left = [path.name for path in sorted((ROOT / "changelog.d").glob("*.md")) if path.name != "README.md"]
    if left:
        raise Failed(f"Fragments of the changelog are left, such as {left[0]}: run towncrier before the tag.")
    return section((ROOT / "CHANGELOG.md").read_text("utf-8"), version)


def section(changelog: str, version: str) -> str:
    """The section of a version, with its heading. Errors: `Failed` if it is missing or empty."""
    found = re.search(rf"^## {re.escape(version)}(?: - [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise Failed(f"CHANGELOG.md has no section for {version}.")
    return found[0].strip() + "\n"


def requirements(version: str, wheel: Path, product: Product = UBR) -> str:
    """The locked dependencies, and the wheel with its hash."""
    lock = (ROOT / "requirements" / product.lock).read_text("utf-8")
    packages = "\n".join(line for line in lock.splitlines() if not line.startswith("#"))
    named = f"{product.name} {version} and its dependencies"
    head = f"# {named}. Install them with --require-hashes --no-deps --find-links FOLDER."
    return f"{head}\n{product.name}=={version} \\\n    --hash=sha256:{sha256(wheel)}\n{packages}\n"


# Installing


def install(where: Path, dist: Path, product: Product) -> tuple[Path, dict[str, str]]:
    """The Python of a new environment with a product from `dist`, and the SHA-256 of each installed file by package.

    Errors: `Failed` if an installed version is not the locked one.
    """
    say(f"installing {product.name} from these files, in an empty environment")
    environment, report = where / f"environment of {product.name}", where / f"{product.name}.json"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    locked = ("--require-hashes", "--no-deps", "--find-links", dist, "-r", dist / product.requirements)
    pip(python, "install", "--report", report, *locked, cwd=where)
    pip(python, "check", cwd=where)
    found = json.loads(report.read_text("utf-8"))["install"]
    return python, {
        canonical(each["metadata"]["name"]): each["download_info"]["archive_info"]["hashes"]["sha256"] for each in found
    }


def canonical(name: str) -> str:
    """The normal form of a package name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bill(tools: Path, python: Path, hashes: dict[str, str], epoch: str, into: Path, *, product: Product) -> None:
    """Write the SBOM of an environment, as CycloneDX 1.6 in JSON: each package with the SHA-256 of its installed file.

    Errors: `Failed` if a package has no hash, or the schema is violated.
    """
    say(f"listing the installed packages of {product.name}")
    options = ("--output-reproducible", "--output-format", "JSON", "--spec-version", "1.6")
    said = run(tools / "cyclonedx-py", "environment", *options, python)
    content: dict[str, Any] = json.loads(said)
    for component in content["components"]:
        name = canonical(component["name"])
        if name not in hashes:
            raise Failed(f"The environment contains {name}, which is not in {product.requirements}.")
        component["hashes"] = [{"alg": "SHA-256", "content": hashes[name]}]
    (subject,) = (each for each in content["components"] if canonical(each["name"]) == product.name)
    content["components"].remove(subject)
    content["metadata"]["component"] = {**subject, "type": product.kind}
    content["metadata"]["timestamp"] = f"{datetime.fromtimestamp(int(epoch), UTC):%Y-%m-%dT%H:%M:%SZ}"
    # Two runs that list the same content name the same document.
    identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    content["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, identity)}"
    into.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")
    run(tools / "python", "-c", _VALIDATE, into)


@contextmanager
def serving(python: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """`ubr serve` in a new folder: its address, and its printed lines. Errors: `Failed` if it does not start."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (folder / "out").open("w+") as out:
        service = subprocess.Popen(  # noqa: S603 - as above
            [python.with_name("ubr"), "serve"],
            cwd=folder,
            env={**inherited(), "UBR_PORT": str(port), "UBR_LOG_FORMAT": "text"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + _PATIENCE
            while "/api/docs" not in (said := (folder / "out").read_text("utf-8")):
                if service.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"ubr serve does not start:\n{said}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}", said.splitlines()
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(timeout=_PATIENCE)
    if service.returncode != 0:
        raise Failed(f"ubr serve ended with {service.returncode}:\n{(folder / 'out').read_text('utf-8')}")


def first_login(python: Path, verifier: Path, version: str, where: Path) -> None:
    """Start the installed service, log in as the administrator that it prints, and verify that token elsewhere.

    Errors: `Failed`.
    """
    say("starting it, logging in for the first time, and verifying the token")
    said = run(python.with_name("ubr"), "--version", cwd=where).strip()
    if said != f"ubr {version}":
        raise Failed(f"The installed version is {said}, not {version}.")
    with serving(python, where / "service") as (url, lines):
        words = [line.split() for line in lines]
        printed = {line[0]: line[1] for line in words if len(line) == 2}  # noqa: PLR2004 - a name and its value
        email, password = printed["e-mail"], printed["password"]
        body = json.dumps({"email": email, "password": password}).encode()
        login = urllib.request.Request(  # noqa: S310 - an address on this machine
            f"{url}/api/auth/login", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(login, timeout=_PATIENCE) as answer:  # noqa: S310 - as above
            tokens = json.load(answer)
        if "admin" not in tokens["user"]["roles"]:
            raise Failed("The first account is not an administrator.")
        user = run(verifier, "-c", _VERIFY, url, email, password, tokens["access_token"], cwd=where).strip()
        if user != tokens["user"]["id"]:
            raise Failed(f"The verifier found the user {user}, not {tokens['user']['id']}.")


# All of it


def make(dist: Path, tools: Path) -> None:
    """Fill the folder `dist`, which is emptied first. Errors: `Failed`."""
    name, epoch = commit()
    tagged = tag()
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="ubr-release-") as folder:
        where = Path(folder)
        wheels = build_twice(where, dist, name, epoch)
        version = version_of(wheels[0])
        (dist / NOTES).write_text(notes(version, tagged), "utf-8")
        pythons = []
        for product, wheel in zip((UBR, VERIFIER), wheels, strict=True):
            (dist / product.requirements).write_text(requirements(version, wheel, product), "utf-8")
            python, hashes = install(where, dist, product)
            bill(tools, python, hashes, epoch, dist / f"{product.name}-{version}.cdx.json", product=product)
            pythons.append(python)
        first_login(pythons[0], pythons[1], version, where)
    files = sorted(path for path in dist.iterdir() if path.name != SUMS)
    (dist / SUMS).write_text("".join(f"{sha256(path)}  {path.name}\n" for path in files), "utf-8")
    say(f"ubr {version} is in {dist}{'' if tagged else '; the commit has no tag of a version'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="the folder for the files")
    parser.add_argument("--tools", type=Path, required=True, help="the programs of requirements/release.txt")
    options = parser.parse_args()
    try:
        make(options.into.resolve(), options.tools.resolve())
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
