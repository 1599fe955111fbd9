from __future__ import annotations

from datetime import date, time
from typing import Any, Literal

import pytest

from cartpole_dqn.contracts.options import Part, check_options, describe_options, option, options_class, part
from cartpole_dqn.errors import ConfigError


@options_class
class Example:
    size: int = option(default=3, ge=1, le=10, effect="how large", typical="2 to 5")
    rate: float = option(default=0.5, gt=0, lt=1, effect="how fast")
    kind: Literal["a", "b"] = option(default="a", effect="which")
    flag: bool = option(default=False, effect="whether")
    sizes: tuple[int, ...] = option(default=(1, 2), effect="how large each")
    limit: float | None = option(default=None, effect="at most")
    width: int | list[int] = option(default=4, effect="how wide, or how wide each")
    replay: Part = part("replay", "uniform", capacity=7)


@options_class
class Needy:
    must: int = option(effect="needed")


def test_defaults_and_values() -> None:
    assert check_options(Example, {}, where="x") == Example()
    options = check_options(Example, {"sizes": [4, 5], "rate": 0.25, "replay": {"name": "other"}}, where="x")
    assert options.sizes == (4, 5)
    assert options.rate == 0.25
    assert options.replay == {"name": "other"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"size": "three"}, ["x.size", "integer", "'three'"]),
        ({"size": True}, ["x.size", "integer", "True"]),
        ({"size": 2.5}, ["x.size", "integer", "2.5"]),
        ({"size": 0}, ["x.size", "at least 1", "How large"]),
        ({"rate": 1.0}, ["x.rate", "less than 1"]),
        ({"rate": float("nan")}, ["x.rate", "finite"]),
        ({"rate": float("inf")}, ["x.rate"]),
        ({"rate": False}, ["x.rate", "number", "False"]),
        ({"kind": "c"}, ["x.kind", "'a' or 'b'", "'c'"]),
        ({"flag": 1}, ["x.flag", "boolean"]),
        ({"sizes": 3}, ["x.sizes"]),
        ({"sizes": [1, "two"]}, ["x.sizes[1]", "integer"]),
        ({"width": "wide"}, ["x.width: expected a valid integer or a valid array, got 'wide'"]),
        ({"szie": 3}, ["unknown option x.szie", "Did you mean 'size'?"]),
        ({"zzz": 3}, ["unknown option x.zzz", "Known: flag, kind"]),
        ({"size": 0, "szie": 3, "zzz": 1}, ["unknown option x.szie", "unknown option x.zzz", "x.size: expected"]),
        ({"size": object()}, ["x.size: ", "is of the type object, and a configuration holds numbers"]),
        ({"sizes": [1, date(2024, 1, 2)]}, ["x.sizes[1]: 2024-01-02 is of the type date"]),
        ({"replay": {"name": "r", "at": time(3)}}, ["x.replay.at: 03:00:00 is of the type time"]),
    ],
)
def test_bad_tables_are_refused_in_words(table: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_options(Example, table, where="x")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_value() -> None:
    with pytest.raises(ConfigError, match=r"x\.must: expected a value, got nothing\. Needed\."):
        check_options(Needy, {}, where="x")


def test_descriptions() -> None:
    infos = {info.name: info for info in describe_options(Example)}
    assert infos["size"].range == ">= 1, <= 10"
    assert infos["size"].type == "int"
    assert infos["size"].typical == "2 to 5"
    assert infos["replay"].part == "replay"
    assert infos["replay"].default == {"name": "uniform", "capacity": 7}
    assert describe_options(Needy)[0].required
