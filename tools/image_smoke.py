"""Builds the image and looks at it from all sides: make test-image.

With docker where its daemon runs; else, as root, with buildah, which needs no daemon and here keeps its images in a
folder of its own. buildah's image is run in namespaces: as process 1, as its user, on a root that is mounted read-only.
"""

import argparse
import gzip
import http.client
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TAG = "localhost/ubr:smoke"
BACKUP_TAG = "localhost/ubr:smoke-backup"
USER = 65532
ANY_USER = "12345:0"
"""As a platform starts the image that chooses a user for each project: no name, no folder, group 0."""
MAX_MEGABYTES = 120
STATE = "/var/lib/ubr"

Command = Sequence[str | Path]


class Failed(Exception):
    """The image, or this machine, is not what it should be."""


def run(*command: str | Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run something to its end, whatever that is."""
    options = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **changes}
    return subprocess.run(command, check=False, **options)  # noqa: S603 - commands of our own making


def told(*command: str | Path, **changes: Any) -> str:
    """What a command that has to work says."""
    done = run(*command, **changes)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(map(str, command[:6]))} … ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Engine(ABC):
    """What builds the image and runs it."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        self.work = work
        self.base_root: Path | None = options.base_root
        self.build_arguments: list[str | Path] = [*options.build]
        if options.base_image:
            self.build_upon(options.base_image)
        self.port = free_port()

    def build_upon(self, base: str) -> None:
        """Replace the base image in a copy of the Dockerfile."""
        copy = self.work / "Dockerfile"
        line = re.compile(r"^FROM \S+ AS base$", re.MULTILINE)
        text, replaced = line.subn(f"FROM {base} AS base", Path("Dockerfile").read_text())
        check("the Dockerfile has one base image", replaced == 1, replaced)
        copy.write_text(text)
        self.build_arguments += ["--file", copy]

    @abstractmethod
    def build(self) -> None: ...

    @abstractmethod
    def configuration(self) -> dict[str, Any]: ...

    @abstractmethod
    def save(self, archive: Path) -> None:
        """Write the image with all its layers, not compressed."""

    @abstractmethod
    def build_backup(self) -> None:
        """Build the target `backup`."""

    @abstractmethod
    def once(self, *command: str, backup: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of its own, of the image or of the target `backup`."""

    @abstractmethod
    def serve(self, user: str | None = None) -> None:
        """Start what the image starts, on the state that was left last; as another user on an empty state."""

    @abstractmethod
    def used(self) -> float | None:
        """The processor time that the service has taken since its start, in seconds, if it can be had."""

    @abstractmethod
    def within(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside what serves."""

    @abstractmethod
    def terminate(self) -> int:
        """Send the stop signal; what the container ended with."""

    @abstractmethod
    def output(self) -> str:
        """What it wrote while it served."""

    @abstractmethod
    def close(self) -> None: ...


class Docker(Engine):
    locked = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        super().__init__(work, options)
        self.name = f"ubr-smoke-{os.getpid()}"

    def build(self) -> None:
        told("docker", "build", "--tag", TAG, *self.build_arguments, ".")

    def configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(told("docker", "image", "inspect", "--format", "{{json .Config}}", TAG))
        return found

    def save(self, archive: Path) -> None:
        told("docker", "save", "--output", archive, TAG)

    def build_backup(self) -> None:
        told("docker", "build", "--tag", BACKUP_TAG, "--target", "backup", *self.build_arguments, ".")

    def once(self, *command: str, backup: bool = False) -> subprocess.CompletedProcess[str]:
        tag = BACKUP_TAG if backup else TAG
        return run("docker", "run", "--rm", *self.locked, "--entrypoint", command[0], tag, *command[1:])

    def serve(self, user: str | None = None) -> None:
        run("docker", "rm", "--force", self.name)
        if user is not None:
            run("docker", "volume", "rm", "--force", self.name)
        chosen = () if user is None else ("--user", user)
        told("docker", "run", "--detach", *self.locked, *chosen, "--name", self.name, "--volume",
             f"{self.name}:{STATE}", "--publish", f"127.0.0.1:{self.port}:8000", TAG)  # fmt: skip

    def used(self) -> float | None:
        return None

    def within(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run("docker", "exec", self.name, *command)

    def terminate(self) -> int:
        told("docker", "stop", "--time", "40", self.name)
        return int(told("docker", "inspect", "--format", "{{.State.ExitCode}}", self.name))

    def output(self) -> str:
        done = run("docker", "logs", self.name)
        return done.stdout + done.stderr

    def close(self) -> None:
        run("docker", "rm", "--force", self.name)
        run("docker", "volume", "rm", "--force", self.name)


class Buildah(Engine):
    # Arguments: the root, the state, the user, the working directory; then the command.
    enter = """
        set -e
        root=$1 state=$2 user=$3 folder=$4
        shift 4
        mount --bind "$root" "$root"
        mount --bind "$state" "$root/var/lib/ubr"
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount -o remount,bind,ro "$root"
        exec /usr/sbin/chroot --userspec="$user" --groups="${user#*:}" "$root" env --chdir="$folder" "$@"
    """

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        super().__init__(work, options)
        conf = work / "storage.conf"
        # This driver needs nothing of the kernel.
        conf.write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{work}/run"\ngraphroot = "{work}/images"\n')
        self.program = ("env", f"CONTAINERS_STORAGE_CONF={conf}", "BUILDAH_ISOLATION=chroot", "buildah")
        self.state = work / "state"
        self.build_options: list[str | Path] = []
        self.roots: dict[bool, str] = {}
        self.served: subprocess.Popen[bytes] | None = None
        self.log = work / "log"

    def buildah(self, *arguments: str | Path) -> str:
        return told(*self.program, *arguments)

    def build(self) -> None:
        if self.base_root is not None:
            container = self.buildah("from", "scratch")
            self.buildah("copy", "--quiet", container, self.base_root.resolve(), "/")
            self.buildah("commit", "--quiet", "--rm", container, "localhost/base")
            self.build_upon("localhost/base")
            self.build_arguments.append("--pull-never")
        # In docker's own format: the other one has no health checks.
        self.build_options = ["--format", "docker", *self.build_arguments]
        self.roots[False] = self._built(TAG)
        self.config = self.configuration()
        self.user = self.config["User"]
        self._empty_state()

    def _built(self, tag: str, *target: str) -> str:
        self.buildah("bud", "--tag", tag, *target, *self.build_options, ".")
        return self.buildah("mount", self.buildah("from", "--pull-never", tag))

    def build_backup(self) -> None:
        self.roots[True] = self._built(BACKUP_TAG, "--target", "backup")

    def save(self, archive: Path) -> None:
        self.buildah("push", "--quiet", TAG, f"docker-archive:{archive}")

    def _empty_state(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)
        # As a new volume has it: the folder of the image, with its owner.
        shutil.copytree(f"{self.roots[False]}{STATE}", self.state)
        found = Path(f"{self.roots[False]}{STATE}").stat()
        os.chown(self.state, found.st_uid, found.st_gid)

    def configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", TAG))["Docker"]["config"]
        return found

    def _entering(self, state: Path, command: Command, *, alone: bool, backup: bool = False) -> dict[str, Any]:
        # What serves is process 1 of its own world, as in a container: a signal it does not handle does nothing.
        apart = ("--mount", "--pid", "--fork", "--kill-child") if alone else ("--mount",)
        environ = dict(pair.split("=", 1) for pair in self.config["Env"])
        return {
            "args": ["unshare", *apart, "sh", "-c", self.enter, "sh", self.roots[backup], state, self.user,
                     self.config["WorkingDir"], *command],
            "env": {**environ, "UBR_PORT": str(self.port)},
        }  # fmt: skip

    def once(self, *command: str, backup: bool = False) -> subprocess.CompletedProcess[str]:
        state = self.work / "once"
        shutil.copytree(self.state, state)
        os.chown(state, USER, 0)
        try:
            entering = self._entering(state, command, alone=True, backup=backup)
            return run(*entering["args"], env=entering["env"])
        finally:
            shutil.rmtree(state)

    def serve(self, user: str | None = None) -> None:
        if user is not None:
            self.user = user
            self._empty_state()
        command = [*self.config["Entrypoint"], *self.config["Cmd"]]
        with self.log.open("ab") as log:
            self.served = subprocess.Popen(
                **self._entering(self.state, command, alone=True),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def used(self) -> float | None:
        if self.served is None:
            raise Failed("nothing is served")
        ticks, waiting = 0, [self.served.pid]
        while waiting:
            process = Path(f"/proc/{waiting.pop()}")
            # Behind the name: the state, and from the twelfth on user and system time, of itself and of its ended ones.
            ticks += sum(map(int, (process / "stat").read_text().rpartition(") ")[2].split()[11:15]))
            waiting += map(int, (process / "task" / process.name / "children").read_text().split())
        return ticks / os.sysconf("SC_CLK_TCK")

    def within(self, *command: str) -> subprocess.CompletedProcess[str]:
        entering = self._entering(self.state, command, alone=False)
        return run(*entering["args"], env=entering["env"])

    def terminate(self) -> int:
        if self.served is None:
            raise Failed("nothing is served")
        outer = self.served.pid
        (first,) = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        os.kill(int(first), signal.Signals[self.config["StopSignal"]])
        ended = self.served.wait(40)
        self.served = None
        return ended

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def close(self) -> None:
        if self.served is not None:
            self.served.kill()
            self.served.wait()


def choose(work: Path, options: argparse.Namespace) -> Engine:
    if shutil.which("docker") and run("docker", "info").returncode == 0:
        return Docker(work, options)
    if os.geteuid() == 0 and shutil.which("buildah"):
        return Buildah(work, options)
    raise Failed("no docker daemon runs here; as root, buildah will do as well (Debian: apt-get install buildah)")


# --- what has to be true ---------------------------------------------------------------------------------------------


def check(what: str, true: bool, said: object = "") -> None:
    print(f"    {'ok' if true else 'FAILED'}: {what}")
    if not true:
        raise Failed(f"{what}\n{said}")


def works(what: str, done: subprocess.CompletedProcess[str]) -> str:
    check(what, done.returncode == 0, f"{done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


SURVEY = f"""
import importlib.util, json, os, shutil, stat, sys
found = {{"uid": os.getuid(), "gids": [os.getgid(), *os.getgroups()], "owned": [], "writable": [], "privileged": []}}
elsewhere = ("/proc", "/sys", "/dev", "{STATE}")
for folder, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in elsewhere]
    for path in (folder, *(os.path.join(folder, name) for name in names)):
        at = os.lstat(path)
        if stat.S_ISLNK(at.st_mode):
            continue
        if at.st_uid == {USER} or (at.st_mode & stat.S_IWOTH and not at.st_mode & stat.S_ISVTX):
            found["owned"].append(path)
        if os.access(path, os.W_OK):
            found["writable"].append(path)
found["tools"] = [name for name in ("gcc", "cc", "g++", "clang", "make", "pip", "pip3", "git", "curl", "wget")
                  if shutil.which(name)]
found["modules"] = [name for name in ("pip", "ensurepip", "setuptools", "hatchling", "pytest")
                    if importlib.util.find_spec(name)]
found["python"] = sys.version.split()[0]
found["uncompiled"] = [
    os.path.join(folder, name) for folder, _, names in os.walk("/opt/ubr/lib") for name in names
    if name.endswith(".py") and not os.path.exists(importlib.util.cache_from_source(os.path.join(folder, name)))]
print(json.dumps(found))
"""


def look_at_configuration(config: dict[str, Any]) -> list[str]:
    """The health check's command, and that everything else is as it should be."""
    check("it starts `ubr serve`", (config["Entrypoint"], config["Cmd"]) == (["ubr"], ["serve"]), config)
    check("it stops on SIGTERM", config.get("StopSignal") == "SIGTERM", config)
    check("it has a user of its own", config["User"] == f"{USER}:{USER}", config)
    check("its state is a volume", list(config.get("Volumes") or ()) == [STATE], config)
    check("its port is known", list(config.get("ExposedPorts") or ()) == ["8000/tcp"], config)
    labels = {name.removeprefix("org.opencontainers.image.") for name in config.get("Labels") or ()}
    check("it says what it is", {"title", "licenses", "version", "revision"} <= labels, labels)
    kind, *command = config["Healthcheck"]["Test"]
    check("its health check needs no shell", kind == "CMD", config)
    return [str(word) for word in command]


def look_around(engine: Engine) -> None:
    found = json.loads(works("its Python runs", engine.once("/opt/ubr/bin/python3", "-c", SURVEY)))
    print(f"    Python {found['python']}")
    check("it is not root", (found["uid"], set(found["gids"])) == (USER, {USER}), found)
    check("it owns nothing but its state", found["owned"] == [], found["owned"][:20])
    check("it can write to nothing but its state", found["writable"] == [], found["writable"][:20])
    check("no build tools, nothing that fetches", found["tools"] == [], found["tools"])
    check("nothing that installs", found["modules"] == [], found["modules"])
    check("every module is compiled", found["uncompiled"] == [], found["uncompiled"][:20])
    below = "import os, sys; os.execv(os.path.realpath(sys.executable), ['python3', '-I', '-m', 'pip', '--version'])"
    done = engine.once("/opt/ubr/bin/python3", "-c", below)
    check("the Python below has no pip either", "No module named pip" in done.stderr, done)


def wait_until_live(engine: Engine, patience: float = 60) -> float:
    begun = time.monotonic()
    while time.monotonic() - begun < patience:
        connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return time.monotonic() - begun
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise Failed(f"it does not answer:\n{engine.output()}")


def serve(engine: Engine, health: Sequence[str]) -> None:
    check("the health check fails where nothing is served", engine.once(*health).returncode != 0)
    for when, user in (
        ("the first time", None),
        ("on the state of the first time", None),
        (f"as the user {ANY_USER} on an empty state", ANY_USER),
    ):
        engine.serve(user)
        took = wait_until_live(engine)
        used = engine.used()
        spent = "" if used is None else f" and {used:.1f} s of processor time"
        print(f"    live after {took:.1f} s{spent}, {when}")
        works("the health check passes", engine.within(*health))
        kept = works(
            "its state is kept", engine.within("sh", "-c", f"find {STATE} -type f -exec stat -c '%n %a' {{}} +")
        )
        check("there is a database", f"{STATE}/var/ubr.db " in kept, kept)
        check("nobody else can read its secret", f"{STATE}/var/secret_key 600" in kept, kept)
        begun = time.monotonic()
        check("SIGTERM ends it well", (ended := engine.terminate()) == 0, f"{ended}\n{engine.output()}")
        print(f"    ended after {time.monotonic() - begun:.1f} s")


def weigh(engine: Engine, work: Path) -> None:
    """The size as a registry stores it: every layer compressed. The base is a part of it."""
    archive = work / "image.tar"
    engine.save(archive)
    size = 0
    with tarfile.open(archive) as members:
        for member in members:
            content = members.extractfile(member) if member.isfile() else None
            if content is not None:
                packed = Counting()
                with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6) as packing:
                    shutil.copyfileobj(content, packing, 1 << 20)
                size += packed.size
    archive.unlink()
    print(f"    {size / 1e6:.1f} MB compressed")
    check(f"it has less than {MAX_MEGABYTES} MB", size < MAX_MEGABYTES * 1e6, size)


class Counting(io.RawIOBase):
    """A file that keeps only its size."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.size += len(data)
        return len(data)


def look_at_backup(engine: Engine) -> None:
    engine.build_backup()
    for program in ("pg_dump", "pg_restore"):
        print(f"    {works(f'{program} is there', engine.once(program, '--version', backup=True))}")
    works("the library for object storages", engine.once("/opt/ubr/bin/python3", "-c", "import botocore", backup=True))
    works("ubr backup", engine.once("ubr", "backup", "create", "--help", backup=True))


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the image and look at it from all sides.")
    parser.add_argument("--base-image", help="what to build upon, in place of what the Dockerfile names")
    parser.add_argument("--base-root", type=Path, help="with buildah: a root file system to build upon instead")
    parser.add_argument("build", nargs="*", help="more arguments for the build, behind --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ubr-image-", ignore_cleanup_errors=True) as work:
        try:
            engine = choose(Path(work), options)
        except Failed as failed:
            print(f"image_smoke: {failed}", file=sys.stderr)
            return 1
        try:
            print(f"==> building with {type(engine).__name__.lower()}", flush=True)
            begun = time.monotonic()
            engine.build()
            print(f"    in {time.monotonic() - begun:.0f} s")
            print("==> looking at it")
            health = look_at_configuration(engine.configuration())
            version = works("ubr --version", engine.once("ubr", "--version"))
            labelled = engine.configuration()["Labels"]["org.opencontainers.image.version"]
            check("its label says the same version", version == f"ubr {labelled}", f"{version}, {labelled}")
            works("ubr config", engine.once("ubr", "config"))
            look_around(engine)
            weigh(engine, Path(work))
            print("==> serving")
            serve(engine, health)
            print("==> the target for backups")
            look_at_backup(engine)
        except Failed as failed:
            print(f"image_smoke: {failed}", file=sys.stderr)
            return 1
        finally:
            engine.close()
    print("==> the image is good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
