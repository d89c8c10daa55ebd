"""Reads the environment into values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ubr.domain.errors import Invalid
from ubr.settings.contradictions import contradictions
from ubr.settings.declaration import PREFIX, Setting
from ubr.settings.embedded import EMBEDDED, LOCAL_SENDER
from ubr.settings.errors import WrongSetting
from ubr.settings.groups.stores import MEMORY, PASSWORDS, with_password
from ubr.settings.urls import address, reachable

_OTHERS: Final = ("UBR_TEST_", "UBR_BENCH_")
_MAX_FILE_BYTES: Final = 64 * 1024


def read(
    table: Sequence[Setting], environ: Mapping[str, str], *, secret: bool = True
) -> tuple[dict[str, Any], frozenset[str]]:
    """The value of every field, and the variables that were set. `secret_keys` may be None: the caller provides them.

    Errors: `WrongSetting`, with a sentence for each wrong setting.
    """
    wrong = _unknown(table, environ)
    values: dict[str, Any] = {}
    given = set()
    for setting in table:
        try:
            raw = _raw(setting, environ)
        except WrongSetting as error:
            wrong += error.sentences
            given.add(setting.name)
            continue
        if not setting.declaration.exact:
            raw = raw.strip()
        if raw:
            given.add(setting.name)
        else:
            raw = setting.declaration.default or ""
        try:
            values[setting.field] = setting.read(raw)
        except Invalid as error:
            wrong.append(setting.wrong(raw, error.detail))
        except ValueError as error:
            wrong.append(setting.wrong(raw, str(error)))
    wrong += contradictions(values, given, secret=secret)
    if wrong:
        raise WrongSetting(*wrong)
    _derive(values)
    _compose(values, environ)
    return values, frozenset(given)


def _raw(setting: Setting, environ: Mapping[str, str]) -> str:
    """The text of a setting, from its variable or from the file of a secret. Errors: `WrongSetting`."""
    raw = environ.get(setting.name, "")
    path = environ.get(setting.file_name, "").strip() if setting.file_name is not None else ""
    if not path:
        return raw
    if raw.strip():
        raise WrongSetting(f"{setting.name} and {setting.file_name} are both set: unset one of them.")
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a path, or the file is not UTF-8"
        raise WrongSetting(f"{setting.file_name} cannot be read: {why}.") from None
    if len(content) > _MAX_FILE_BYTES or not text.strip():
        raise WrongSetting(f"{setting.file_name} names a file that is empty, or larger than 64 KiB.")
    return text.removesuffix("\n").removesuffix("\r")


def _derive(values: dict[str, Any]) -> None:
    """Fill in the settings without a value whose default depends on other settings."""
    host, port = values["host"], values["port"]
    # An issuer is a name, and a changed one makes earlier tokens and checkpoints invalid: it stays as it was.
    values["issuer"] = values["issuer"] or values["public_url"] or address(host, port)
    values["migrate"] = values["migrate"] or ("auto" if values["database_url"] == EMBEDDED else "check")
    if values["database_url"] in {EMBEDDED, MEMORY}:
        values["public_url"] = values["public_url"] or reachable(host, port)
        values["mail_from"] = values["mail_from"] or LOCAL_SENDER


def _compose(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put the separate passwords into the URLs of the databases, with the files in which they may change."""
    for url, password in PASSWORDS.items():
        if values[password] is not None:
            path = environ.get(f"{PREFIX}{password.upper()}_FILE", "").strip()
            values[url] = with_password(values[url], values[password], path)


def _unknown(table: Sequence[Setting], environ: Mapping[str, str]) -> list[str]:
    names = [name for setting in table for name in (setting.name, setting.file_name) if name is not None]
    wrong = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and not name.startswith(_OTHERS) and name not in names:
            from difflib import get_close_matches  # noqa: PLC0415 - a mistake alone is worth loading it

            shown = name if name.isprintable() else ascii(name)
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "`ubr config` lists all settings."
            wrong.append(f"{shown} is not a setting: {hint}")
    return wrong
