"""A page for each problem, at the path in its `type`, and a list of all problems: plain HTML without scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from typing import Any, Final

import msgspec

from ubr.entrypoints.http.problems.advice import ADVICE, Advice, example
from ubr.entrypoints.http.problems.catalogue import Problem, problems
from ubr.entrypoints.http.problems.rendering import MEDIA_TYPE

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 44rem; padding: 2rem 1rem 4rem; }
h1 { margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 1.75rem 0 .25rem; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; }
pre { background: #8882; border-radius: .4rem; overflow-x: auto; padding: .7rem; }
td { overflow-wrap: anywhere; }
table { border-collapse: collapse; } td, th { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top; }
ul { margin: .3rem 0; padding-left: 1.2rem; }
"""


class ProblemPage(msgspec.Struct, frozen=True):
    """The page of one problem. Its rows differ in the status; `operations` are method and path, or a sentence."""

    slug: str
    rows: tuple[Problem, ...]
    advice: Advice
    operations: tuple[str, ...] | str

    @property
    def examples(self) -> Iterator[str]:
        for row in self.rows:
            yield json.dumps(example(row), indent=2)


@cache
def policy() -> str:
    """The pages' `Content-Security-Policy`: their own style, identified by its digest, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


def pages(document: Mapping[str, Any]) -> dict[str, ProblemPage]:
    """Every page by its slug, in the order of the table. `document` is the OpenAPI document."""
    rows: dict[str, list[Problem]] = {}
    for row in problems():
        rows.setdefault(row.slug, []).append(row)
    found = _operations(document)
    return {
        slug: ProblemPage(slug, tuple(of_slug), ADVICE[slug], _told(found.get(slug, ()), found))
        for slug, of_slug in rows.items()
    }


_ALL: Final = ""


def _operations(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The operations that answer with each problem; under `_ALL`, every operation."""
    found: dict[str, list[str]] = {_ALL: []}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            named = f"{method.upper()} {path}"
            found[_ALL].append(named)
            slugs = {
                slug
                for response in operation["responses"].values()
                for slug in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", ())
            }
            for slug in slugs:
                found.setdefault(slug, []).append(named)
    return {slug: tuple(named) for slug, named in found.items()}


def _told(named: tuple[str, ...], found: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | str:
    if not named:
        return "No particular operation."
    if named == found[_ALL]:
        return "Every operation."
    return named


def index_html(pages: Mapping[str, ProblemPage]) -> str:
    """The page that lists all problems."""
    lines = "".join(
        f'<tr><td><a href="problems/{row.slug}"><code>{row.slug}</code></a></td><td>{row.status}</td>'
        f"<td>{escape(row.title, quote=False)}</td></tr>"
        for row in sorted((row for page in pages.values() for row in page.rows), key=lambda row: (row.status, row.slug))
    )
    return _html(
        "Problems",
        "<h1>Problems</h1><p>Every error is an <code>application/problem+json</code> (RFC 9457). Its "
        "<code>type</code> is the path of a page here.</p>"
        f"<table><tr><th>name</th><th>status</th><th>title</th></tr>{lines}</table>",
    )


def html(page: ProblemPage) -> str:
    """The page about one problem."""
    titles = "".join(f"<p>{row.status}: {escape(row.title, quote=False)}</p>" for row in page.rows)
    examples = "".join(f"<pre>{escape(text, quote=False)}</pre>" for text in page.examples)
    if isinstance(page.operations, str):
        operations = f"<p>{page.operations}</p>"
    else:
        lines = "".join(f"<li><code>{escape(named)}</code></li>" for named in page.operations)
        operations = f"<ul>{lines}</ul>"
    return _html(
        page.slug,
        f"<h1><code>{page.slug}</code></h1>{titles}"
        f"<h2>Meaning</h2><p>{_text(page.advice.meaning)}</p>"
        f"<h2>Remedy</h2><p>{_text(page.advice.remedy)}</p>"
        f"<h2>Example</h2>{examples}"
        f"<h2>Operations with this problem</h2>{operations}"
        '<p><a href="../problems">All problems</a></p>',
    )


def _html(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}: ubr</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


# --- as files --------------------------------------------------------------------------------------------------------


def markdown(page: ProblemPage) -> str:
    """The page as Markdown, for `docs/problems`."""
    if isinstance(page.operations, str):
        operations = page.operations
    else:
        operations = "\n".join(f"- `{named}`" for named in page.operations)
    examples = "\n".join(f"```json\n{text}\n```" for text in page.examples)
    parts = [
        f"# `{page.slug}`",
        "\n".join(f"{row.status}: {row.title}" for row in page.rows),
        "## Meaning",
        page.advice.meaning,
        "## Remedy",
        page.advice.remedy,
        "## Example",
        examples,
        "## Operations with this problem",
        operations,
        "[All problems](../problems.md)",
    ]
    return "\n\n".join(parts) + "\n"
