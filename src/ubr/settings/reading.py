"""Reads the environment into values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ubr.domain.errors import Invalid
from ubr.settings.contradictions import contradictions
from ubr.settings.declaration import PREFIX, Setting
from ubr.settings.embedded import EMBEDDED, LOCAL_SENDER
from ubr.settings.errors import WrongSetting
from ubr.settings.groups.stores import MEMORY
from ubr.settings.urls import address

_OTHERS: Final = ("UBR_TEST_", "UBR_BENCH_")


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
        raw = environ.get(setting.name, "")
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
    return values, frozenset(given)


def _derive(values: dict[str, Any]) -> None:
    """Fill in the settings without a value whose default depends on other settings."""
    own = address(values["host"], values["port"])
    values["migrate"] = values["migrate"] or ("auto" if values["database_url"] == EMBEDDED else "check")
    if values["database_url"] in {EMBEDDED, MEMORY}:
        values["public_url"] = values["public_url"] or own
        values["mail_from"] = values["mail_from"] or LOCAL_SENDER
    values["issuer"] = values["issuer"] or values["public_url"] or own


def _unknown(table: Sequence[Setting], environ: Mapping[str, str]) -> list[str]:
    names = [setting.name for setting in table]
    wrong = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and not name.startswith(_OTHERS) and name not in names:
            from difflib import get_close_matches  # noqa: PLC0415 - a mistake alone is worth loading it

            shown = name if name.isprintable() else ascii(name)
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "`ubr config` lists all settings."
            wrong.append(f"{shown} is not a setting: {hint}")
    return wrong
