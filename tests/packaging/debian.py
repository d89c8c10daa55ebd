"""A bare Debian in a folder, made by debootstrap, and the systemd in it. Both need root."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.commands import PATIENCE
from tests.support.servers import apt_install

PACKAGES = "python3-venv,ca-certificates"
"""The packages that the page about the installation names, and the certificates of the package index."""
HOST_FILES = ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt", "etc/pip.conf")
"""Files that this machine needs to reach its package index."""
VARIABLES = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

# The parts of a container that systemd expects, with a network of its own. Shared mounts, because systemd passes
# credentials to its services by mounting them. The kernel's settings are those of this machine, so they are read-only.
_BOOT = """
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in run dev tmp; do mount -t tmpfs -o mode=755 tmpfs $folder; done
chmod 1777 tmp
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
hostname ubr-test
pivot_root . mnt
umount -l mnt
mount --make-rshared /
ip link set lo up
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=console \\
    --show-status=no systemd.unified_cgroup_hierarchy=1
"""


def ran(*command: str | Path) -> str:
    """The output of a command. Errors: `AssertionError` with the output if the command fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout[-8000:]}"
    return done.stdout


def shell(root: Path, folder: str, text: str, **settings: str) -> list[str | Path]:
    """The command that runs a text in the system, in a folder, with these settings only and a /proc of its own."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and name != "PIP_FIND_LINKS"}
    assigned = (f"{name}={value}" for name, value in {**VARIABLES, **kept, **settings}.items())
    inside: tuple[str | Path, ...] = ("/usr/sbin/chroot", root, "/usr/bin/env", "-i", f"--chdir={folder}", *assigned)
    apart = ("unshare", "--mount", "--pid", "--fork", f"--mount-proc={root}/proc")
    return [*apart, *inside, "/bin/bash", "-euo", "pipefail", "-c", text]


def debian(root: Path, released: Path) -> Path:
    """Make a bare Debian of the suite of this machine in a new folder, with a release in its folder `srv/release`."""
    if shutil.which("debootstrap", path="/usr/sbin:/usr/bin") is None:
        assert os.environ.get("UBR_TEST_INSTALL") == "1", "debootstrap is not installed"
        assert apt_install("debootstrap") is None
    suite = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    ran("/usr/sbin/debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite["VERSION_CODENAME"], root)
    for name in HOST_FILES:
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), root / name)
    shutil.copytree(released, root / "srv" / "release")
    return root


def install(root: Path, *packages: str) -> None:
    """Install packages of Debian, without starting their services."""
    policy = root / "usr" / "sbin" / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    text = f"apt-get update -q && apt-get install --yes -q --no-install-recommends {' '.join(packages)}"
    ran(*shell(root, "/", text, DEBIAN_FRONTEND="noninteractive"))
    policy.unlink()


class Machine:
    """A system whose systemd runs."""

    def __init__(self, pid: int) -> None:
        self._enter = ("nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w")

    def run(self, folder: str, text: str) -> str:
        """The output of a text in a shell that stops at the first error."""
        assigned = (f"{name}={value}" for name, value in VARIABLES.items())
        inside = ("/usr/bin/env", "-i", f"--chdir={folder}", *assigned, "HOME=/", "/bin/bash", "-euo", "pipefail", "-c")
        return ran(*self._enter, *inside, text)


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    """Start the systemd of a system in namespaces, and end all of its processes afterwards."""
    (mounted,) = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line][:1]
    own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    group = Path(f"{mounted}{own}") / f"ubr-test-{os.getpid()}"
    group.mkdir()
    (root / "etc" / "machine-id").write_text("")
    apart = "--mount --pid --uts --ipc --net --cgroup --fork --kill-child --propagation private"
    launch = f'set -e; echo $$ > "{group}/cgroup.procs"; exec unshare {apart} /bin/sh -ec "$BOOT" boot "$1"'
    with (root.parent / "console").open("w+") as console:
        service = subprocess.Popen(
            ["/bin/sh", "-c", launch, "launch", root],
            env={"PATH": VARIABLES["PATH"], "BOOT": _BOOT},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
        try:
            yield Machine(_first_process(service, root.parent / "console"))
        finally:
            service.kill()
            service.wait(PATIENCE)
            _remove(group)


def _first_process(service: subprocess.Popen[bytes], console: Path) -> int:
    """The process of systemd, once its system runs."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children")
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline and service.poll() is None:
        found = children.read_text().split()
        if found and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n":
            asked = ("systemctl", "is-system-running")
            enter = ("nsenter", "-t", found[0], "-m", "-p", "-r", "-w")
            if subprocess.run([*enter, *asked], capture_output=True, check=False).stdout == b"running\n":
                return int(found[0])
        time.sleep(0.2)
    raise AssertionError(f"systemd does not start:\n{console.read_text()[-8000:]}")


def _remove(group: Path) -> None:
    """Remove a control group and its children once their processes are gone."""
    deadline = time.monotonic() + PATIENCE
    for child in [*sorted(group.rglob("*/"), reverse=True), group]:
        while child.is_dir():
            try:
                child.rmdir()
            except OSError:
                assert time.monotonic() < deadline, f"{child} has processes left"
                time.sleep(0.1)
