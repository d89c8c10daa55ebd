"""Looks through the project's files for what must not be there: package indexes, paths of one machine, private keys."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FORBIDDEN = {
    "a package index": re.compile(
        r"""
          (files[.]|//)pythonhosted[.]org
        | //(test[.])?pypi[.]org/simple
        | //registry[.](npmjs[.]org|yarnpkg[.]com)
        | //[^/\s]*(artifactory|nexus|devpi|pkg[.]dev|codeartifact)[^/\s]*/
        | (file|https?)://\S+/simple/?(?=["'\s]|$)
        """,
        re.VERBOSE | re.IGNORECASE,
    ),
    "a path of one machine": re.compile(
        r"""
        (?<![\w.$}/-])                                # the start of a path, not the middle of one or of a URL
        (/(home|Users|work|workspaces?)/\w | /root\b | [A-Z]:\\Users\\)
        """,
        re.VERBOSE,
    ),
    "a private key": re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----"),
}
FORBIDDEN_IN_LOCKS = FORBIDDEN | {"an address in a lock file": re.compile(r"://|--(extra-)?index-url|--find-links")}

# What .gitignore leaves out, for a copy of the project that came without git.
NOT_OURS = re.compile(r"(^|/)([.](git|venv[\w-]*|\w+_cache|hypothesis)|__pycache__|build|dist|node_modules)/")

# Files of others, word for word: a test compares their sums.
VENDORED = Path("src/ubr/entrypoints/http/assets")
OF_OTHERS = "swagger-ui"


def project_files() -> Iterator[Path]:
    """Every file that is committed or could be, but this one, which has to name what it looks for."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]
        names = [name for name in names if not NOT_OURS.search(name)]
    else:
        names = [name for name in listing.split("\0") if name]
    for name in sorted(names):
        path = ROOT / name
        # A file that is deleted but not yet committed as such is still listed.
        if path.is_file() and path != Path(__file__).resolve():
            yield path


def findings(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    name = path.relative_to(ROOT)
    if name.parent == VENDORED and name.name.startswith(OF_OTHERS):
        return
    patterns = (
        FORBIDDEN_IN_LOCKS if name.name.startswith("requirements") or name.parts[0] == "requirements" else FORBIDDEN
    )
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in patterns.items():
            if pattern.search(line):
                yield f"{name}:{number}: {what}: {line.strip()[:100]}"


def main() -> int:
    found = [finding for path in project_files() for finding in findings(path)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
