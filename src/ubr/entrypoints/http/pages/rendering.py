"""Turns templates and words into pages.

The code of a compiled template is stored in `templates/__pycache__`, as Python stores the code of modules: an
installation does it in advance, or the first worker that shows the page and may write there. Compiling takes a worker
some memory that it does not return.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ubr.entrypoints.http.page_options import PageOptions
from ubr.entrypoints.http.pages.assets import Assets, built_in_files
from ubr.entrypoints.http.pages.words import BrokenWords, Words, built_in_words, load
from ubr.settings import origin_of

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment

_BUILT_IN: Final = Path(__file__).parent / "templates"
_CODE: Final = _BUILT_IN / "__pycache__"
"""The folder with the code of compiled templates."""
SITE: Final = "site"
"""The name of the pages in the application's state."""


class BrokenPages(Exception):
    """A file in the operator's folder that cannot be used. The message names it, and the reason."""


class Site:
    """The pages of a service: their options, texts, files and templates."""

    def __init__(self, options: PageOptions, *, return_url: str | None = None, secure: bool = True) -> None:
        self.options = options
        self.return_url = return_url
        """The address of the operator's application, to which pages lead in the end."""
        own = () if return_url is None else (origin_of(return_url),)
        self.return_origins = (*own, *options.return_origins)
        self.secure = secure
        """True if browsers reach the service by TLS."""
        self._compiled: set[str] = set()
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pages")
        """Loads beside the event loop. Each further thread would take memory for good."""

    @cached_property
    def languages(self) -> dict[str, Words]:
        """Every language by its tag."""
        return load(self.options.folder)

    @cached_property
    def assets(self) -> Assets:
        return Assets.read(self.options.folder, self.options.logo)

    @cached_property
    def environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - with the first page

        folders = [_BUILT_IN] if self.options.folder is None else [self.options.folder, _BUILT_IN]
        return Environment(
            loader=FileSystemLoader(folders),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            bytecode_cache=_stored_code(),
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def load(self) -> None:
        """Load what every page needs, beside the event loop."""
        if "environment" not in self.__dict__:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._beside, lambda: (self.languages, self.assets, self.environment))

    async def render(self, name: str, shown: Mapping[str, Any]) -> bytes:
        """A page. The first time its template is compiled, beside the event loop."""
        if name in self._compiled:
            return self._render(name, shown)
        page = await asyncio.get_running_loop().run_in_executor(self._beside, self._render, name, shown)
        self._compiled.add(name)
        return page

    def _render(self, name: str, shown: Mapping[str, Any]) -> bytes:
        return self.environment.get_template(name).render(shown).encode()


def _stored_code() -> BytecodeCache:
    """The code of compiled templates in files, by the content of the template and the version of Jinja2 and Python.

    A folder that cannot be written to is only read, and so is every folder if Python is not to write code.
    """
    from jinja2 import FileSystemBytecodeCache  # noqa: PLC0415 - with the first page
    from jinja2.bccache import Bucket  # noqa: PLC0415

    class StoredCode(FileSystemBytecodeCache):
        def dump_bytecode(self, bucket: Bucket) -> None:
            if not sys.dont_write_bytecode:
                with suppress(OSError):
                    _CODE.mkdir(exist_ok=True)
                    super().dump_bytecode(bucket)

    return StoredCode(str(_CODE), "%s.jinja")


def preload() -> None:
    """Load what all workers can share, before they start: they are forks, and share its memory."""
    import jinja2  # noqa: F401, PLC0415

    built_in_words()
    built_in_files()


def compile_built_in() -> None:
    """Store the code of every built-in template, for workers that may not write. Errors: `OSError`."""
    _CODE.mkdir(exist_ok=True)
    sys.dont_write_bytecode = False
    environment = Site(PageOptions()).environment
    for path in sorted(_BUILT_IN.rglob("*.html")):
        environment.get_template(path.relative_to(_BUILT_IN).as_posix())


def check(options: PageOptions) -> None:
    """Read all files and compile the operator's templates, so that a mistake stops the start. Errors: `BrokenPages`."""
    from jinja2 import TemplateError  # noqa: PLC0415 - only with files of an operator

    site = Site(options)
    try:
        _ = site.languages
        _ = site.assets
    except BrokenWords as error:
        raise BrokenPages(str(error)) from None
    except OSError as error:
        raise BrokenPages(f"{error.filename} cannot be read: {error.strerror}") from None
    known = {path.name for path in _BUILT_IN.iterdir()}
    for path in sorted(options.folder.glob("*.html")) if options.folder is not None else ():
        if path.name not in known and not path.name.startswith("_"):
            raise BrokenPages(f"{path.name} is not the name of a template, nor begins with _")
        try:
            site.environment.get_template(path.name)
        except TemplateError as error:
            raise BrokenPages(f"{path.name} cannot be used: {error}") from None


if __name__ == "__main__":
    compile_built_in()
