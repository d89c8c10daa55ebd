"""The text of a key: recognised by its form and its checksum alone."""

import re
from uuid import UUID

import pytest

from ubr.domain.ids import MachineKeyId
from ubr.domain.machines.key_text import SECRET_BYTES, key_id_of, key_text, keys_in

ID = MachineKeyId(UUID("01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"))
TEXT = key_text(ID, bytes(range(32)))
FORM = re.compile(r"ubr_sk_[0-9A-Za-z]{71}")


@pytest.mark.parametrize("id", [UUID(int=0), ID, UUID(int=2**128 - 1)])
@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(range(32))])
def test_a_key_names_its_id_whatever_its_secret(id: UUID, secret: bytes) -> None:
    text = key_text(MachineKeyId(id), secret)
    assert FORM.fullmatch(text)
    assert key_id_of(text) == id


def test_the_secret_of_a_key_has_256_bits_and_another_one_makes_another_text() -> None:
    assert SECRET_BYTES * 8 == 256
    assert len({key_text(ID, number.to_bytes(32)) for number in range(500)}) == 500


def test_no_other_character_anywhere_leaves_a_key() -> None:
    for at in range(len(TEXT)):
        other = "b" if TEXT[at] == "a" else "a"
        assert key_id_of(TEXT[:at] + other + TEXT[at + 1 :]) is None, at


@pytest.mark.parametrize(
    "text", ["", "ubr_sk_", TEXT[:-1], TEXT + "0", f" {TEXT}", f"{TEXT}\n", TEXT.lower(), "ü" * 78]
)
def test_a_text_of_another_form_is_no_key(text: str) -> None:
    assert key_id_of(text) is None


def test_keys_are_found_in_a_text_and_nothing_else_is() -> None:
    noise = "ubr_sk_" + "0123456789abcXYZ" * 4 + "0123456"
    assert keys_in(f"curl -d 'client_secret={TEXT}&scope=a' {noise} ubr_rt_{'A' * 43} key:{TEXT}.") == [TEXT, TEXT]
