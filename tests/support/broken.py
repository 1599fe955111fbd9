"""Faulty parts for tests of the conformance kit, each a statement long.

* `broken`: a subclass with other members.
* `after`: a subclass in which the result of a method is changed.
* `name_all`: names these classes after the variables that hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def broken(base: type, **members: Any) -> Any:
    """Return a subclass of `base` with these members."""
    return type("broken", (base,), members)


def after(base: type, method: str, change: Callable[[Any], Any]) -> Any:
    """Return a subclass of `base` whose `method` returns `change(result)`."""
    original = getattr(base, method)
    return broken(base, **{method: lambda self, *given, **named: change(original(self, *given, **named))})


def name_all(namespace: dict[str, Any]) -> None:
    """Give the classes in a module's namespace their names."""
    for name, value in namespace.items():
        if isinstance(value, type) and value.__name__ == "broken":
            value.__name__ = value.__qualname__ = name
            value.__module__ = namespace["__name__"]  # where Gymnasium and pydantic look for it
