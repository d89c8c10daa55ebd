"""The texts of the pages: one TOML file for each language, with the same keys."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from string import Formatter
from typing import Any, Final, TypeAlias

_BUILT_IN: Final = Path(__file__).parent / "words"
_PARTS: Final = (_BUILT_IN, _BUILT_IN / "console")
"""A language has a file in each of these folders."""
FALLBACK: Final = "en"
"""The language of texts that another one does not have."""

_TAG: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
_RANGE: Final = re.compile(r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)[ \t]*(?:;[ \t]*q=([01](?:\.[0-9]{0,3})?)[ \t]*)?")
_MAX_HEADER_LENGTH: Final = 512

COUNT: Final = "n"
"""The parameter that chooses between the forms of a text."""
OTHER: Final = "other"
FORMS: Final = frozenset({"zero", "one", "two", "few", "many", OTHER})
"""The names of the forms (Unicode CLDR, plural rules)."""

DETAILS: Final = "details"
"""The section with translations of details of problems, which the domain words in English."""
PROBLEMS: Final = "problems"
"""The section with translations of titles of problems, by their slugs."""
_OF_HOST: Final = re.compile(r"fields\.[a-z][a-z0-9_]{0,39}\.(?:label|help)")
"""The texts of fields of the host, which only files of an operator have."""

Message: TypeAlias = str | Mapping[str, str]


class BrokenWords(Exception):
    """A file of words that cannot be used. The message names it, and the reason."""


# --- plural forms -----------------------------------------------------------------------------------------------------


def _one(n: int) -> str:
    return "one" if n == 1 else OTHER


def _french(n: int) -> str:
    return "one" if n in {0, 1} else OTHER


def _none(_: int) -> str:
    return OTHER


def _east_slavic(n: int) -> str:
    if n % 10 == 1 and n % 100 != 11:  # noqa: PLR2004 - the rule of CLDR
        return "one"
    return "few" if n % 10 in {2, 3, 4} and n % 100 not in {12, 13, 14} else "many"


def _polish(n: int) -> str:
    if n == 1:
        return "one"
    return "few" if n % 10 in {2, 3, 4} and n % 100 not in {12, 13, 14} else "many"


def _czech(n: int) -> str:
    if n == 1:
        return "one"
    return "few" if n in {2, 3, 4} else OTHER


_PLURALS: Final[Mapping[str, Callable[[int], str]]] = {
    **dict.fromkeys(("fr", "pt"), _french),
    **dict.fromkeys(("id", "ja", "ko", "ms", "th", "vi", "zh"), _none),
    **dict.fromkeys(("be", "ru", "uk"), _east_slavic),
    **dict.fromkeys(("cs", "sk"), _czech),
    "pl": _polish,
}
"""The rules that differ from those of English, for whole numbers (Unicode CLDR)."""


# --- one language -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Words:
    """The texts of one language, called with a key and the parameters of its text.

    Texts are plain: a template escapes them together with their parameters.
    """

    language: str
    messages: Mapping[str, Message]
    details: Mapping[str, str]
    problems: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the language in itself."""
        return self("language")

    def __call__(self, key: str, /, **parameters: object) -> str:
        """Errors: `KeyError` for an unknown key or a missing parameter."""
        message = self.messages[key]
        if not isinstance(message, str):
            rule = _PLURALS.get(self.language.partition("-")[0], _one)
            message = message.get(rule(int(str(parameters[COUNT]))), message[OTHER])
        return message.format(**parameters)

    def own(self, key: str) -> str | None:
        """A text that only a file of the operator has; None without it."""
        message = self.messages.get(key)
        return message.format() if isinstance(message, str) else None

    def number(self, number: int) -> str:
        """A whole number with its thousands apart."""
        return f"{number:,}".replace(",", self("layout.thousands"))

    def detail(self, english: str) -> str:
        """The translation of a detail of a problem; the English one if there is none."""
        for pattern, text in self._patterns:
            if found := pattern.fullmatch(english):
                return text.format(**found.groupdict())
        return english

    def problem(self, slug: str, title: str) -> str:
        """The title of a problem."""
        return self.problems.get(slug, title)

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(english), text) for english, text in self.details.items()]


def _pattern(template: str) -> re.Pattern[str]:
    """A pattern that finds the parameters of a filled template."""
    parts = (re.escape(text) + (f"(?P<{name}>.+)" if name else "") for text, name, _, _ in Formatter().parse(template))
    return re.compile("".join(parts), re.DOTALL)


def parameters_of(message: Message) -> frozenset[str]:
    """The names of the parameters of a text, in any of its forms; empty for one without a name."""
    forms = (message,) if isinstance(message, str) else message.values()
    return frozenset(name for form in forms for _, name, _, _ in Formatter().parse(form) if name is not None)


# --- all languages ----------------------------------------------------------------------------------------------------


def load(folder: Path | None = None) -> dict[str, Words]:
    """Every language by its tag, the fallback first: the built-in ones, and those in `folder`, which may also replace
    single texts.

    Errors: `BrokenWords` for a file in the folder that is not TOML, or has an unknown key or parameter.
    """
    found = dict(built_in_words())
    known = found[FALLBACK]
    for path in sorted(folder.glob("*.toml")) if folder is not None else ():
        own = _read(path)
        _check(path, own, known)
        found[path.stem] = {**found.get(path.stem, {}), **own}
    first = {FALLBACK: found.pop(FALLBACK)}
    return {language: _words(language, {**known, **messages}) for language, messages in (first | found).items()}


@cache
def built_in_words() -> Mapping[str, Mapping[str, Message]]:
    """The texts of each built-in language. Read only once."""
    found: dict[str, Mapping[str, Message]] = {}
    for path in (each for part in _PARTS for each in sorted(part.glob("*.toml"))):
        found[path.stem] = {**found.get(path.stem, {}), **_read(path)}
    return found


def _words(language: str, flat: Mapping[str, Message]) -> Words:
    def section(name: str) -> dict[str, str]:
        return {key.partition(".")[2]: str(text) for key, text in flat.items() if key.startswith(f"{name}.")}

    own = {key: text for key, text in flat.items() if key.partition(".")[0] not in {DETAILS, PROBLEMS}}
    return Words(language, own, section(DETAILS), section(PROBLEMS))


def _read(path: Path) -> dict[str, Message]:
    if not _TAG.fullmatch(path.stem):
        raise BrokenWords(f"{path.name} is not named after a language, such as fr.toml")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        return dict(_flat(table))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise BrokenWords(f"{path.name} cannot be read: {error}") from None


def _flat(table: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Message]]:
    for key, value in table.items():
        if isinstance(value, str):
            parameters_of(value)  # rejects a text with unbalanced braces
            yield before + key, value
        elif isinstance(value, dict) and OTHER in value and set(value) <= FORMS:
            yield before + key, value
        elif isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            raise ValueError(f"{before}{key} is not a text")


def _check(path: Path, own: Mapping[str, Message], known: Mapping[str, Message]) -> None:
    for key, message in own.items():
        section, _, english = key.partition(".")
        if section == PROBLEMS:  # their titles have no parameters
            continue
        of_host = _OF_HOST.fullmatch(key) is not None
        if section != DETAILS and key not in known and not of_host:
            raise BrokenWords(f"{path.name} has {key}, which no page uses")
        try:
            unknown = parameters_of(message) - parameters_of(
                english if section == DETAILS else "" if of_host else known[key]
            )
        except ValueError as error:
            raise BrokenWords(f"{path.name} has {key}: {error}") from None
        if unknown:
            raise BrokenWords(f"{path.name} has {key} with {min(unknown) or '{}'}, which that text does not have")


def preferred(languages: Iterable[str], chosen: str | None, accepted: bytes) -> str:
    """The language of an answer: the chosen one, else the first that `Accept-Language` prefers (RFC 9110, 12.5.4)."""
    known = list(languages)
    if chosen in known:
        return str(chosen)
    wanted = [
        (float(found[2] or "1"), found[1].lower())
        for part in accepted[:_MAX_HEADER_LENGTH].decode("latin-1").split(",")
        if (found := _RANGE.fullmatch(part.strip(" \t")))
    ]
    for quality, tag in sorted(wanted, key=lambda each: -each[0]):
        for language in known if quality else ():
            # A range matches more special tags, and the basic one if there is no better.
            if language.lower() in {tag, tag.partition("-")[0]} or language.lower().startswith(f"{tag}-"):
                return language
    return FALLBACK
