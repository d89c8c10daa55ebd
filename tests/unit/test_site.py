"""The site of the documentation: every page has a place, every link leads somewhere, nothing comes from elsewhere.

`make site` builds it with mkdocs, which also checks the anchors.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import site
from tools.site import Broken, Tree, llms, other_hosts


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree()


def test_every_page_has_one_place(tree: Tree) -> None:
    nav = str(tree.nav())
    for place in tree.pages:
        assert nav.count(f"'{place}'") == 1, place


def test_a_link_to_a_file_leads_to_a_page_with_it(tree: Tree) -> None:
    assert "(source/src/ubr/domain/errors.py.md)" in tree.pages["embedding.md"]
    assert "InvalidCredentials" in tree.pages["source/src/ubr/domain/errors.py.md"]
    assert "(embedding.md#errors)" in tree.pages["frameworks.md"]
    assert "(api.md)" in tree.pages["index.md"]


def test_every_use_case_is_in_the_reference(tree: Tree) -> None:
    tree.nav()
    assert "::: ubr.application.sessions.log_in\n" in tree.pages["reference/use-cases-sessions.md"]
    assert "::: ubr.application.machines.create_machine_key" in tree.pages["reference/use-cases-machines.md"]


def test_a_link_that_leads_nowhere_is_an_error(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text("# Page\n```\n[no](link.md)\n```\n[nowhere](other.md)\n")
    monkeypatch.setattr(site, "ROOT", tmp_path)
    with pytest.raises(Broken, match=r"page\.md links to other\.md"):
        tree._rewritten("page.md", "page.md")  # noqa: SLF001 - a page that the repository does not have


def test_a_page_without_a_place_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = {**site.SECTIONS, "Reference": ["docs/api.md"]}
    monkeypatch.setattr(site, "SECTIONS", fewer)
    with pytest.raises(Broken, match=r"docs/settings\.md"):
        site.sections()


def test_pages_for_language_models(tree: Tree) -> None:
    files = llms(tree)
    assert files["llms.txt"].startswith("# ubr\n\n> ")
    assert "- [Settings](settings.md)" in files["llms.txt"]
    assert "`UBR_DATABASE_URL`" in files["llms-full.txt"]


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/a.css">',
        '<img src="http://example.org/a.png">',
        '<p style="background: url(https://example.org/a.png)">',
        '<style>@import "https://example.org/a.css";</style>',
    ],
)
def test_a_request_to_another_host_is_found(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(f'<a href="https://example.org">a link to follow</a>{text}')
    assert len(list(other_hosts(tmp_path))) == 1


def test_a_page_of_its_own_files_requests_nothing_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<a href="https://example.org">x</a><script src="assets/a.js"></script>')
    (tmp_path / "page.css").write_text("@font-face { src: url(font.woff2) }")
    assert list(other_hosts(tmp_path)) == []
    (tmp_path / "page.css").write_text("@font-face { src: url(https://example.org/font.woff2) }")
    assert len(list(other_hosts(tmp_path))) == 1
