"""The BackupCipher port."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ubr.adapters.security.backup_encryption import CHUNK, HEADER, TAG, ChunkedBackupCipher
from ubr.adapters.security.secrets import SecretKeys
from ubr.application.ports.backups import BackupCipher, BackupFailed

NEW, OLD, OTHER = (bytes(range(start, start + 32)) for start in (0, 50, 100))
PLACE = "backup/database.enc"
SEALED = CHUNK + TAG
"""Bytes of an encrypted chunk."""


def cipher(*keys: bytes) -> BackupCipher:
    return ChunkedBackupCipher(SecretKeys(keys), os.urandom)


def encrypted(plain: bytes, *, place: str = PLACE, step: int = 100_000, keys: tuple[bytes, ...] = (NEW,)) -> bytes:
    encryption = cipher(*keys).encrypt(place)
    parts = [encryption.update(plain[at : at + step]) for at in range(0, len(plain), step)]
    return b"".join([encryption.begin(), *parts, encryption.end()])


def decrypted(sealed: bytes, *, place: str = PLACE, keys: tuple[bytes, ...] = (NEW,)) -> bytes:
    return b"".join(cipher(*keys).decrypt(place, io.BytesIO(sealed)))


SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1000, 10 * CHUNK])
def test_a_file_of_any_size_is_decrypted(size: int, step: int) -> None:
    plain = os.urandom(size)
    assert decrypted(encrypted(plain, step=step)) == plain


def test_an_encrypted_file_shows_nothing_of_its_content() -> None:
    plain = b"ada@example.org " * CHUNK
    sealed = encrypted(plain)
    assert b"ada@example" not in sealed
    assert encrypted(plain) != sealed


CONTENT = os.urandom(3 * CHUNK)


def flipped(at: int) -> Callable[[bytes], bytes]:
    """Flips a bit of the byte at this place, which a negative number counts from the end."""

    def flip(sealed: bytes) -> bytes:
        changed = bytearray(sealed)
        changed[at] ^= 1
        return bytes(changed)

    return flip


def chunk(sealed: bytes, number: int) -> bytes:
    return sealed[HEADER + number * SEALED : HEADER + (number + 1) * SEALED]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda sealed: b"",
    "the header alone": lambda sealed: sealed[:HEADER],
    "a byte of the fixed text": flipped(0),
    "a byte of the sealed key": flipped(HEADER - 1),
    "the first byte": flipped(HEADER),
    "a byte in the middle": flipped(HEADER + SEALED + 17),
    "the last byte": flipped(-1),
    "cut by a byte": lambda sealed: sealed[:-1],
    "cut by a chunk": lambda sealed: sealed[:-SEALED],
    "cut to a chunk": lambda sealed: sealed[: HEADER + SEALED],
    "longer by a byte": lambda sealed: sealed + b"\0",
    "longer by a chunk": lambda sealed: sealed + chunk(sealed, 2),
    "chunks that changed places": lambda sealed: (
        sealed[:HEADER] + chunk(sealed, 1) + chunk(sealed, 0) + chunk(sealed, 2)
    ),
    "a chunk that is missing": lambda sealed: sealed[:HEADER] + chunk(sealed, 0) + chunk(sealed, 2),
    "a chunk that is there twice": lambda sealed: sealed[: HEADER + SEALED] + sealed[HEADER:],
    "a chunk of another file": lambda sealed: (
        sealed[:HEADER] + chunk(encrypted(CONTENT), 0) + sealed[HEADER + SEALED :]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused(damage: str) -> None:
    sealed = encrypted(CONTENT)
    assert decrypted(sealed) == CONTENT
    with pytest.raises(BackupFailed):
        decrypted(DAMAGES[damage](sealed))


def test_a_part_is_returned_only_after_it_was_authenticated() -> None:
    sealed = flipped(HEADER + SEALED)(encrypted(CONTENT))
    parts = cipher(NEW).decrypt(PLACE, io.BytesIO(sealed))
    assert next(parts) == CONTENT[:CHUNK]
    with pytest.raises(BackupFailed, match=f"from byte {HEADER + SEALED} on"):
        next(parts)


def test_a_file_is_of_one_place() -> None:
    with pytest.raises(BackupFailed, match="another backup"):
        decrypted(encrypted(b"content"), place="backup2/database.enc")


def test_another_key_decrypts_nothing_and_an_earlier_key_still_does() -> None:
    before = encrypted(b"content", keys=(OLD,))
    assert decrypted(before, keys=(NEW, OLD)) == b"content"
    assert decrypted(encrypted(b"content", keys=(NEW, OLD)), keys=(NEW,)) == b"content"
    with pytest.raises(BackupFailed, match="another key"):
        decrypted(before, keys=(OTHER,))


def test_a_manifest_is_readable_and_authentic() -> None:
    content = b'{"name":"a", "rows": [1, 2]}'
    sealed = cipher(NEW).seal_manifest(content)
    assert content in sealed
    assert cipher(OTHER, NEW).open_manifest(sealed) == content


CHANGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another number": (lambda sealed: sealed.replace(b"1", b"3", 1), "was changed"),
    "the same without a space": (lambda sealed: sealed.replace(b"[1, 2]", b"[1,2]"), "was changed"),
    "cut": (lambda sealed: sealed[:-3], "is damaged"),
    "empty": (lambda sealed: b"", "is damaged"),
    "not text": (lambda sealed: b"\xff" + sealed, "is damaged"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_manifest_is_refused(change: str) -> None:
    changed, sentence = CHANGES[change]
    sealed = cipher(NEW).seal_manifest(b'{"rows": [1, 2]}')
    with pytest.raises(BackupFailed, match=sentence):
        cipher(NEW).open_manifest(changed(sealed))


@pytest.mark.parametrize("bit", [1, 32], ids=["another", "capital and small"])
def test_every_byte_of_a_manifest_counts(bit: int) -> None:
    sealed = cipher(NEW).seal_manifest(b'{"name":"a","rows":{"users":1}}')
    accepted = []
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= bit
        with suppress(BackupFailed):
            cipher(NEW).open_manifest(bytes(changed))
            accepted.append(at)
    assert accepted == []


def test_every_byte_of_a_file_counts() -> None:
    sealed = encrypted(b"some content")
    accepted = []
    for at in range(len(sealed)):
        with suppress(BackupFailed):
            decrypted(flipped(at)(sealed))
            accepted.append(at)
    assert accepted == []


def test_a_manifest_of_another_key_is_named_as_such() -> None:
    with pytest.raises(BackupFailed, match="made with another key"):
        cipher(NEW).open_manifest(cipher(OTHER).seal_manifest(b"{}"))


def test_the_memory_does_not_depend_on_the_size_of_the_file(tmp_path: Path) -> None:
    size, step = 64 * 1024 * 1024, 1024 * 1024
    tracemalloc.start()
    try:
        encryption = cipher(NEW).encrypt(PLACE)
        with (tmp_path / "sealed").open("wb") as output:
            output.write(encryption.begin())
            for _ in range(size // step):
                output.write(encryption.update(os.urandom(step)))
            output.write(encryption.end())
        with (tmp_path / "sealed").open("rb") as sealed:
            assert sum(map(len, cipher(NEW).decrypt(PLACE, sealed))) == size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 8
