"""Checks, and the contracts that gather them.

* `Contract`: a kind's checks; each is a function named after what it checks.
* `Subject`: a class under check, with its options.
* `CheckResult`: the result of one check.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cartpole_dqn.contracts.options import NoOptions, check_options, fields_of
from cartpole_dqn.contracts.parts import Context
from cartpole_dqn.contracts.seeding import seeded_torch
from cartpole_dqn.errors import place_of

Check = Callable[..., None]
"""Takes the arguments of its kind's `check_` function; raises `AssertionError` where the contract is broken."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. `message` says what is wrong; it is empty if the check passed."""

    name: str
    passed: bool
    message: str = ""
    error: BaseException | None = field(default=None, repr=False, compare=False)


class Subject:
    """A class under check, with its options.

    Args:
        course: puts the part to work, from this subject and keywords: see `_course.Course`.
        cls: built as `cls(options, context)`.
        beside: an agent's builder, a network's only observation space, or a collector's surroundings.
        **options: values of `cls.Options`; the rest have their defaults.
    """

    def __init__(
        self, course: Callable[..., Any], cls: Callable[..., Any], beside: Any = None, /, **options: Any
    ) -> None:
        self.course = functools.partial(course, self)
        self.cls, self.beside, self.table = cls, beside, options
        self.name = name_of(cls)

    @property
    def options_class(self) -> type:
        """`cls.Options`; `NoOptions` if there is none."""
        options_cls = getattr(self.cls, "Options", NoOptions)
        assert isinstance(options_cls, type), f"{self.name}.Options is {options_cls!r}: expected a class."
        return options_cls

    def options(self, **preferred: Any) -> Any:
        """Return the options. A `preferred` value is used if the option exists and no other value was given."""
        declared = fields_of(self.options_class)
        preferences = {name: value for name, value in preferred.items() if name in declared}
        return check_options(self.options_class, {**preferences, **self.table}, where=self.name)

    def build(self, context: Context, **preferred: Any) -> Any:
        """Return a new part. Torch is seeded while it is built, as in a run."""
        options = self.options(**preferred)
        with seeded_torch(context.seeds.integer("init")):
            return self.cls(options, context)


class Contract:
    """The checks of one kind.

    Args:
        kind: as in the registry.
        course: see `Subject`.
        checks: the first checks, which other kinds share.
    """

    def __init__(self, kind: str, course: Callable[..., Any], checks: Iterable[Callable[[Subject], None]] = ()) -> None:
        self.kind = kind
        self.checks: list[Check] = []
        self._subject = functools.partial(Subject, course)
        self.share(checks)

    def check(self, function: Callable[[Subject], None]) -> Check:
        """Add a check (a decorator). The result takes the arguments of the kind's `check_` function."""

        @functools.wraps(function)
        def public(*arguments: Any, **options: Any) -> None:
            _refuse_disabled_asserts()
            function(self._subject(*arguments, **options))

        del public.__wrapped__  # its signature is not the public one
        self.checks.append(public)
        return public

    def share(self, checks: Iterable[Callable[[Subject], None]]) -> None:
        """Add checks that other kinds share."""
        for function in checks:
            self.check(function)

    def run(self, *arguments: Any, **options: Any) -> Iterator[CheckResult]:
        """Run every check, also after one failed. Raises `ConfigError` if the `options` are wrong."""
        _refuse_disabled_asserts()
        if options and hasattr(getattr(arguments[0], "Options", None), "__pydantic_fields__"):
            self._subject(*arguments, **options).options()  # once here, and not in every check
        yield from (_run(check, arguments, options) for check in self.checks)

    def hold(self, *arguments: Any, **options: Any) -> None:
        """Run every check and raise one `AssertionError` that names all that failed."""
        results = list(self.run(*arguments, **options))
        failed = [result for result in results if not result.passed]
        if failed:
            names_by_message: dict[str, list[str]] = {}
            for result in failed:
                names_by_message.setdefault(result.message, []).append(result.name)
            lines = "".join(f"\n  {', '.join(names)}: {message}" for message, names in names_by_message.items())
            place = defined_in(arguments[0])
            raise AssertionError(
                f"{name_of(arguments[0])} fails {len(failed)} of {len(results)} checks of the kind {self.kind}:{lines}"
                + (f"\nIt is in {place}." if place else "")
            ) from failed[0].error


def name_of(subject: Any) -> str:
    """Return what to call a class or a factory in a message."""
    return str(getattr(subject, "__qualname__", None) or repr(subject)).rpartition(".")[2]


def defined_in(subject: Any) -> str:
    """Return "file, line N" of a class or function; "" if it is in no file."""
    try:
        return f"{Path(inspect.getsourcefile(subject) or '').name}, line {inspect.getsourcelines(subject)[1]}"
    except (OSError, TypeError):
        return ""


def _run(check: Check, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> CheckResult:
    name: str = getattr(check, "__name__", repr(check))
    try:
        check(*arguments, **options)
    except AssertionError as error:
        return CheckResult(name, False, str(error) or _crash(error), error)
    except (Exception, SystemExit) as error:  # the other checks still run
        return CheckResult(name, False, _crash(error), error)
    return CheckResult(name, True)


def _crash(error: BaseException) -> str:
    """Return what was raised, and where: in the author's file if one was on the way, else in the innermost."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    path = Path(frame.filename)
    # Files of this package are named with it: an author's own file may have the same name, such as parts.py.
    file = path.relative_to(_PACKAGE.parent).as_posix() if path.is_relative_to(_PACKAGE) else path.name
    place = place_of(error) or f"{file}, line {frame.lineno}"
    message = f": {error}" if str(error) else ""
    return f"raised {type(error).__name__}{message} ({place})"


_PACKAGE = Path(__file__).parents[1]


def _refuse_disabled_asserts() -> None:
    if not __debug__:
        raise RuntimeError("the checks are assert statements, which python -O leaves out: run them without -O.")
