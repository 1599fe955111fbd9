"""The checks of options, which all kinds with options share: `SHARED`."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any

from cartpole_dqn.contracts.options import check_options, describe_options, fields_of, to_table
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.testing._contract import Subject


def check_options_are_declared(part: Subject) -> None:
    """`Options` is a frozen `@options_class`, gives each field's effect, and survives a TOML table."""
    cls = part.options_class
    options = part.options()
    mute = [info.name for info in describe_options(cls) if not info.effect]
    assert not mute, f"the options {', '.join(mute)} of {part.name} have no effect text: use option(effect=...)."
    for name in fields_of(cls):
        try:
            setattr(options, name, getattr(options, name))
        except dataclasses.FrozenInstanceError:
            continue
        raise AssertionError(
            f"option {name} can be set after it is checked: decorate {cls.__name__} with @options_class."
        )
    again: Any = check_options(cls, to_table(options), where=part.name)
    assert again == options, f"the options {options!r} changed in a TOML table to {again!r}."


def check_bad_options_are_refused(part: Subject) -> None:
    """A boolean, string, NaN or infinity where a number is expected raises `ConfigError`."""
    cls = part.options_class
    for name, field in fields_of(cls).items():
        for value in (True, "1", math.nan, math.inf) if _is_number(field.annotation) else ():
            try:
                check_options(cls, {**part.table, name: value}, where=part.name)
            except ConfigError:
                continue
            raise AssertionError(
                f"option {name} accepts {value!r} as a number: decorate {cls.__name__} with @options_class."
            )


SHARED = (check_options_are_declared, check_bad_options_are_refused)


def _is_number(annotation: Any) -> bool:
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    choices = set(typing.get_args(annotation)) if union else {annotation}
    return choices <= {int, float, type(None)}
