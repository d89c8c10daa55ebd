"""The GuessablePasswords port."""

from __future__ import annotations

import pytest
import zxcvbn
from hypothesis import given
from hypothesis import strategies as st

from ubr.adapters.security import password_strength
from ubr.adapters.security.password_strength import MAX_SYMBOLS, PART, is_guessable
from ubr.application.ports.accounts import GuessablePasswords
from ubr.domain.accounts.passwords import MAX_PASSWORD_LENGTH

GUESSABLE: GuessablePasswords = is_guessable


@pytest.mark.parametrize(
    "password",
    [
        "password12345678",
        "Password!2345678",
        "P@ssw0rd12345678",
        "p@$$w0rd12345678",
        "liverpool123456",
        "iloveyou12345678",
        "qwertyuiopasdfghjkl",
        "12345678qwertyui",
        "abcdefghijklmno",
        "password20242025",
        "12345678901234567890",
        "x1",
        "",
    ],
)
def test_a_common_word_or_pattern_with_little_added_is_guessable(password: str) -> None:
    assert GUESSABLE(password)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "a long enough password",
        "my password is long",
        "another password!",
        "kx7-w2mq-9zp4-hh3",
        "пароль из многих букв",
        "§ «$%&/()=?» ¡u!",
        "1234567890" * 4 + "a long enough password",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" + "kx7w2mq9zp4hh3",
    ],
)
def test_words_that_do_not_belong_together_are_not_guessable(password: str) -> None:
    assert not GUESSABLE(password)


@given(password=st.text(st.characters(exclude_categories=["Cs"]), max_size=3 * PART))
def test_every_text_gets_an_answer(password: str) -> None:
    assert GUESSABLE(password) in {True, False}


@pytest.mark.parametrize("password", ["@({[<!|$+%" * 100, "12345" * 205, "\U0001f600" * MAX_PASSWORD_LENGTH])
def test_the_work_for_a_long_password_is_bounded(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate, parts = zxcvbn.zxcvbn, list[str]()

    def counted(part: str) -> object:
        parts.append(part)
        return estimate(part)

    monkeypatch.setattr(zxcvbn, "zxcvbn", counted)
    password_strength.is_guessable(password)
    assert len(parts) <= 10
    assert all(len(part) <= PART for part in parts)
    assert all(len(set("@({[<!|$+%") & set(part)) <= MAX_SYMBOLS for part in parts)
