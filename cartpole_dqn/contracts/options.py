"""Declare the options of a component, and check a table of them.

* `options_class`: decorates an options class, a frozen, keyword-only dataclass validated by pydantic.
* `option`: declares a field: default, range, effect, typical values. `part`: declares a field that holds a `Part`.
* `check_options`: turns a table into an instance, or raises `ConfigError`. `takes`: checks the value of one option.
* `describe_options`: the fields as data. `to_table`: an instance as a plain table. `changed`: a changed copy.
* `expectation`: a message of pydantic in the words of this package.

>>> @options_class
... class SoftOptions:
...     tau: float = option(default=0.005, gt=0, le=1, effect="fraction of the online weights mixed in at each update")
>>> check_options(SoftOptions, {"tau": 0.01}, where="agent.target_update")
SoftOptions(tau=0.01)
>>> check_options(SoftOptions, {"tua": 0.01}, where="agent.target_update")
Traceback (most recent call last):
    ...
cartpole_dqn.errors.ConfigError: unknown option agent.target_update.tua. Did you mean 'tau'?
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast, dataclass_transform, get_type_hints

import numpy as np
import pydantic
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from cartpole_dqn.errors import ConfigError, bad, did_you_mean

T = TypeVar("T")


class Part(dict[str, Any]):
    """A table that selects a component: its `name` and its options, as in TOML.

    Once a configuration is complete, `options` is the checked object that the component's constructor takes; before
    that it is None. So do not modify a complete table. Make a copy, `{**part, "capacity": 5}`, which is checked when
    the part is built.
    """

    options: Any = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        def check(value: Any) -> Part:
            if not isinstance(value, Mapping):
                raise ValueError("a table")
            return value if isinstance(value, Part) else cls(value)

        return core_schema.no_info_plain_validator_function(check)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"type": "object"}


_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def option(
    default: Any = dataclasses.MISSING,
    *,
    default_factory: Callable[[], Any] | None = None,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    effect: str,
    typical: str = "",
) -> Any:
    """Declare a field of an options class: default, range, effect and typical values."""
    defaults: dict[str, Any] = {}
    if default_factory is not None:
        defaults["default_factory"] = default_factory
    elif default is not dataclasses.MISSING:
        defaults["default"] = default
    return Field(
        **defaults, kw_only=True, gt=gt, ge=ge, lt=lt, le=le, description=effect, json_schema_extra={"typical": typical}
    )


def part(kind: str, name: str, *, effect: str = "", **table: Any) -> Any:
    """Declare a field that selects a component of `kind`. The default is `name` with the options in `table`."""
    return Field(
        default_factory=lambda: Part(name=name, **table),
        kw_only=True,
        description=effect or f"the {kind} and its options",
        json_schema_extra={"part": kind},
    )


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option, part))
def options_class(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass that rejects unknown keys, wrong types and numbers out of range."""
    return cast(type[T], pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=_STRICT)(cls))


@options_class
class NoOptions:
    """The options of a part that declares none."""


@dataclass(frozen=True)
class OptionInfo:
    """One option as data. `type` and `range` are text; `part` is the kind of component that it selects, or ""."""

    name: str
    type: str
    default: Any
    required: bool
    range: str
    effect: str
    typical: str
    part: str


def fields_of(cls: type) -> Mapping[str, FieldInfo]:
    """Return the fields of an options class by name."""
    fields: Mapping[str, FieldInfo] | None = getattr(cls, "__pydantic_fields__", None)
    if fields is None:
        raise ConfigError(f"{cls.__module__}.{cls.__qualname__} is no options class: decorate it with @options_class.")
    return fields


def describe_options(cls: type) -> list[OptionInfo]:
    """Return every option of a class, for listings and documentation."""
    hints = get_type_hints(cls)
    return [
        OptionInfo(
            name=name,
            type=_type_text(hints.get(name, field.annotation)),
            default=None if field.is_required() else field.get_default(call_default_factory=True, validated_data={}),
            required=field.is_required(),
            range=_range_text(field),
            effect=field.description or "",
            typical=str(_extra(field).get("typical", "")),
            part=str(_extra(field).get("part", "")),
        )
        for name, field in fields_of(cls).items()
    ]


def check_options(cls: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """Check a table of options, and return it as an instance of `cls`.

    Args:
        cls: a class decorated with `options_class`.
        table: keys and values as in TOML, with lists for tuples.
        where: the dotted path of the table, for error messages.

    Raises:
        ConfigError: a key is unknown, a type is wrong, or a number is out of range or not finite.
    """
    _refuse_foreign(table, where)
    try:
        # JSON mode is strict about numbers and booleans but accepts a list for a tuple, as TOML needs. NumPy's numbers
        # become Python's.
        instance = TypeAdapter(cls).validate_json(json.dumps(dict(table), default=lambda number: number.item()))
    except ValidationError as error:
        raise ConfigError(_explain(where, cls, error.errors())) from None
    parts = {key: value for key, value in table.items() if isinstance(value, Part)}
    return changed(instance, **parts) if parts else instance  # JSON lost their checked options


def takes(cls: type, key: str, value: Any) -> bool:
    """Return whether an options class has the option `key` and accepts `value` for it."""
    if key not in fields_of(cls):
        return False
    try:
        TypeAdapter(cls).validate_json(json.dumps({key: value}, default=repr))
    except ValidationError as error:
        return all(not e["loc"] or e["loc"][0] != key for e in error.errors())
    return True


def to_table(instance: Any) -> dict[str, Any]:
    """Return an options instance as a plain table, with lists for tuples and without fields that are None."""
    values = {name: getattr(instance, name) for name in fields_of(type(instance))}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def expectation(message: str) -> str:
    """Return a message of pydantic in the words of this package: "Input should be less" -> "expected less"."""
    message = message.removeprefix("Value error, ").replace("Input should be", "expected").partition(", unable to")[0]
    return message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")


def changed(instance: T, **changes: Any) -> T:
    """Return a copy of an options instance with some fields changed and checked."""
    return cast(T, dataclasses.replace(cast(Any, instance), **changes))


def _section(field: FieldInfo) -> type | None:
    """Return the options class of a field that holds a section."""
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and hasattr(annotation, "__pydantic_fields__") else None


def _refuse_foreign(value: Any, place: str) -> None:
    """Raise a `ConfigError` if a value or one inside it is of a type that JSON lacks, such as a date of TOML."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_foreign(inner, _dotted(place, key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            _refuse_foreign(inner, f"{place}[{i}]")
    elif value is not None and not isinstance(value, str | int | float | np.number | np.bool_):
        type_name = type(value).__name__
        raise ConfigError(
            f"{place}: {value} is of the type {type_name}, and a configuration holds numbers, text, lists and tables."
        )


def _plain(value: Any) -> Any:
    if hasattr(type(value), "__pydantic_fields__"):
        return to_table(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _dotted(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _explain(where: str, cls: type, errors: Sequence[Any]) -> str:
    """Return a sentence for each wrong place, unknown options first. A union's members share one sentence."""
    places: dict[str, list[Any]] = {}
    unknown = []
    for error in errors:
        place, section = _place(where, cls, error["loc"])
        if error["type"] == "unexpected_keyword_argument":
            key = str(error["loc"][-1])
            known = fields_of(section) if section is not None else ()
            unknown.append(f"unknown option {bad(_dotted(place, key))}.{did_you_mean(key, known)}")
        else:
            places.setdefault(place, []).append(error)
    return " ".join([*unknown, *(_sentence(place, cls, wrong) for place, wrong in places.items())])


def _place(where: str, cls: type, steps: Sequence[str | int]) -> tuple[str, type | None]:
    """Return the dotted path of an error, without the steps that name a member of a union, and the class there."""
    place = where
    section: type | None = cls
    for step in steps:
        if isinstance(step, int):
            place = f"{place}[{step}]"
        elif section is not None and step in fields_of(section):
            place = _dotted(place, step)
            section = _section(fields_of(section)[step])
    return place, section


def _sentence(place: str, cls: type, errors: Sequence[Any]) -> str:
    first = errors[0]
    value = first.get("input")
    if first["type"] == "missing":
        message, actual = "a value", "nothing"
    else:
        texts = (expectation(str(e["msg"])).removeprefix("expected ") for e in errors)
        message, actual = " or ".join(dict.fromkeys(texts)), f"{bad(repr(value))} ({type(value).__name__})"
    top = fields_of(cls).get(str(first["loc"][0])) if first["loc"] else None
    effect = top.description if top is not None and _section(top) is None else ""
    hint = f" {effect[0].upper()}{effect[1:]}." if effect else ""
    return f"{place}: expected {message}, got {actual}.{hint}"


def _extra(field: FieldInfo) -> Mapping[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _type_text(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    return text.replace("typing.", "").replace("NoneType", "None")


def _range_text(field: FieldInfo) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    return ", ".join(
        f"{sign} {int(bound) if float(bound).is_integer() else bound!r}"
        for constraint in field.metadata
        for attribute, sign in signs.items()
        if (bound := getattr(constraint, attribute, None)) is not None
    )
