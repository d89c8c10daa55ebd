"""Versions of ubr in which one check of rights is missing, made from its source: each has to be noticed by a test."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final

import ubr

SOURCE: Final = Path(ubr.__file__).parent

CHECKS: Final = frozenset(
    {
        "require",
        "require_self_or",
        "require_recent_login",
        "require_person",
        "forbid_escalation",
        "forbid_outliving",
        "forbid_outliving_of",
        "keep_an_admin",
    }
)
"""Functions that return nothing, and raise an error if the actor may not do it."""

REFUSALS: Final = frozenset({"Forbidden", "GrantExceedsOwn", "LastAdmin", "ReauthenticationRequired"})
"""Errors that say the same."""


@dataclass(frozen=True)
class Check:
    """A statement that refuses."""

    module: str
    """Below `ubr.application`, such as `machines.key_rights`."""
    function: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function}:{self.line} {self.text}"

    @contextmanager
    def removed(self) -> Iterator[None]:
        """The function without the statement. Whoever imported it has this version too: its code is replaced."""
        module = importlib.import_module(f"ubr.application.{self.module}")
        found: object = module
        for name in self.function.split("."):
            found = getattr(found, name)
        function = found.fget if isinstance(found, property) else inspect.unwrap(found)  # type: ignore[arg-type]
        assert isinstance(function, FunctionType)
        path = _path(self.module)
        tree = _WithoutLine(self.line).visit(ast.parse(path.read_text()))
        assert isinstance(tree, ast.Module)
        code = _code(compile(tree, str(path), "exec", dont_inherit=True), self.function)
        original = function.__code__
        function.__code__ = code
        try:
            yield
        finally:
            function.__code__ = original


def checks_of(modules: list[str]) -> list[Check]:
    """Every check in these modules."""
    return [check for module in modules for check in _checks(module)]


def modules_with_checks() -> set[str]:
    """Every module of the application that has a check."""
    folder = SOURCE / "application"
    names = (".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py"))
    return {name for name in names if checks_of([name])}


def _path(module: str) -> Path:
    return SOURCE.joinpath("application", *module.split(".")).with_suffix(".py")


def _checks(module: str) -> Iterator[Check]:
    def walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[Check]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, (*names, child.name))
            elif isinstance(child, ast.stmt) and _refuses(child):
                yield Check(module, ".".join(names), child.lineno, " ".join(ast.unparse(child).split()))
            else:
                yield from walk(child, names)

    yield from walk(ast.parse(_path(module).read_text()), ())


def _refuses(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise):
        return statement.exc is not None and _called(statement.exc) in REFUSALS
    return isinstance(statement, ast.Expr) and _called(statement.value) in CHECKS


def _called(expression: ast.expr) -> str | None:
    """The name of a function, a method or a class that an expression calls or names."""
    inner = expression.value if isinstance(expression, ast.Await) else expression
    inner = inner.func if isinstance(inner, ast.Call) else inner
    if isinstance(inner, ast.Attribute):
        return inner.attr
    return inner.id if isinstance(inner, ast.Name) else None


class _WithoutLine(ast.NodeTransformer):
    def __init__(self, line: int) -> None:
        self.line = line

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.stmt) and node.lineno == self.line and _refuses(node):
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)


def _code(module: CodeType, function: str) -> CodeType:
    """The code of a function, by its qualified name."""
    rest = [module]
    while rest:
        code = rest.pop()
        if code.co_qualname == function:
            return code
        rest += [each for each in code.co_consts if isinstance(each, CodeType)]
    raise LookupError(function)
