"""Every route as the application declares it, and one good request to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.integration.http.kit import ANOTHER_PASSWORD, PASSWORD
from ubr.entrypoints.http.call import Operation
from ubr.entrypoints.http.files import assets_revision
from ubr.entrypoints.http.openapi.operations import operations
from ubr.entrypoints.http.page_options import PageOptions
from ubr.entrypoints.http.pages.controllers import controllers_of
from ubr.entrypoints.http.routes import CONTROLLERS


@dataclass(frozen=True)
class Route:
    method: str
    template: str
    operation: Operation

    @property
    def name(self) -> str:
        return self.operation.name

    def path(self, **ids: str) -> str:
        """The path to these things; a thing that is not named exists for nobody."""
        return self.template.format(**{**dict.fromkeys(IDS, "0"), "name": "editor", **KNOWN, **ids})

    def sent(self, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A body in the form that the route takes: the good one, or another. Nothing if it takes none."""
        if self.operation.body is None:
            return {}
        return {"data" if self.operation.form else "json": GOOD_BODIES[self.name] if body is None else body}

    def target(self, **ids: str) -> str:
        """The path with a good query."""
        query = GOOD_QUERIES.get(self.name)
        return self.path(**ids) if query is None else f"{self.path(**ids)}?{query}"


IDS = ("user_id", "role_id", "session_id", "entry_id", "machine_id", "key_id")
"""The parameters of paths that are ids."""
ROUTES = [Route(method, path, operation) for path, method, operation in operations(CONTROLLERS)]
PAGE_PATHS = {path for path, _, _ in operations(controllers_of(PageOptions()))}
"""The paths of pages, which are no part of the interface."""
KNOWN = {"slug": "invalid-input", "revision": assets_revision(), "asset": "start.js"}
"""What is always there."""
BY_NAME = {route.name: route for route in ROUTES}
WITH_BODY = [route for route in ROUTES if route.operation.body is not None and not route.operation.form]
"""Of JSON. `test_machines.py` has the form."""
SIGNED_IN = [route for route in ROUTES if not route.operation.public]

GOOD_BODIES: dict[str, dict[str, Any]] = {
    "register_user": {"email": "new@example.org", "password": PASSWORD, "full_name": "New"},
    "log_in": {"email": "target@example.org", "password": PASSWORD},
    "log_in_browser": {"email": "target@example.org", "password": PASSWORD},
    "explain_login": {"email": "target@example.org"},
    "refresh_session": {"refresh_token": "ubr_rt_" + "A" * 43},
    "change_password": {"current_password": PASSWORD, "new_password": ANOTHER_PASSWORD},
    "request_password_reset": {"email": "target@example.org"},
    "reset_password": {"token": "ubr_link_" + "A" * 43, "new_password": ANOTHER_PASSWORD},
    "request_email_change": {"email": "new@example.org", "current_password": PASSWORD},
    "verify_email": {"token": "ubr_link_" + "A" * 43, "password": PASSWORD},
    "resend_verification": {"email": "target@example.org"},
    "undo_email_change": {"token": "ubr_link_" + "A" * 43},
    "create_user": {"email": "new@example.org", "password": PASSWORD, "full_name": "New", "roles": ["editor"]},
    "update_user": {"email": "new@example.org", "full_name": "New", "status": "active"},
    "patch_user": {"email": "new@example.org", "full_name": "New", "status": "active"},
    "assign_role": {"expires_at": "2040-01-01T00:00:00Z"},
    "create_role": {"name": "writer", "description": "Writes", "permissions": ["users:read"]},
    "update_role": {"name": "writer", "description": "Writes", "permissions": ["users:read"]},
    "log_in_machine": {"grant_type": "client_credentials", "client_secret": "ubr_sk_" + "A" * 71},
    "create_machine": {"name": "report", "description": "Reports", "roles": ["editor"]},
    "update_machine": {"description": "Reports", "status": "active"},
    "create_machine_key": {"name": "a key", "scope": ["users:read"], "expires_at": "2040-01-01T00:00:00Z"},
    "rotate_machine_key": {"overlap": 60, "expires_at": "2040-01-01T00:00:00Z"},
}

WITHOUT_LINK = {
    "reset_password": 400,
    "verify_email": 400,
    "undo_email_change": 400,
    "refresh_session": 401,
    "issue_access_token": 401,
    "log_in_machine": 401,
}
"""What is answered to those bodies, whose tokens are of the right form and nobody's, and without a cookie."""

GOOD_QUERIES = {
    "follow_revocations": "verifier=01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10",
    "stop_following_revocations": "verifier=01926e5c-7b0e-4f3a-9c55-0d2f6f1c8a10",
}
"""For routes that do nothing without one."""
