"""Mail texts from templates."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import UUID

from ubr.application.ports.mail import Mail, MailContext
from ubr.domain.mail.kinds import MailKind
from ubr.extras import MissingExtra, require

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

# The template engine is loaded with the first mail, or to check an operator's templates: most processes render none.

PARTS: Final = ("subject", "txt", "html")
"""The parts of a mail of each kind; template files are named by the kind and one of these."""

_BUILT_IN: Final = Path(__file__).parent / "templates"
_EVERY: Final = ("service", "to")
_LINKED: Final = ("link", "minutes", "lasts")

# Only one kind contains a name. The other kinds go, or may go, to people without a relation to the account; a name
# would then be a text that a stranger wanted to mail to them. The name in an invitation was typed by a user who may
# make accounts.
_FACTS: Final[Mapping[MailKind, tuple[str, ...]]] = {
    MailKind.REGISTRATION: _LINKED,
    MailKind.ACCOUNT_EXISTS: (),
    MailKind.VERIFICATION: _LINKED,
    MailKind.PASSWORD_RESET: _LINKED,
    MailKind.INVITATION: (*_LINKED, "full_name"),
    MailKind.EMAIL_CHANGE: _LINKED,
    MailKind.EMAIL_CHANGE_ASKED: ("new_email",),
    MailKind.EMAIL_CHANGED: (*_LINKED, "new_email"),
    MailKind.EMAIL_IN_USE: (),
    MailKind.EMAIL_REPLACED: ("new_email",),
}

_MAX_NAME_LENGTH: Final = 64
_LIKE_A_LINK: Final = re.compile(r"[/:@]|\w\.\w{2}")

_HOUR: Final = 60
_DAY: Final = 24 * _HOUR

_NOBODY: Final = UUID(int=0)


class BrokenTemplate(Exception):
    """A template that renders no valid mail. The message names it, and the reason."""


class TemplateMailRenderer:
    """Renders with Jinja2, in its sandbox. A variable that mails of this kind do not have is an error, not an empty
    text.

    A file in `folder` replaces the built-in template of its name. In that case, every kind is rendered once, with
    sample data, before any mail is sent. Errors: `BrokenTemplate`.
    """

    def __init__(self, public_url: str, folder: Path | None = None) -> None:
        self._public_url = public_url
        self._service = urlsplit(public_url).netloc
        self._folder = folder
        if folder is not None:
            self._try_out(folder)

    def link(self, page: str, token: str) -> str:
        return f"{self._public_url}/{page}#token={token}"

    def render(self, context: MailContext, id: UUID) -> Mail:
        shown = self._shown(context)
        subject, text, html = (self._render(f"{context.kind}.{part}", shown) for part in PARTS)
        return Mail(to=context.to, subject=" ".join(subject.split()), text=text, html=html, id=id)

    def _shown(self, context: MailContext) -> dict[str, object]:
        """The variables of the templates of this kind. Errors: `ValueError` if one is missing."""
        minutes = context.minutes
        all_ = {
            "service": self._service,
            "to": context.to,
            "link": context.link,
            "minutes": minutes,
            "lasts": None if minutes is None else _lasts(minutes),
            "full_name": _harmless(context.full_name or ""),
            "new_email": None if context.new_email is None else _masked(context.new_email),
        }
        shown: dict[str, object] = {name: all_[name] for name in (*_EVERY, *_FACTS[context.kind])}
        if missing := [name for name, value in shown.items() if value is None]:
            raise ValueError(f"A mail about {context.kind} needs {', '.join(missing)}")
        return shown

    def _render(self, name: str, shown: Mapping[str, object]) -> str:
        return self._environment.get_template(name).render(shown)

    @cached_property
    def _environment(self) -> ImmutableSandboxedEnvironment:
        require("mail", "jinja2")
        from jinja2 import FileSystemLoader, StrictUndefined, select_autoescape  # noqa: PLC0415
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

        folders = [_BUILT_IN] if self._folder is None else [self._folder, _BUILT_IN]
        return ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folders),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            auto_reload=False,
            cache_size=-1,
        )

    def _try_out(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BrokenTemplate("the folder does not exist")
        for kind in MailKind:
            for full_name in ("Ada Lovelace", None):
                case = MailContext(
                    kind=kind,
                    to="ada@example.org",
                    full_name=full_name,
                    link=self.link("verify-email", "token"),
                    minutes=_HOUR,
                    new_email="ada@example.com",
                )
                for part in PARTS:
                    self._try(f"{kind}.{part}", case)
                self.render(case, _NOBODY)
        self._all_used(folder)

    def _try(self, name: str, case: MailContext) -> None:
        try:
            text = self._render(name, self._shown(case)).strip()
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001 - a template can raise any error
            raise BrokenTemplate(f"{_guilty(error) or name} cannot be used: {_told(error)}") from None
        if not text:
            raise BrokenTemplate(f"{name} is empty")
        if name.endswith(".subject") and not " ".join(text.split()).isprintable():
            raise BrokenTemplate(f"{name} contains control characters")

    def _all_used(self, folder: Path) -> None:
        """Errors: `BrokenTemplate` for a template file with a misspelled name."""
        used = {template.filename for template in (self._environment.cache or {}).values()}
        for path in sorted(folder.iterdir()):
            if path.suffix.removeprefix(".") in PARTS and str(path) not in used:
                raise BrokenTemplate(f"{path.name} is not used by any mail")


def _guilty(error: BaseException) -> str | None:
    """The name of the failing template, which may be included by another one."""
    frames = [Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)]
    named = [getattr(error, "filename", None), *reversed(frames)]
    names = [Path(str(name)).name for name in named if name]
    return next((name for name in names if name.rpartition(".")[2] in PARTS), None)


def _told(error: Exception) -> str:
    from jinja2 import TemplateNotFound, TemplateSyntaxError  # noqa: PLC0415

    match error:
        case TemplateNotFound():
            return f"there is no {error.name}"
        case TemplateSyntaxError():
            return f"{error.message} (line {error.lineno})"
        case _:
            return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _lasts(minutes: int) -> str:
    for unit, name in ((_DAY, "day"), (_HOUR, "hour")):
        if minutes >= unit and minutes % unit == 0:
            return _counted(minutes // unit, name)
    return _counted(minutes, "minute")


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _harmless(full_name: str) -> str:
    """A name that is safe to show: empty if it could be read as a link or a message."""
    return "" if len(full_name) > _MAX_NAME_LENGTH or _LIKE_A_LINK.search(full_name) else full_name


def _masked(email: str) -> str:
    """A masked e-mail that only its owner recognises, because the old e-mail may belong to another person.

    A domain can be a sentence, and a mail program turns it into a link: a person who chooses the new e-mail must not be
    able to write to the old one.
    """
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}...@{domain[:1]}..."
