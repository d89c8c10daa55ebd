"""The parts of a path that the log may hold."""

from __future__ import annotations

import pytest

from ubr.entrypoints.http.logged_path import LoggedPaths

ID = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"
PATHS = LoggedPaths(["/", "/api/users/me", "/api/users/{user_id:str}/roles/{name:str}", "/problems/{slug:str}"])


@pytest.mark.parametrize(
    ("path", "template", "shown"),
    [
        ("/api/users/me", "/api/users/me", "/api/users/me"),
        ("/", "/", "/"),
        (f"/api/users/{ID}/roles/secret", "/api/users/{user_id}/roles/{name}", f"/api/users/{ID}/roles/*"),
        (f"/api/users/{ID.upper()}/roles/me", "/api/users/{user_id}/roles/{name}", f"/api/users/{ID.upper()}/roles/me"),
        ("/api/users/secret/roles/roles", "/api/users/{user_id}/roles/{name}", "/api/users/*/roles/roles"),
        ("/mounted/api/users/me", "/api/users/me", "/api/users/me"),
        ("/mounted/problems/secret", "/problems/{slug}", "/problems/*"),
        (f"/api/users/{ID}.secret", None, "/api/users/*"),
        (f"/api/users/x{ID}", None, "/api/users/*"),
        (f"/{ID}\n", None, "/*"),
        ("/secret/me", None, "/*/me"),
        ("/%73ecret/\x1b[31m", None, "/*/*"),
        ("secret", None, "*"),
        ("", None, ""),
    ],
)
def test_a_path_in_the_log(path: str, template: str | None, shown: str) -> None:
    assert PATHS.shown(path, template) == shown


def test_a_long_path_is_cut() -> None:
    shown = PATHS.shown("/x" * 4000, None)
    assert shown.endswith("/*/…")
    assert len(shown) < 40
