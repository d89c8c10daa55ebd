"""Makes the site of the documentation in `build/site`, which needs no other host: `make site`.

The pages are those of the repository, at their paths. Links to other files of the repository lead to a page with the
file. A link that leads nowhere, a page without a place, and a request to another host are errors. `llms.txt` and
`llms-full.txt` are the same pages for language models.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
SUMMARY: Final = "A self-hosted user, role and session backend in Python: a service, a library and an in-memory double."

SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "Start": ["README.md", "docs/tutorial.md", "docs/scope.md", "docs/comparison.md", "examples/notes/README.md"],
    "How-to guides": [
        *("docs/frameworks.md", "docs/embedding.md", "docs/testing.md", "docs/verifier.md", "docs/machines.md"),
        *("docs/clients.md", "docs/browsers.md", "docs/events.md", "docs/permissions.md", "docs/pages.md"),
        *(
            "docs/console.md",
            "docs/extending.md",
            "docs/fields.md",
            "docs/mail.md",
            "docs/docker.md",
            "docs/load-balancers.md",
            "docs/deploy/*.md",
        ),
    ],
    "Operation": ["docs/operations/*.md", "docs/doctor.md", "docs/failed-logins.md"],
    "Runbooks": ["docs/runbooks/*.md"],
    "Reference": ["docs/api.md", "docs/settings.md", "docs/metrics.md", "docs/problems.md", "docs/glossary.md"],
    "Problems": ["docs/problems/*.md"],
    "Explanation": [
        *("docs/architecture.md", "docs/sessions.md", "docs/audit.md", "docs/keys.md", "docs/limits.md"),
        *("docs/performance.md", "docs/worked-examples.md"),
    ],
    "Decisions": ["docs/adr/*.md"],
    "Project": ["CONTRIBUTING.md", "DEVELOPMENT.md", "tests/README.md", "SECURITY.md", "CHANGELOG.md"],
}
"""The place of each page. A page of `docs/` that is missing here is an error."""

API: Final[Mapping[str, Sequence[str]]] = {
    "Errors, events and settings": ["ubr.domain.error_kinds", "ubr.events", "ubr.settings.settings"],
    "Frameworks": ["ubr.contrib.auth", "ubr.contrib.fastapi", "ubr.contrib.starlette", "ubr.contrib.litestar"],
    "Tests": ["ubr.testing.double", "ubr.testing.plugin"],
    "Verifier": ["ubr.verifier.verifier", "ubr.verifier.tokens", "ubr.verifier.errors"],
}
"""Pages of the reference beside those of the use cases, which have one for each folder of the application."""

NO_USE_CASES: Final = {"kernel", "ports", "access", "protection", "revocation", "backups"}

CONFIG: Final = """\
site_name: ubr
site_description: {summary}
docs_dir: {source}
site_dir: {target}
use_directory_urls: false
theme:
  name: material
  font: false
  features: [navigation.indexes, navigation.prune, navigation.top, content.code.copy, toc.follow]
extra: {{generator: false}}
markdown_extensions:
  - admonition
  - tables
  - toc: {{permalink: true}}
  - pymdownx.highlight
  - pymdownx.superfences
plugins:
  - search
  - mkdocstrings:
      handlers:
        python:
          paths: [{python}]
          options:
            show_source: false
            show_root_heading: true
            show_if_no_docstring: false
            show_signature_annotations: true
            separate_signature: true
            members_order: source
            heading_level: 2
            docstring_style: null
validation:
  nav: {{omitted_files: warn, not_found: warn, absolute_links: warn}}
  links: {{not_found: warn, anchors: warn, absolute_links: warn, unrecognized_links: warn}}
nav: {nav}
"""

_LINK: Final = re.compile(r"(?P<before>!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?P<target>[^)\s]+)(?P<after>\))")
_FENCE: Final = re.compile(r"^(`{3,}|~{3,})")
_OTHER_HOST: Final = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_STYLE_URL: Final = re.compile(r"""(?:url\(\s*|@import\s+)["']?(?P<url>(?:https?:)?//[^"')\s]+)""")
_MAX_SOURCE: Final = 200_000


class Broken(Exception):
    """The site cannot be made. The text says why."""


def sections() -> dict[str, list[str]]:
    """The pages of each section. Errors: `Broken` for a page of `docs/` without a section."""
    found: dict[str, list[str]] = {}
    for title, patterns in SECTIONS.items():
        found[title] = []
        for pattern in patterns:
            pages = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))
            if not pages:
                raise Broken(f"{pattern} in tools/site.py is no page")
            found[title] += pages
    placed = {page for pages in found.values() for page in pages}
    existing = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    if missing := sorted(existing - placed):
        raise Broken(f"These pages need a place in SECTIONS of tools/site.py: {', '.join(missing)}")
    return found


def title_of(page: str) -> str:
    """The first heading of a page."""
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    raise Broken(f"{page} has no heading")


def place_of(page: str) -> str:
    """The path in the site of a page of the repository."""
    if page == "README.md":
        return "index.md"
    inside = page.removeprefix("docs/")
    return str(PurePosixPath(inside).with_name("index.md")) if inside.endswith("/README.md") else inside


class Tree:
    """The pages of the site, in memory, by their paths."""

    def __init__(self) -> None:
        self.sections = sections()
        self.places = {page: place_of(page) for pages in self.sections.values() for page in pages}
        self.pages: dict[str, str] = {}
        self.files: dict[str, Path] = {}
        self._tracked = _tracked()
        for page, place in self.places.items():
            self.pages[place] = self._rewritten(page, place)

    def _rewritten(self, page: str, place: str) -> str:
        """The text of a page, whose links fit the site."""
        lines, fence = [], None
        for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
            mark = _FENCE.match(line.lstrip())
            if mark is not None:
                fence = mark[1] if fence is None else None if line.lstrip().startswith(fence) else fence
            if fence is None and mark is None:
                line = _LINK.sub(lambda link: self._link(link, page, place), line)  # noqa: PLW2901
            lines.append(line)
        return "\n".join(lines) + "\n"

    def _link(self, link: re.Match[str], page: str, place: str) -> str:
        path, mark, anchor = link["target"].partition("#")
        if not path or ":" in path or path.startswith("/"):
            return link[0]
        wanted = os.path.normpath(str(PurePosixPath(page).parent / path))
        return f"{link['before']}{_relative(self._place(wanted, page), place)}{mark}{anchor}{link['after']}"

    def _place(self, wanted: str, page: str) -> str:
        """Where this file of the repository is in the site. Errors: `Broken` if it does not exist."""
        if wanted in self.places:
            return self.places[wanted]
        file = ROOT / wanted
        if file.is_dir():
            if (readme := f"{wanted}/README.md") in self.places:
                return self.places[readme]
            inside = [each for each in self._tracked if each.startswith(f"{wanted}/")]
            pages = [each for each in inside if each in self.places]
            place = f"{wanted.removeprefix('docs/')}/index.md" if pages else f"source/{wanted}/index.md"
            listed = (f"- [{title_of(each)}]({_relative(self.places[each], place)})" for each in pages)
            plain = (f"- `{each}`" for each in inside if not pages)
            self.pages.setdefault(place, f"# {wanted}\n\n" + "\n".join([*listed, *plain]) + "\n")
            return place
        if not file.is_file():
            raise Broken(f"{page} links to {wanted}, which does not exist")
        if file.suffix in {".png", ".svg"}:
            place = wanted.removeprefix("docs/")
            self.files[place] = file
            return place
        place = f"source/{wanted}.md"
        if file.stat().st_size > _MAX_SOURCE:
            raise Broken(f"{page} links to {wanted}, which is too large for a page")
        text = file.read_text(encoding="utf-8")
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`{3,}", text)), default=0))
        language = {".py": "python", ".pyi": "python", ".toml": "toml", ".json": "json"}.get(file.suffix, "")
        self.pages.setdefault(place, f"# {wanted}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n")
        return place

    def reference(self) -> dict[str, str]:
        """The pages of the library, which mkdocstrings fills from the docstrings. By title."""
        modules: dict[str, list[str]] = {"All use cases": ["ubr.application.app"]}
        for folder in sorted((ROOT / "src" / "ubr" / "application").iterdir()):
            if folder.is_dir() and folder.name not in NO_USE_CASES and folder.name != "__pycache__":
                names = sorted(file.stem for file in folder.glob("*.py") if _is_use_case(file))
                if names:
                    title = f"Use cases: {folder.name}"
                    modules[title] = [f"ubr.application.{folder.name}.{name}" for name in names]
        modules.update({title: list(names) for title, names in API.items()})
        found = {}
        for title, names in modules.items():
            place = f"reference/{re.sub(r'[^a-z]+', '-', title.lower()).strip('-')}.md"
            self.pages[place] = f"# {title}\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"
            found[title] = place
        return found

    def nav(self) -> list[dict[str, Any]]:
        """The navigation, with every page."""
        library = [{title: place} for title, place in self.reference().items()]
        nav: list[dict[str, Any]] = []
        for title, pages in self.sections.items():
            entries: list[Any] = [{title_of(page): self.places[page]} for page in pages]
            if title == "Reference":
                entries.append({"Python library": library})
            nav.append({title: entries})
        listed = set(self.places.values()) | {place for entry in library for place in entry.values()}
        rest = sorted(self.pages.keys() - listed)
        nav.append({"Files": [{self.pages[place].partition("\n")[0].removeprefix("# "): place} for place in rest]})
        return nav

    def write(self, folder: Path) -> None:
        for place, text in self.pages.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for place, file in self.files.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / place)


def _relative(target: str, place: str) -> str:
    return os.path.relpath(target, PurePosixPath(place).parent)


def _tracked() -> list[str]:
    ran = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


def _is_use_case(file: Path) -> bool:
    """True for a module with a class that is called with a command."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(
        isinstance(method, ast.AsyncFunctionDef) and method.name == "__call__"
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        for method in node.body
    )


def llms(tree: Tree) -> dict[str, str]:
    """`llms.txt`, a list of the pages as Markdown, and `llms-full.txt`, the pages themselves."""
    short, full = [f"# ubr\n\n> {SUMMARY}"], [f"# ubr\n\n{SUMMARY}"]
    for title, pages in tree.sections.items():
        short.append(f"## {title}\n\n" + "\n".join(f"- [{title_of(page)}]({tree.places[page]})" for page in pages))
        full += [tree.pages[tree.places[page]].rstrip() for page in pages]
    return {"llms.txt": "\n\n".join(short) + "\n", "llms-full.txt": "\n\n---\n\n".join(full) + "\n"}


class Requests(HTMLParser):
    """What a browser requests to show a page. Links that a person follows are not among it."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.styles: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            if value is None:
                continue
            if name in {"src", "srcset", "poster", "data"} or (name == "href" and tag in {"link", "use", "image"}):
                self.urls.append(value)
            elif name == "style":
                self.styles.append(value)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser passes it
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)


def other_hosts(site: Path) -> Iterator[str]:
    """Every request of the pages and styles to another host."""
    for page in sorted(site.rglob("*.html")):
        requests = Requests()
        requests.feed(page.read_text(encoding="utf-8"))
        for url in requests.urls:
            if _OTHER_HOST.match(url):
                yield f"{page.relative_to(site)} requests {url}"
        for found in _STYLE_URL.finditer("\n".join(requests.styles)):
            yield f"{page.relative_to(site)} requests {found['url']}"
    for style in sorted(site.rglob("*.css")):
        for found in _STYLE_URL.finditer(style.read_text(encoding="utf-8")):
            yield f"{style.relative_to(site)} requests {found['url']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=Path, required=True, help="the programs of requirements/docs.txt")
    arguments = parser.parse_args()
    build = ROOT / "build"
    source, target, config = build / "site-source", build / "site", build / "mkdocs.yml"
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
    build.mkdir(exist_ok=True)
    try:
        tree = Tree()
        nav = tree.nav()
    except Broken as error:
        print(error)
        return 1
    tree.write(source)
    python, names = ROOT / "src", {"summary": json.dumps(SUMMARY), "nav": json.dumps(nav)}
    places = {"source": source, "target": target, "python": python}
    texts = {**names, **{name: json.dumps(str(place)) for name, place in places.items()}}
    config.write_text(CONFIG.format(**texts), encoding="utf-8")
    command = [arguments.tools / "mkdocs", "build", "--quiet", "--strict", "--config-file", config]
    # Material prints a warning about MkDocs 2 in each build; requirements/docs.txt has 1.6.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # noqa: TID251 - it is handed on
    if subprocess.run(command, check=False, env=environment).returncode != 0:  # noqa: S603 - the builder of the lock
        return 1
    for place, text in [*tree.pages.items(), *llms(tree).items()]:
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        (target / place).write_text(text, encoding="utf-8")
    found = list(other_hosts(target))
    for each in found:
        print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
