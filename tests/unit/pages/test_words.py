"""The words of the pages: every language has the same, and an operator's files are checked."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import ubr.entrypoints.http.app  # defines every error
import ubr.entrypoints.http.pages
from ubr.application.accounts.explain_login import LoginObstacle
from ubr.application.operations.initialize import LOCKED_HASHES
from ubr.domain.roles.permissions import MEANINGS
from ubr.entrypoints import installation
from ubr.entrypoints.findings import Level
from ubr.entrypoints.http.pages.console.desk import SECTIONS
from ubr.entrypoints.http.pages.console.machines import ACTS as MACHINE_ACTS
from ubr.entrypoints.http.pages.console.user import ACTS as USER_ACTS
from ubr.entrypoints.http.pages.console.users import BULK
from ubr.entrypoints.http.pages.words import DETAILS, FALLBACK, PROBLEMS, BrokenWords, load, parameters_of, preferred
from ubr.entrypoints.http.problems.catalogue import problems

FOLDER = Path(ubr.entrypoints.http.pages.__path__[0])
LANGUAGES = load()
TRANSLATED = [language for language in LANGUAGES if language != FALLBACK]
SOURCES = [*FOLDER.rglob("*.html"), *FOLDER.rglob("*.py")]
CONSOLE = "console."
PUT_TOGETHER = {"figures", "log", "machine_act", "overview", "user", "user_act"}
"""Sections of the console whose other keys have their last part in the source."""
NAMED = [
    *(f"bulk.{name}.{text}" for name in BULK for text in ("label", "consequence", "done")),
    *(f"user_act.{name}.{text}" for name in USER_ACTS for text in ("title", "button")),
    *(f"machine_act.{name}.{text}" for name in MACHINE_ACTS for text in ("title", "button")),
    *(f"login.obstacle.{obstacle}" for obstacle in get_args(LoginObstacle) if obstacle != "no_account"),
    *(f"login.failure.{reason}" for reason in ("wrong_password", "disabled", "no_password")),
    *(f"health.{level.value}" for level in (Level.OK, Level.WARNING, Level.ERROR)),
    *(f"log.level_{level}" for level in ("info", "warning", "error")),
    *(f"nav.{section}" for section in SECTIONS),
    *(f"key_state.{state}" for state in ("published", "signing", "retiring", "retired", "revoked")),
    *(f"mails.{state}" for state in ("waiting", "given_up")),
]
"""Texts of the console whose keys are put together of the name of an act or a state."""
FINDING = {"error", "ok", "or_ok", "warning"}
"""Functions that make a finding. Their last argument is its sentence."""


def test_there_are_english_and_german() -> None:
    assert next(iter(LANGUAGES)) == FALLBACK == "en"
    assert {"en", "de"} <= set(LANGUAGES)


@pytest.mark.parametrize("part", ["", "console"])
@pytest.mark.parametrize("language", TRANSLATED)
def test_every_language_has_the_same_texts_with_the_same_parameters(language: str, part: str) -> None:
    english = (FOLDER / "words" / part / "en.toml").read_text()
    own = (FOLDER / "words" / part / f"{language}.toml").read_text()
    keys = re.compile(r"^(\[[a-z._-]+\]|[a-z_-]+(?= = ))", re.MULTILINE)
    beside = own.index(f"[{DETAILS if part else PROBLEMS}]")
    assert keys.findall(own[:beside]) == keys.findall(english), (
        "in the same order, so that they can be read side by side"
    )
    for key, message in LANGUAGES[FALLBACK].messages.items():
        assert parameters_of(LANGUAGES[language].messages[key]) == parameters_of(message), key


def test_no_text_of_one_file_is_in_the_other() -> None:
    own, console = (tomllib.loads((FOLDER / "words" / part / "en.toml").read_text()) for part in ("", "console"))
    assert own.keys() & console.keys() == {"field", "notice"}
    assert not own["field"].keys() & console["field"].keys()
    assert not own["notice"].keys() & console["notice"].keys()


@pytest.mark.parametrize("template", sorted(FOLDER.rglob("*.html")), ids=str)
def test_a_template_has_no_words_of_its_own(template: Path) -> None:
    """Everything that a person reads or hears comes from the files of words."""
    source = re.sub(r"\{#.*?#\}|\{% block kind %\}\w+", "", template.read_text(), flags=re.DOTALL)
    markup = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL)
    # A command, the names of OAuth, and a zone are the same in every language.
    shown = re.sub(r"<(code|pre)[^>]*>[^<]*</\1>|<[^>]*>|\bUTC\b", " ", markup)
    assert not re.findall(r"[^\W\d_]{2,}", shown)
    read_aloud = re.findall(r"""(?:aria-label|placeholder|title|alt)="([^"]*)\"""", source)
    assert not [text for text in read_aloud if re.search(r"[^\W\d_]{2,}", re.sub(r"\{\{.*?\}\}", "", text))]
    calls = re.findall(r"\{[{%](.*?)[}%]\}", source, re.DOTALL)
    texts = [text for part in calls for pair in re.findall(r"""\"([^"]*)\"|'([^']*)'""", part) for text in pair if text]
    assert not [text for text in texts if " " in text.strip() and not text.startswith("%")]


@pytest.mark.parametrize("language", TRANSLATED)
def test_meanings_of_permissions_are_translated(language: str) -> None:
    words = LANGUAGES[language]
    english = [meaning.replace("`", "") for meaning in MEANINGS.values()]
    assert [meaning for meaning in english if words.detail(meaning) == meaning] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_problem_has_a_title_in_every_language(language: str) -> None:
    slugs = {problem.slug for problem in problems()}
    assert set(LANGUAGES[language].problems) == slugs


def test_the_titles_in_english_are_those_of_the_interface() -> None:
    english = LANGUAGES[FALLBACK]
    assert english.problems == {}
    assert all(english.problem(problem.slug, problem.title) == problem.title for problem in problems())


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize(
    "detail",
    [
        "must have at least 15 characters",
        "must have between 1 and 200 characters",
        "contains the character U+200B, which is invisible",
        "is one of the most common passwords, or a repetition of one",
        "is not an e-mail",
    ],
)
def test_a_detail_is_translated_with_its_numbers(language: str, detail: str) -> None:
    made = LANGUAGES[language].detail(detail)
    assert made != detail
    assert re.findall(r"\d+|U\+\w+", made) == re.findall(r"\d+|U\+\w+", detail)


def test_a_detail_without_a_translation_stays_as_it_is() -> None:
    assert LANGUAGES["de"].detail("is something new") == "is something new"


def test_a_detail_fills_no_parameter_of_its_own() -> None:
    assert LANGUAGES["de"].detail("contains the character {c}, which is invisible").count("{c}") == 1


def test_every_text_is_used() -> None:
    """Keys that are put together have their section written out as a text somewhere."""
    sources = "\n".join(path.read_text() for path in SOURCES).replace("'", '"')
    for full in LANGUAGES[FALLBACK].messages:
        key = full.removeprefix(CONSOLE)
        section, _, name = key.partition(".")
        used = f'"{key}"' in sources
        if section == "notice":
            used = f'notice="{name}"' in sources or f'"{name}"' in sources
        elif section in {"account", "field"}:
            used = used or f'"{name}"' in sources
        elif full != key and section in PUT_TOGETHER:
            parts = name.split(".")
            used = used or (f'"{parts[-1]}"' in sources or f'.{parts[-1]}"' in sources)
        assert used or key in NAMED, full


def test_every_used_text_exists() -> None:
    for path in SOURCES:
        source = path.read_text()
        for key in re.findall(r"""\b(?:t|words)\(["']([a-z_.-]+)["'][,)]""", source):
            assert key in LANGUAGES[FALLBACK].messages, (path.name, key)
        for key in re.findall(r"""\b(?:c|at|desk\.says)\(["']([a-z_.-]+)["'][,)]""", source):
            assert f"{CONSOLE}{key}" in LANGUAGES[FALLBACK].messages, (path.name, key)
        for name in re.findall(r'notice="([a-z-]+)"', source):
            assert f"notice.{name}" in LANGUAGES[FALLBACK].messages, (path.name, name)


@pytest.mark.parametrize("key", NAMED)
def test_every_act_and_every_state_has_its_words(key: str) -> None:
    assert f"{CONSOLE}{key}" in LANGUAGES[FALLBACK].messages


@pytest.mark.parametrize(
    ("language", "counts"),
    [
        ("en", {0: "other", 1: "one", 2: "other"}),
        ("fr", {0: "one", 1: "one", 2: "other"}),
        ("ja", {1: "other", 2: "other"}),
        ("ru", {1: "one", 2: "few", 5: "many", 11: "many", 12: "many", 21: "one", 22: "few", 111: "many"}),
        ("pl", {1: "one", 2: "few", 5: "many", 12: "many", 21: "many", 22: "few"}),
        ("cs", {1: "one", 2: "few", 5: "other", 22: "other"}),
    ],
)
def test_the_form_of_a_text_is_that_of_its_number(tmp_path: Path, language: str, counts: dict[int, str]) -> None:
    forms = ", ".join(f'{form} = "{form}"' for form in ("one", "few", "many", "other"))
    (tmp_path / f"{language}.toml").write_text(f"language = 'x'\n[failure]\nwait = {{ {forms} }}\n")
    words = load(tmp_path)[language]
    assert {n: words("failure.wait", n=n) for n in counts} == counts


def test_an_operator_adds_a_language_and_the_rest_of_it_is_english(tmp_path: Path) -> None:
    (tmp_path / "fr.toml").write_text('language = "Français"\n[login]\ntitle = "Connexion"\n')
    french = load(tmp_path)["fr"]
    assert (french.name, french("login.title"), french("login.submit")) == ("Français", "Connexion", "Log in")


def test_an_operator_replaces_a_single_text(tmp_path: Path) -> None:
    (tmp_path / "de.toml").write_text('[login]\ntitle = "Willkommen"\n')
    german = load(tmp_path)["de"]
    assert (german("login.title"), german("login.submit")) == ("Willkommen", "Anmelden")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("fr.toml", "language = ", "fr.toml cannot be read"),
        ("fr.toml", b"language = '\xff'", "fr.toml cannot be read"),
        ("fr.toml", "[login]\ntitle = 1", "login.title is not a text"),
        ("fr.toml", "[login]\ntitle = 'a {brace'", "fr.toml cannot be read"),
        ("fr.toml", "[login]\nheading = 'a'", "login.heading, which no page uses"),
        ("fr.toml", "[failure]\nfield = '{label} {secret}'", "failure.field with secret"),
        ("fr.toml", "[failure]\nfield = '{label} {}'", "failure.field with {}"),
        (
            "fr.toml",
            "[details]\n'must have {n} characters' = 'doit avoir {m}'",
            "details.must have {n} characters with m",
        ),
        ("fr.toml", "[details]\n'must have {n' = 'doit avoir {n}'", "fr.toml has details.must have {n: expected '}'"),
        ("French.toml", "", "not named after a language"),
    ],
)
def test_a_wrong_file_of_words_is_named(tmp_path: Path, name: str, content: str | bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BrokenWords, match=re.escape(reason)):
        load(tmp_path)


@pytest.mark.parametrize(
    ("chosen", "accepted", "expected"),
    [
        (None, "", "en"),
        (None, "de", "de"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr, de;q=0.2", "de"),
        (None, "en;q=0.5, de", "de"),
        (None, "de;q=0, en;q=0.1", "en"),
        (None, "DE", "de"),
        (None, "*", "en"),
        (None, "de;q=x, ;;;, q=1", "en"),
        (None, "x" * 100_000, "en"),
        ("de", "en", "de"),
        ("xx", "de", "de"),
        ("../../etc", "", "en"),
    ],
)
def test_the_language_is_the_chosen_one_or_that_of_the_browser(
    chosen: str | None, accepted: str, expected: str
) -> None:
    assert preferred(["en", "de"], chosen, accepted.encode()) == expected


def test_details_and_problems_are_no_texts_of_pages() -> None:
    assert not [key for key in LANGUAGES["de"].messages if key.startswith((DETAILS, PROBLEMS))]


def _findings() -> Iterator[str]:
    """An example of each sentence that a finding may have, with x for what is filled in."""
    for call in ast.walk(ast.parse(Path(str(installation.__file__)).read_text())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in FINDING:
            text = call.args[-1]
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts)


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_finding_is_translated(language: str) -> None:
    found = [f"{LOCKED_HASHES % (1, 2)}." if sentence == "x." else sentence for sentence in _findings()]
    assert len(found) > 10
    assert [sentence for sentence in found if LANGUAGES[language].detail(sentence) == sentence] == []
