"""The CommonPasswords port."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ubr.adapters.security.common_passwords import is_common
from ubr.application.ports.security import CommonPasswords

COMMON: CommonPasswords = is_common


@pytest.mark.parametrize("password", ["password", "1234567890", "qwertyuiop", "1qaz2wsx3edc4rfv", "12345678987654321"])
def test_what_everybody_tries_first_is_common(password: str) -> None:
    assert COMMON(password)


@pytest.mark.parametrize(
    "password",
    ["", "PASSWORD", "password ", "correct horse battery staple", "a long enough password", "\0", "x" * 1024],
)
def test_what_stands_on_no_list_is_not(password: str) -> None:
    assert not COMMON(password)


def test_nothing_is_loaded_before_the_first_question() -> None:
    program = (
        "import sys, ubr.bootstrap.core\n"
        "from ubr.adapters.security.common_passwords import is_common\n"
        "print('zxcvbn' in sys.modules)\n"
        "is_common('')\n"
        "print('zxcvbn' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == ["False", "True"]
