"""Write the pages of `docs/` that are made from the code: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from ubr.entrypoints.http.problem import problems
from ubr.settings import documentation

DOCS = Path(__file__).parents[1] / "docs"


def problems_page() -> str:
    """Every problem, by status and name."""
    rows = [f"| `{problem.slug}` | {problem.status} | {problem.title} |" for problem in problems()]
    return "\n".join(
        [
            "# Problems",
            "",
            "Every refusal is an `application/problem+json` (RFC 9457). Its `type` is `/problems/` and the name below;",
            "names do not change. `detail` says more about the case at hand, `errors` where the input was wrong, and",
            "`request_id` finds the request in the service's own log.",
            "",
            "| name | status | title |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def pages() -> dict[Path, str]:
    """The pages and what has to stand in them."""
    return {DOCS / "settings.md": documentation(), DOCS / "problems.md": problems_page()}


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text)
        sys.stdout.write(f"{page.name}\n")
