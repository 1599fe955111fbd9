"""`typed`: checks the arguments of a public function against its annotations."""

from __future__ import annotations

import difflib
import functools
import inspect
import numbers
import reprlib
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from cartpole_dqn.errors import UserError, bad, did_you_mean

P = ParamSpec("P")
T = TypeVar("T")

_ACCEPTED: dict[Any, Any] = {int: numbers.Integral, float: numbers.Real, bool: (bool, np.bool_)}
"""What is taken for a type besides its own instances: NumPy's numbers, and whole ones for a float."""
_NAMES: dict[Any, str] = {
    **{int: "a whole number", float: "a number", bool: "True or False", str: "a string", NoneType: "None"},
    **{Mapping: "a dictionary", Sequence: "a list"},
}

_INNER: dict[Any, str] = {
    **{Mapping: " of dictionaries", Sequence: " of lists", int: " of whole numbers", str: " of strings"},
}


def typed(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function raise a `UserError` for an argument that does not fit its annotation. Nothing is converted.

    An unknown keyword raises Python's own `TypeError`, with the name of the nearest.

    Pydantic's `validate_call` converts arguments, or refuses NumPy's numbers if it is strict.

    >>> @typed
    ... def draw(color: str, sizes: Sequence[int] = ()) -> None: ...
    >>> draw("red", sizes=3)
    Traceback (most recent call last):
        ...
    cartpole_dqn.errors.UserError: sizes: expected a list of whole numbers, got 3 (int).
    """
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, Any]:
        return get_type_hints(function)  # late: they may name classes that come after the function

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            arguments = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{function.__name__}() {error}.{_meant(signature, kwargs)}") from None
        for name, argument in arguments.items():
            variadic = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
            hint = hints().get(name, Any)
            for value in argument if variadic else [argument]:
                if not _fits(value, hint):
                    problem = f"expected {_described(hint)}, got {bad(reprlib.repr(value))} ({type(value).__name__})"
                    raise UserError(f"{name}: {problem}.")
        return function(*args, **kwargs)

    return checked


def _meant(signature: inspect.Signature, keywords: Mapping[str, Any]) -> str:
    """Return what a call with an unknown keyword may have meant, else ""."""
    names = [name for name in signature.parameters if name != "self"]
    unknown = next((name for name in keywords if name not in names), None)
    if unknown is None:
        return ""
    if "settings" in names and not difflib.get_close_matches(unknown, names):
        return " Other settings go into `settings`, a dictionary of tables."
    return str(UserError(did_you_mean(unknown, names)))


def _fits(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return any(_fits(value, member) for member in get_args(hint))
    if kind is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if hint is Any or not isinstance(kind, type):  # Any is a class
        return True
    if (isinstance(value, bool) and kind in (int, float)) or (isinstance(value, str) and kind is Sequence):
        return False
    if not isinstance(value, _ACCEPTED.get(kind, kind)):
        return False
    inner = get_args(hint)[-1:] if kind in (Mapping, Sequence) else ()
    return (
        all(_fits(element, inner[0]) for element in (value.values() if kind is Mapping else value)) if inner else True
    )


def _described(hint: Any) -> str:
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return " or ".join(_described(member) for member in get_args(hint) if member is not NoneType)
    if kind is Literal:
        return " or ".join(map(repr, get_args(hint)))
    inner = get_args(hint)[-1] if kind in (Mapping, Sequence) else None
    of = _INNER.get(get_origin(inner) or inner, "")
    return f"{_NAMES.get(kind) or f'a {kind.__name__}'}{of}"
