"""Types of fields that several commands and results share, with their descriptions in the OpenAPI document.

Decoding a message checks none of this: the domain checks it, with better errors. For the type checker and for Python
programs each one is the plain type inside.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, TypeAlias
from uuid import UUID

from msgspec import Meta

from ubr.application.kernel.paging import MAX_LIMIT
from ubr.domain.accounts.email import MAX_EMAIL_LENGTH
from ubr.domain.accounts.passwords import MAX_PASSWORD_LENGTH, PASSWORD_MIN_LENGTH_DEFAULT, PASSWORD_MIN_LENGTH_FLOOR
from ubr.domain.accounts.user import MAX_FULL_NAME_LENGTH
from ubr.domain.roles.permissions import PERMISSION_PATTERN
from ubr.domain.roles.role import MAX_DESCRIPTION_LENGTH, MAX_PERMISSIONS, ROLE_NAME_PATTERN

NO_CONTROLS: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"
"""A regular expression for a text without control characters."""

EXAMPLE_ID: Final = "01926e5c-7b0e-7f3a-9c55-0d2f6f1c8a10"
EXAMPLE_EMAIL: Final = "ada@example.org"
EXAMPLE_PASSWORD: Final = "correct horse battery staple"
EXAMPLE_HASH: Final = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

_PASSWORD: Final = {"format": "password", "minLength": 1, "maxLength": MAX_PASSWORD_LENGTH, "pattern": NO_CONTROLS}


def example(value: object) -> Meta:
    """The example of a field, as JSON.

    The example of a command or a result consists of the examples of its fields. It has no example if a required field
    has none; a field with a default may be omitted. Annotate the whole field, also if it may be null: an example of
    the type inside `… | None` does not count.
    """
    return Meta(examples=[value])


# --- fields of commands and of results -------------------------------------------------------------------------------

Id: TypeAlias = Annotated[UUID, example(EXAMPLE_ID)]
Timestamp: TypeAlias = Annotated[
    datetime, Meta(extra_json_schema={"format": "date-time"}, examples=["2026-01-31T12:00:00Z"])
]

# --- texts in commands -----------------------------------------------------------------------------------------------

EmailStr: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "email", "maxLength": MAX_EMAIL_LENGTH})]
PasswordStr: TypeAlias = Annotated[str, Meta(extra_json_schema=_PASSWORD, examples=[EXAMPLE_PASSWORD])]
"""An existing password, set under the rules of that time."""
NewPasswordStr: TypeAlias = Annotated[
    str,
    Meta(
        extra_json_schema=_PASSWORD
        | {
            "minLength": PASSWORD_MIN_LENGTH_FLOOR,
            "description": (
                f"The minimum length is a setting of the service: {PASSWORD_MIN_LENGTH_DEFAULT} by default."
            ),
        },
        examples=["staple battery horse correct"],
    ),
]
FullNameStr: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_FULL_NAME_LENGTH, "pattern": NO_CONTROLS})
]
RoleNameStr: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": f"^{ROLE_NAME_PATTERN}$"})]
RoleDescriptionStr: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_DESCRIPTION_LENGTH, "pattern": NO_CONTROLS})
]
PermissionStr: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": f"^({PERMISSION_PATTERN})$"})]
PermissionList: TypeAlias = Annotated[list[PermissionStr], Meta(extra_json_schema={"maxItems": MAX_PERMISSIONS})]
RefreshTokenStr: TypeAlias = Annotated[str, example("ubr_rt_" + "example" * 6 + "A")]
LinkTokenStr: TypeAlias = Annotated[str, example("ubr_link_" + "example" * 6 + "A")]

# --- pages of lists --------------------------------------------------------------------------------------------------

PageLimit: TypeAlias = Annotated[
    int,
    Meta(
        description="Maximum number of items on a page.",
        extra_json_schema={"minimum": 1, "maximum": MAX_LIMIT},
        examples=[20],
    ),
]
PageCursor: TypeAlias = Annotated[
    str | None, Meta(description="`next_cursor` of the previous page, with the same filters and the same sort.")
]
