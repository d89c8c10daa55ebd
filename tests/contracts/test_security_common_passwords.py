"""The CommonPasswords port."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ubr.adapters.security.common_passwords import MAX_LINES, common_and_listed, is_common
from ubr.application.ports.accounts import CommonPasswords

COMMON: CommonPasswords = is_common


@pytest.mark.parametrize("password", ["password", "1234567890", "qwertyuiop", "1qaz2wsx3edc4rfv", "12345678987654321"])
def test_what_everybody_tries_first_is_common(password: str) -> None:
    assert COMMON(password)


@pytest.mark.parametrize(
    "password",
    ["", "PASSWORD", "password ", "correct horse battery staple", "a long enough password", "\0", "x" * 1024],
)
def test_a_password_on_no_list_is_not_common(password: str) -> None:
    assert not COMMON(password)


def test_nothing_is_loaded_before_the_first_question() -> None:
    program = (
        "import sys, ubr.bootstrap.security\n"
        "from ubr.adapters.security.common_passwords import is_common\n"
        "print('zxcvbn' in sys.modules)\n"
        "is_common('')\n"
        "print('zxcvbn' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == ["False", "True"]


# An operator's own list


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "passwords.txt"


def listed(path: Path, content: str | bytes) -> CommonPasswords:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return common_and_listed(str(path))


def test_what_is_in_the_file_is_common_and_so_is_the_list_that_comes_along(path: Path) -> None:
    common = listed(path, "Widgets Of Example\r\n\n   \n# not a comment\n  spaces stay  \npa\u0301SS\nlast")
    for password in ("widgets of example", "# not a comment", "  spaces stay  ", "p\u00e1ss", "last", "password"):
        assert common(password)
    for password in ("", " ", "   ", "spaces stay", "not a comment", "widgets of example\r", "correct horse"):
        assert not common(password)


def test_a_mark_at_the_beginning_is_no_part_of_a_password(path: Path) -> None:
    assert listed(path, "\ufefffirst of all\nsecond")("first of all")


def test_a_file_that_changes_is_read_again(path: Path) -> None:
    assert listed(path, "one of them")("one of them")
    assert not listed(path, "another of them")("one of them")


def test_an_empty_file_lists_nothing(path: Path) -> None:
    assert not listed(path, "")("anything else")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"good\n\xff\xfe\n", "UTF-8 in line 2"),
        (b"good\n" + b"x" * 5000, "longer than any password in line 2"),
        (b"\n" * (MAX_LINES + 1), "more than 1000000 lines"),
    ],
    ids=["not UTF-8", "one line", "too many lines"],
)
def test_a_file_that_is_not_a_list_is_refused(path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        listed(path, content)


def test_a_path_without_a_readable_file_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        common_and_listed(str(path))
    with pytest.raises(ValueError, match="is not a file"):
        common_and_listed(str(tmp_path))
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is not a file"):
        common_and_listed(str(path))


@pytest.mark.long
def test_a_million_passwords_take_little_memory(path: Path) -> None:
    path.write_text("".join(f"number {at} of a list of passwords\n" for at in range(MAX_LINES)), "utf-8")
    program = (
        "import resource, sys\n"
        "from ubr.adapters.security.common_passwords import common_and_listed\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "common = common_and_listed(sys.argv[1])\n"
        "assert common('number 999999 of a list of passwords')\n"
        "assert not common('number 1000000 of a list of passwords')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)  # noqa: S603
    kibibytes = int(done.stdout) // (1024 if sys.platform == "darwin" else 1)
    assert kibibytes < 120_000  # at the height of it, with the list that comes along
