"""Fields of the host on users: the declaration of all of them, and the rules for writing, searching and tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from ubr.domain.accounts.user_field import (
    FIELD_NAME,
    NO_VALUES,
    Access,
    FieldValue,
    FieldValues,
    Term,
    Terms,
    UserField,
)
from ubr.domain.error_kinds import InputError, Invalid
from ubr.domain.keys.access_token import compact_json

MAX_FIELDS: Final = 50
"""Maximum number of declared fields."""

MAX_FIELDS_SIZE: Final = 4096
"""Maximum number of bytes of a user's values as JSON, those of fields that are no longer declared included."""

MAX_CLAIMS_SIZE: Final = 1024
"""Maximum number of bytes of the fields in a token as JSON: half of what the claims of a host may take."""


class FieldState(msgspec.Struct, frozen=True):
    """The values that a user gets, and what finds the user by them."""

    values: FieldValues = NO_VALUES
    terms: Terms = Terms()


NO_STATE: Final = FieldState()


class FieldView(msgspec.Struct, frozen=True):
    """The fields as one reader sees them. With a `level` of None, the reader is the user, whose level `of` is given."""

    fields: UserFields
    level: Access | None
    whole: bool = False
    """True for everything as it is stored: also values that no longer fit, and those of fields no longer declared."""

    def of(self, stored: FieldValues, own: Access) -> dict[str, object] | None:
        """Every field that the reader may see, null without a value; None if none are declared.

        `own` is the level of the user, which only a view without a `level` needs.
        """
        if not self.fields.declared:
            return dict(stored) if self.whole and stored else None
        access = own if self.level is None else self.level
        shown: dict[str, object] = dict(stored) if self.whole else {}
        for field in self.fields.declared.values():
            if field.read <= access and field.name not in shown:
                value = field.effective(stored)
                # A copy: the caller may change the answer, but not the cached user or the declared default.
                shown[field.name] = list(value) if isinstance(value, list) else value
        return shown


class FieldIndex(msgspec.Struct, frozen=True):
    """The searchable fields of a declaration: what users are found by who are indexed under it.

    `name` is a fingerprint of `forms`, and empty without a searchable field. `forms` has the `UserField.form` of each
    field by its name.
    """

    name: str = ""
    forms: Mapping[str, str] = {}

    @classmethod
    def of(cls, fields: Iterable[UserField]) -> FieldIndex:
        forms = {field.name: field.form for field in sorted(fields, key=lambda field: field.name) if field.searchable}
        return cls(hashlib.sha256(json.dumps(forms).encode()).hexdigest()[:16], forms) if forms else cls()

    def lacking(self, others: Iterable[FieldIndex]) -> list[str]:
        """The fields by which not every user is found who is indexed under one of the others, sorted."""
        found = [other for other in others if other.name != self.name]
        return [name for name, form in self.forms.items() if any(other.forms.get(name) != form for other in found)]


class UserFields(msgspec.Struct, frozen=True, eq=False):
    """The declaration: all fields, by their names."""

    declared: Mapping[str, UserField]
    fingerprint: str
    """Changes with the declaration, and is empty without one. Part of the revision of a user."""
    index: FieldIndex = FieldIndex()

    @classmethod
    def of(cls, *fields: UserField) -> UserFields:
        """Errors: `ValueError` for two fields with one name, or too many, or with too long defaults in tokens."""
        declared = {field.name: field for field in fields}
        if len(declared) != len(fields):
            raise ValueError("Two fields have the same name")
        if len(fields) > MAX_FIELDS:
            raise ValueError(f"There must be at most {MAX_FIELDS} fields")
        text = json.dumps([msgspec.structs.asdict(field) for field in fields]) if fields else ""
        made = cls(declared, hashlib.sha256(text.encode()).hexdigest()[:8] if text else "", FieldIndex.of(fields))
        if (size := _claims_size(made._claims(NO_VALUES))) > MAX_CLAIMS_SIZE:
            raise ValueError(f"The defaults of fields in tokens have {size} bytes, and {MAX_CLAIMS_SIZE} are allowed")
        return made

    def __bool__(self) -> bool:
        return bool(self.declared)

    def seen_by(self, level: Access | None) -> FieldView:
        """The view of a reader of this level; with None, the one that users have of themselves."""
        return FieldView(self, level)

    @property
    def in_export(self) -> FieldView:
        """Everything that is stored about a person, as the right of access demands (GDPR, article 15)."""
        return FieldView(self, Access.HOST, whole=True)

    @property
    def blank(self) -> FieldState:
        """The fields of a new user for whom no one gives any."""
        return FieldState(NO_VALUES, self.terms(NO_VALUES))

    def unexpected(self) -> Invalid:
        """The error for fields where none are accepted."""
        return Invalid.at("/fields", "is not accepted here" if self.declared else "is not a known field")

    def created(self, given: Mapping[str, object] | None, level: Access) -> FieldState:
        """The fields of a new user. Errors: `Invalid`, also if a required field is missing that this level may write.

        The default of a field is not stored: a later declaration may change it.
        """
        missing = [
            InputError(f"/fields/{field.name}", "is required")
            for field in self.declared.values()
            if field.required and field.write <= level and (given is None or given.get(field.name) is None)
        ]
        return self._changed(NO_VALUES, given, level, missing)

    def changed(self, stored: FieldValues, given: Mapping[str, object] | None, level: Access) -> FieldState:
        """The fields after a merge (RFC 7396): null removes a value, and an absent field stays. Errors: `Invalid`."""
        return self._changed(stored, given, level, [])

    def _changed(
        self, stored: FieldValues, given: Mapping[str, object] | None, level: Access, flaws: list[InputError]
    ) -> FieldState:
        values = dict(stored)
        if given is not None:
            self._check_names(given)
        for name, value in {} if given is None else given.items():
            pointer = _pointer("/fields/", name) or "/fields"
            try:
                self._put(values, name, value, pointer, level)
            except Invalid as error:
                flaws += (flaw for flaw in error.flaws if flaw not in flaws)
        if flaws:
            raise Invalid(None, *flaws)
        if given:
            self._check_size(values, [self.declared[name] for name in given])
        return FieldState(values, self.terms(values))

    def _check_names(self, given: Mapping[str, object]) -> None:
        """One error for more fields than can be declared, and not one for each: anyone may send thousands."""
        if not self.declared:
            raise Invalid.at("/fields", "is not a known field")
        if len(given) > MAX_FIELDS:
            raise Invalid.at("/fields", f"must have at most {MAX_FIELDS} fields")

    def _put(self, values: dict[str, FieldValue], name: str, value: object, pointer: str, level: Access) -> None:
        field = self.declared.get(name)
        if field is None or field.read > level:
            raise Invalid.at(pointer, "is not a known field")
        if field.write > level:
            writers = "administrators" if field.write is Access.ADMINS else "the service"
            raise Invalid.at(pointer, f"is written only by {writers}")
        if value is not None:
            values[name] = field.parse(value, pointer)
        elif field.required:
            raise Invalid.at(pointer, "is required")
        else:
            values.pop(name, None)

    def _check_size(self, values: FieldValues, written: list[UserField]) -> None:
        """Users have half of the bytes if others write fields too. So they cannot keep others from writing.

        Errors: `Invalid`.
        """
        claims = self._claims(values)
        by_users = any(field.write is Access.USER for field in written)
        self._check_room(values, _json_size, MAX_FIELDS_SIZE, "as JSON", by_users=by_users)
        if any(field.in_token for field in written):
            self._check_room(claims, _claims_size, MAX_CLAIMS_SIZE, "for tokens", by_users=by_users)
        others = [field for field in self.declared.values() if field.write is not Access.USER]
        if by_users and others:
            _check_bytes(_json_size(self._of_users(values)), MAX_FIELDS_SIZE // 2, "as JSON that users write")
        if by_users and any(field.in_token for field in others):
            _check_bytes(_claims_size(self._of_users(claims)), MAX_CLAIMS_SIZE // 2, "for tokens that users write")

    def _check_room(
        self, values: FieldValues, size_of: Callable[[FieldValues], int], most: int, what: str, *, by_users: bool
    ) -> None:
        own = self._of_users(values)
        if not by_users and size_of(own) > most // 2:  # since an earlier declaration: others have the other half
            values, most = {name: value for name, value in values.items() if name not in own}, most // 2
        _check_bytes(size_of(values), most, what)

    def _of_users(self, values: FieldValues) -> FieldValues:
        """The values of the fields that users write."""
        own = {name for name, field in self.declared.items() if field.write is Access.USER}
        return {name: value for name, value in values.items() if name in own}

    def needs_admin(self, given: Mapping[str, object] | None) -> bool:
        """True if one of these fields is not written by users themselves, but by administrators."""
        if given is None:
            return False
        fields = [self.declared[name] for name in given if name in self.declared]
        return any(field.read <= Access.ADMINS and field.write is Access.ADMINS for field in fields)

    def claimed(self, stored: FieldValues) -> FieldState:
        """The fields without what the user wrote, or a stranger who registered with the e-mail of another person."""
        kept = {name: value for name, value in stored.items() if self._is_of_others(name)}
        return FieldState(kept, self.terms(kept))

    def _is_of_others(self, name: str) -> bool:
        field = self.declared.get(name)
        return field is not None and field.write is not Access.USER

    def terms(self, stored: FieldValues) -> Terms:
        """The terms that find a user with these values."""
        searchable = [field for field in self.declared.values() if field.searchable]
        return Terms(frozenset(term for field in searchable for term in field.terms(stored)), self.index.name)

    def sought(self, given: Mapping[str, object], level: Access) -> tuple[Term, ...]:
        """The terms of a search, sorted. Errors: `Invalid`, also for a field that is not searchable."""
        terms, flaws = [], []
        for name, value in given.items():
            pointer = _pointer("/fields.", name)
            field = self.declared.get(name)
            if field is None or not field.searchable or field.read > level:
                flaws.append(InputError(pointer, "is not a known parameter"))
                continue
            try:
                terms.append(field.sought(value, pointer))
            except Invalid as error:
                flaws += error.flaws
        if flaws:
            raise Invalid(None, *flaws)
        return tuple(sorted(terms))

    @property
    def in_tokens(self) -> bool:
        """True if tokens have fields."""
        return any(field.in_token for field in self.declared.values())

    def claims(self, stored: FieldValues) -> dict[str, FieldValue]:
        """The claims for a token. If they are too long, as those of an earlier declaration may be, without those that
        users write, or without any.
        """
        claims = self._claims(stored)
        if _claims_size(claims) > MAX_CLAIMS_SIZE:
            own = self._of_users(claims)
            claims = {name: value for name, value in claims.items() if name not in own}
        return claims if _claims_size(claims) <= MAX_CLAIMS_SIZE else {}

    def _claims(self, stored: FieldValues) -> dict[str, FieldValue]:
        found = {field.name: field.effective(stored) for field in self.declared.values() if field.in_token}
        return {name: value for name, value in found.items() if value is not None}


def changed_names(before: FieldValues, after: FieldValues) -> list[str]:
    """The fields with another stored value, sorted. In Python `True` equals 1, but not for a field."""

    def of(values: FieldValues, name: str) -> tuple[type, FieldValue | None]:
        value = values.get(name)
        return type(value), value

    return sorted(name for name in before.keys() | after.keys() if of(before, name) != of(after, name))


def _pointer(prefix: str, name: object) -> str:
    """The pointer to a field. An unusual name is not quoted."""
    return f"{prefix}{name}" if isinstance(name, str) and FIELD_NAME.fullmatch(name) else ""


def _json_size(values: FieldValues) -> int:
    return len(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())


def _claims_size(claims: FieldValues) -> int:
    return len(compact_json(claims))


def _check_bytes(size: int, most: int, what: str) -> None:
    if size > most:
        raise Invalid.at("/fields", f"has {size} bytes {what}, and {most} at most are allowed")


NO_FIELDS: Final = UserFields.of()
