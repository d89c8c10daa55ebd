"""What is loaded for pages, and when; and that mistakes in an operator's files stop the start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import Environment

from ubr.entrypoints.http.page_options import PageOptions, page_options
from ubr.entrypoints.http.pages import rendering
from ubr.entrypoints.http.pages.rendering import Site
from ubr.settings import Settings, WrongSetting

_PROGRAM = """
import asyncio, json, sys
import httpx
from ubr.bootstrap import connect
from ubr.entrypoints.http.app import HttpOptions, create_app
from ubr.entrypoints.http.page_options import PageOptions
from ubr.settings import Settings

def loaded():
    return [name for name in sys.modules if name == "jinja2" or name.startswith("ubr.entrypoints.http.pages")]

async def main():
    async with connect(Settings.memory()) as ubr:
        create_app(ubr, options=HttpOptions(pages=PageOptions(scope="off")))
        said = [loaded()]
        edge = create_app(ubr)
        said.append(loaded())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="https://ubr.test") as client:
            await client.get("/login", headers={"accept": "text/html"})
        print(json.dumps([*said, loaded()]))

asyncio.run(main())
"""


@pytest.mark.system
def test_nothing_is_loaded_for_pages_that_are_off_and_the_templates_with_the_first_page() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)  # noqa: S603
    off, started, shown = json.loads(done.stdout)
    assert off == []
    assert "ubr.entrypoints.http.pages.controllers" in started
    assert "jinja2" not in started
    assert "jinja2" in shown


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder for the code of templates."""
    folder = tmp_path / "code"
    monkeypatch.setattr(rendering, "_CODE", folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return folder


def site(folder: Path | None = None) -> Site:
    return Site(PageOptions(folder=folder))


def test_a_template_is_compiled_once_for_all_processes(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site().environment.get_template("login.html")
    assert len(list(code.iterdir())) == 1
    monkeypatch.setattr(Environment, "compile", None)
    assert site().environment.get_template("login.html").name == "login.html"


def test_a_changed_template_is_compiled_again(code: Path, tmp_path: Path) -> None:
    (own := tmp_path / "own").mkdir()
    for text in ("before", "after"):
        (own / "login.html").write_text(text)
        assert site(own).environment.get_template("login.html").render() == text
    assert list(own.iterdir()) == [own / "login.html"]
    assert len(list(code.iterdir())) == 1


@pytest.mark.parametrize("writes", [True, False], ids=["no-folder-can-be-made", "no-code-is-written"])
def test_a_page_needs_no_place_for_its_code(code: Path, monkeypatch: pytest.MonkeyPatch, *, writes: bool) -> None:
    if writes:
        monkeypatch.setattr(rendering, "_CODE", code / "in-a-folder-that-is-absent")
    monkeypatch.setattr(sys, "dont_write_bytecode", not writes)
    assert site().environment.get_template("login.html").name == "login.html"
    assert not code.exists()


def test_an_installation_stores_the_code_of_every_template(code: Path) -> None:
    rendering.compile_built_in()
    templates = list((Path(rendering.__file__).parent / "templates").rglob("*.html"))
    assert len(list(code.iterdir())) == len(templates)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("login.html", "{% if %}", "login.html cannot be used: "),
        ("log-in.html", "", "log-in.html is not the name of a template, nor begins with _"),
        ("fr.toml", "[login]\nheading = 'a'", "fr.toml has login.heading, which no page uses"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path, name: str, content: str, reason: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(WrongSetting, match=reason):
        page_options(Settings.memory(pages_folder=str(tmp_path)))
    page_options(Settings.memory(pages_folder=str(tmp_path), pages="off"))


def test_good_files_are_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "_part.html").write_text("<p>{{ t('login.title') }}</p>")
    (tmp_path / "login.html").write_text("{% include '_part.html' %}")
    (tmp_path / "fr.toml").write_text('language = "Français"')
    (tmp_path / "notes.txt").write_text("{% if %}")
    options = page_options(Settings.memory(pages_folder=str(tmp_path), service_name="Notes"))
    assert (options.service, options.folder) == ("Notes", tmp_path)


def test_the_name_of_the_service_is_its_host_by_default() -> None:
    assert page_options(Settings.memory(public_url="https://id.example.org/auth")).service == "id.example.org"
