"""The machinery of the kit: checks, the contracts that gather them, and what a check is handed.

* `Contract`: a kind's checks; each is a function named after what it holds a part to.
* `Subject`: a class with the values of its options, built in whatever context a check wants.
* `CheckResult`: how one check went.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from cartpole_dqn.contracts.options import check_options, fields_of
from cartpole_dqn.contracts.parts import Context
from cartpole_dqn.contracts.seeding import seeded_torch

T = TypeVar("T")
S = TypeVar("S")
Check = Callable[..., None]
"""Takes what the public function of its kind takes; raises `AssertionError` where the contract is broken."""


@dataclass(frozen=True)
class CheckResult:
    """How one check went; `message` says what was broken, and is empty where it passed."""

    name: str
    passed: bool
    message: str = ""
    error: BaseException | None = field(default=None, repr=False, compare=False)


class Subject(Generic[T]):
    """A class under check and its options.

    Args:
        cls: built as `cls(options, context)`.
        **options: values of `cls.Options`; the rest have their defaults.
    """

    def __init__(self, cls: Callable[..., T], /, **options: Any) -> None:
        self.cls = cls
        self.name = name_of(cls)
        self.table = options

    @property
    def options_class(self) -> type:
        """`cls.Options`."""
        found = getattr(self.cls, "Options", None)
        assert isinstance(found, type), f"{self.name} has no class attribute Options: give it an options class."
        return found

    def options(self, **preferred: Any) -> Any:
        """Return the options; a `preferred` value counts where it is declared and was not given."""
        declared = fields_of(self.options_class)
        wanted = {name: value for name, value in preferred.items() if name in declared}
        return check_options(self.options_class, {**wanted, **self.table}, where=self.name)

    def build(self, context: Context, **preferred: Any) -> T:
        """Return a new instance, told `context`; torch is seeded meanwhile, as it is in a run."""
        options = self.options(**preferred)
        with seeded_torch(context.seeds.integer("init")):
            return self.cls(options, context)


class Contract(Generic[S]):
    """The checks of one kind.

    Args:
        kind: as the registry has it.
        subject: makes what each check is handed from the arguments of the public functions.
        checks: those that several kinds share; they come first.
    """

    def __init__(self, kind: str, subject: Callable[..., S], checks: Iterable[Callable[[S], None]] = ()) -> None:
        self.kind = kind
        self.checks: list[Check] = []
        self._subject = subject
        self.share(checks)

    def check(self, function: Callable[[S], None]) -> Check:
        """Add a check (a decorator); the result takes what the kind's public function takes."""

        @functools.wraps(function)
        def public(*given: Any, **options: Any) -> None:
            _refuse_disabled_asserts()
            function(self._subject(*given, **options))

        del public.__wrapped__  # its signature is not the public one
        self.checks.append(public)
        return public

    def share(self, checks: Iterable[Callable[[S], None]]) -> None:
        """Add checks that other kinds have too."""
        for function in checks:
            self.check(function)

    def run(self, *given: Any, **options: Any) -> list[CheckResult]:
        """Run every check, whatever the others say. Raises `ConfigError` where the `options` are wrong."""
        _refuse_disabled_asserts()
        subject = self._subject(*given, **options)
        if (
            options
            and isinstance(subject, Subject)
            and hasattr(getattr(subject.cls, "Options", None), "__pydantic_fields__")
        ):
            subject.options()  # said once here, and not by every check
        return [_run(check, given, options) for check in self.checks]

    def hold(self, *given: Any, **options: Any) -> None:
        """Run every check and raise one `AssertionError` that names each broken contract."""
        results = self.run(*given, **options)
        failed = [result for result in results if not result.passed]
        if failed:
            said: dict[str, list[str]] = {}
            for result in failed:
                said.setdefault(result.message, []).append(result.name)
            lines = "".join(f"\n  {', '.join(names)}: {message}" for message, names in said.items())
            raise AssertionError(
                f"{name_of(given[0])} fails {len(failed)} of {len(results)} checks of the kind {self.kind}:{lines}"
            ) from failed[0].error


def name_of(subject: Any) -> str:
    """Return what to call a class or a factory in a message."""
    return str(getattr(subject, "__qualname__", None) or repr(subject)).rpartition(".")[2]


def _run(check: Check, given: tuple[Any, ...], options: Mapping[str, Any]) -> CheckResult:
    name: str = getattr(check, "__name__", repr(check))
    try:
        check(*given, **options)
    except AssertionError as error:
        return CheckResult(name, False, str(error) or _crash(error), error)
    except (Exception, SystemExit) as error:  # a part's fault must not end the others' checks
        return CheckResult(name, False, _crash(error), error)
    return CheckResult(name, True)


def _crash(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    said = f": {error}" if str(error) else ""
    return f"raised {type(error).__name__}{said} ({Path(frame.filename).name}, line {frame.lineno})"


def _refuse_disabled_asserts() -> None:
    if not __debug__:
        raise RuntimeError("the checks are assert statements, which python -O leaves out: run them without -O.")
