import json
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.notes import NotGenuine, checkpoint, opened

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[3] / "vectors" / "notes.json").read_text("utf-8"))
PETER: str = VECTORS["keys"][0]["vkey"]
SEED = bytes.fromhex(VECTORS["keys"][0]["seed"])
NOTE: dict[str, Any] = next(vector for vector in VECTORS["notes"] if vector["name"] == "one signature")
EMPTY = b64encode(sha256().digest()).decode()


def each(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["name"]) for vector in VECTORS[kind]])


def signature(text: str, vkey: str = PETER, seed: bytes = SEED) -> str:
    """A line of a signature. The seeds of the public examples are public as well."""
    name, key_id, _ = vkey.split("+", 2)
    raw = bytes.fromhex(key_id) + Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    return f"\N{EM DASH} {name} {b64encode(raw).decode()}\n"


def signed(text: str) -> str:
    return f"{text}\n{signature(text)}"


def test_signing_makes_the_published_signatures() -> None:
    note = next(vector for vector in VECTORS["notes"] if vector["name"] == "two signatures")
    lines = [signature(note["text"], key["vkey"], bytes.fromhex(key["seed"])) for key in VECTORS["keys"]]
    assert f"{note['text']}\n{''.join(lines)}" == note["note"]


@each("notes")
def test_a_note_is_opened_with_each_of_its_keys_and_no_other(vector: dict[str, Any]) -> None:
    for vkey in vector["vkeys"]:
        assert opened(vector["note"], vkey) == vector["text"]
        assert opened(vector["note"].encode(), vkey) == vector["text"]
    for vkey in vector["strangers"]:
        with pytest.raises(NotGenuine):
            opened(vector["note"], vkey)


@each("bad_notes")
def test_a_note_of_another_key_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(NotGenuine):
        opened(vector["note"], vector["vkey"])


@each("bad_vkeys")
def test_a_key_that_is_not_ed25519_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(NotGenuine):
        opened(NOTE["note"], vector["vkey"])


def test_no_part_of_a_key_and_no_key_that_was_changed_opens_a_note() -> None:
    note = NOTE["note"]
    parts = {PETER[start:end] for start in range(len(PETER)) for end in range(start + 1, len(PETER) + 1)} - {PETER}
    changed = {PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :] for at in range(len(PETER))}
    for vkey in {"", PETER + "\n", PETER.upper(), *parts, *changed}:
        with pytest.raises(NotGenuine):
            opened(note, vkey)


def test_no_bit_of_a_note_can_be_turned() -> None:
    note: bytes = NOTE["note"].encode()
    for bit in range(8 * len(note)):
        damaged = bytearray(note)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NotGenuine):
            opened(bytes(damaged), PETER)


def test_no_byte_of_a_note_can_be_left_out_or_said_twice() -> None:
    note: bytes = NOTE["note"].encode()
    for at in range(len(note)):
        for damaged in (note[:at] + note[at + 1 :], note[: at + 1] + note[at:]):
            with pytest.raises(NotGenuine):
                opened(damaged, PETER)


def test_a_wrong_signature_of_the_key_spoils_a_right_one() -> None:
    text = NOTE["text"]
    with pytest.raises(NotGenuine):
        opened(signed(text) + signature("another text\n"), PETER)


def test_a_text_may_have_empty_lines_and_any_letters() -> None:
    for text in ("one\n\ntwo\n", "one\n\n\n", "\n", "\n\n", "é €\n", f"signed before\n\n{signature('x')}"):
        assert opened(signed(text), PETER) == text


def test_a_note_has_to_be_utf_8_without_control_characters() -> None:
    text, line = NOTE["text"], signature(NOTE["text"])
    with pytest.raises(NotGenuine):
        opened(b"\xff" + f"{text}\n{line}".encode(), PETER)
    with pytest.raises(NotGenuine):
        opened(f"\ud800{text}\n{line}", PETER)
    for character in map(chr, {*range(0x20)} - {0x0A}):
        with pytest.raises(NotGenuine):
            opened(signed(f"one{character}\n"), PETER)
    with pytest.raises(NotGenuine):
        opened(signed("one\n").replace("\n", "\r\n"), PETER)


@pytest.mark.parametrize(
    "line",
    [
        "\n",
        "-- name AAAAAAA=\n",
        "- name AAAAAAA=\n",
        "\N{EM DASH}  AAAAAAA=\n",
        "\N{EM DASH} AAAAAAA=\n",
        "\N{EM DASH} na+me AAAAAAA=\n",
        "\N{EM DASH} na\N{NO-BREAK SPACE}me AAAAAAA=\n",
        "\N{EM DASH} name  AAAAAAA=\n",
        "\N{EM DASH} name AAAAAAA= \n",
        " \N{EM DASH} name AAAAAAA=\n",
        "\N{EM DASH} name AAAAAAA\n",
        "\N{EM DASH} name AAAAAAB=\n",
        "\N{EM DASH} name AAAA_-A=\n",
        "\N{EM DASH} name AAAAAA==\n",
        "\N{EM DASH} name é\n",
    ],
)
def test_a_stranger_has_to_keep_the_form_of_a_signature(line: str) -> None:
    right = signed("text\n")
    assert opened(right + "\N{EM DASH} name AAAAAAA=\n", PETER) == "text\n"
    with pytest.raises(NotGenuine):
        opened(right + line, PETER)


def test_the_base64_of_a_signature_has_one_text() -> None:
    right = signed("text\n")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = right[-3]
    neighbour = letters[letters.index(last) + 1]
    assert b64decode(f"AA{last}=") == b64decode(f"AA{neighbour}=")
    with pytest.raises(NotGenuine):
        opened(f"{right[:-3]}{neighbour}=\n", PETER)


def test_a_note_may_have_many_signatures_but_not_any_number() -> None:
    right = signed("text\n")
    assert opened(right + "\N{EM DASH} name AAAAAAA=\n" * 99, PETER) == "text\n"
    for more in ("\N{EM DASH} name AAAAAAA=\n", signature("text\n")):
        with pytest.raises(NotGenuine):
            opened(right + more * 100, PETER)


@each("checkpoints")
def test_a_checkpoint_is_read(vector: dict[str, Any]) -> None:
    assert checkpoint(signed(vector["text"]), PETER) == (vector["origin"], vector["size"], b64decode(vector["root"]))


def test_the_published_checkpoint_of_a_log_is_read() -> None:
    note = next(vector for vector in VECTORS["notes"] if vector["name"] == "a checkpoint")
    read = next(vector for vector in VECTORS["checkpoints"] if vector["text"] == note["text"])
    assert checkpoint(note["note"], note["vkeys"][0]) == (read["origin"], read["size"], b64decode(read["root"]))


@each("bad_checkpoints")
def test_a_signed_note_that_is_not_a_checkpoint_is_refused(vector: dict[str, Any]) -> None:
    assert opened(signed(vector["text"]), PETER) == vector["text"]
    with pytest.raises(NotGenuine):
        checkpoint(signed(vector["text"]), PETER)


@pytest.mark.parametrize(
    "size", ["", " 1", "1 ", "+1", "01", "00", "1.0", "1_000", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 20]
)
def test_a_size_is_written_in_one_way(size: str) -> None:
    with pytest.raises(NotGenuine):
        checkpoint(signed(f"origin\n{size}\n{EMPTY}\n"), PETER)


def test_only_the_empty_tree_has_no_leaves() -> None:
    other = VECTORS["checkpoints"][0]["root"]
    assert checkpoint(signed(f"origin\n0\n{EMPTY}\n"), PETER) == ("origin", 0, sha256().digest())
    with pytest.raises(NotGenuine):
        checkpoint(signed(f"origin\n0\n{other}\n"), PETER)


@pytest.mark.parametrize("root", [EMPTY[:-1], EMPTY[:-2] + "V=", EMPTY + "=", EMPTY[:40], EMPTY + " ", ""])
def test_a_root_is_the_base64_of_32_bytes(root: str) -> None:
    assert checkpoint(signed(f"origin\n1\n{EMPTY}\n"), PETER) == ("origin", 1, sha256().digest())
    with pytest.raises(NotGenuine):
        checkpoint(signed(f"origin\n1\n{root}\n"), PETER)


def test_more_lines_of_a_checkpoint_are_not_empty() -> None:
    assert checkpoint(signed(f"origin\n1\n{EMPTY}\nmore\n"), PETER)[1] == 1
    for more in ("\n", "more\n\n", "\nmore\n"):
        with pytest.raises(NotGenuine):
            checkpoint(signed(f"origin\n1\n{EMPTY}\n{more}"), PETER)


def test_a_checkpoint_is_read_only_where_it_is_signed() -> None:
    right = signed(VECTORS["checkpoints"][0]["text"])
    with pytest.raises(NotGenuine):
        checkpoint(right.replace("20852163", "20852164"), PETER)
    with pytest.raises(NotGenuine):
        checkpoint(right, VECTORS["keys"][1]["vkey"])
