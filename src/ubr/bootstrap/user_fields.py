"""The declaration of the host's fields, from its structure or from the file of the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ubr.application.kernel.field_declarations import MAX_FILE_SIZE, declared_by, declared_in
from ubr.domain.accounts.user_fields import NO_FIELDS, UserFields
from ubr.settings import Settings, WrongSetting


def user_fields_of(settings: Settings, structure: type[Any] | None = None) -> UserFields:
    """The declared fields; none without a declaration.

    Errors: `WrongSetting` if the file cannot be used, or there is a structure too; those of `declared_by`.
    """
    path = settings.user_fields_file
    if structure is not None:
        if path is not None:
            raise WrongSetting("UBR_USER_FIELDS_FILE is set, and the program declares fields too: use one of them.")
        return declared_by(structure)
    if path is None:
        return NO_FIELDS
    try:
        with Path(path).open("rb") as file:
            return declared_in(file.read(MAX_FILE_SIZE + 1))
    except OSError as error:
        raise WrongSetting(f"UBR_USER_FIELDS_FILE names {path}, which cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise WrongSetting(f"UBR_USER_FIELDS_FILE names {path}, which {error}.") from None
