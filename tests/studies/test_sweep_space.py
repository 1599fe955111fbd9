"""Which settings a sweep tries: grids and their commas, ranges and their draws, names that are fit for folders."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.errors import ConfigError, UserError
from cartpole_dqn.studies.sweep_plan import SweepPlan
from cartpole_dqn.studies.sweep_space import (
    Choice,
    Range,
    Setting,
    as_toml,
    draw,
    grid_settings,
    parse_grid,
    parse_variants,
    read_space,
    read_space_table,
    setting_labels,
    space_table,
    texts_of,
)

plain = st.recursive(
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(plain)
def test_a_value_as_toml_is_read_as_that_value(value: Any) -> None:
    text = as_toml(value)
    assert "\n" not in text
    assert tomllib.loads(f"value = {text}")["value"] == value
    assert Setting(texts_of({"k": value})).values == {"k": value}


def test_values_of_python_are_those_of_toml() -> None:
    values = (np.float64(1e-3), np.float32(0.5), np.int64(3), np.True_, (1, (2,)), Path("a/b"), {"a": (1.0,)})
    plain_values = [*Setting(texts_of(dict(zip("abcdefg", values, strict=True)))).values.values()]
    assert plain_values == [0.001, 0.5, 3, True, [1, [2]], "a/b", {"a": [1.0]}]
    assert [type(value) for value in plain_values[:4]] == [float, float, int, bool]
    assert as_toml('a"b, c') == r'"a\"b, c"'


def test_a_class_is_its_reference() -> None:
    assert as_toml({"name": Setting}) == '{"name" = "cartpole_dqn.studies.sweep_space:Setting"}'


@given(st.lists(plain.map(as_toml), min_size=1, max_size=4, unique=True))
def test_commas_inside_values_split_nothing(values: list[str]) -> None:
    read = [tomllib.loads(f"value = {value}")["value"] for value in values]
    if any(a == b for a, b in itertools.combinations(read, 2)):
        return  # 1 and 1.0: one value, written twice
    quotes = [value for value in values if "\\" in value]  # an escaped quote is for files, not for a command line
    if not quotes:
        assert parse_grid([f"a.b={','.join(values)}"]) == {"a.b": [value.strip() for value in values]}


def test_a_grid_is_every_combination() -> None:
    grid = parse_grid(["agent.optimiser.lr=1e-3, 5e-4", "agent.target_update={name='hard', every=9},{name='soft'}"])
    assert grid == {
        "agent.optimiser.lr": ["1e-3", "5e-4"],
        "agent.target_update": ["{name='hard', every=9}", "{name='soft'}"],
    }
    assert [(setting.values, setting.label) for setting in grid_settings(grid)] == [
        ({"agent.optimiser.lr": lr, "agent.target_update": update}, f"lr={lr},target_update={update['name']}")
        for lr in (0.001, 0.0005)
        for update in ({"name": "hard", "every": 9}, {"name": "soft"})
    ]
    assert grid_settings({}) == [Setting()]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["a"], "expected KEY=A,B,..."),
        (["a=1,,2"], "expected KEY=A,B,..."),
        (["a=1,2", "a=3"], "comes twice: give all its values in one"),
        (["a=1e-3,0.001"], "0.001 comes twice"),
        (["seed=1,2"], "give it by --seeds"),
        (["steps=100,200"], "give it by --steps"),
    ],
)
def test_bad_grids_get_a_sentence(texts: list[str], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        SweepPlan(seeds=(0,), grid=parse_grid(texts))


def test_variants_are_settings_with_names(tmp_path: Path) -> None:
    path = tmp_path / "choices.toml"
    path.write_text('[double]\n"agent.double" = false\nobservation = [{wrapper = "resize", height = 3}]\n[plain]\n')
    variants = parse_variants(["hard:agent.target_update={name='hard', every=9}, agent.policy=online", str(path)])
    assert [(variant.values, variant.label) for variant in variants] == [
        ({"agent.target_update": {"name": "hard", "every": 9}, "agent.policy": "online"}, "hard"),
        ({"agent.double": False, "observation": [{"wrapper": "resize", "height": 3}]}, "double"),
        ({}, "plain"),
    ]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["a:"], "expected NAME:KEY=VALUE,..."),
        (["a:b=1,=2"], "expected NAME:KEY=VALUE,..."),
        (["../a:b=1"], "expected a name of letters, digits and ._+-"),
        (["a=b,seed=1"], "expected a name of letters, digits and ._+-"),
        (["a:b=1", "A"], "the variant A comes twice"),
        (["a:steps=1"], "give it by --steps"),
        (["none.toml"], "cannot read the configuration none.toml"),
        (["a:b=1", "bad.toml"], "bad.toml: x: expected a table [x] of settings, got 3."),
    ],
)
def test_bad_variants_get_a_sentence(
    texts: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("x = 3")
    with pytest.raises(UserError, match=re.escape(words)):
        SweepPlan(seeds=(0,), variants=parse_variants(texts))


SPACE = """
"agent.optimiser.lr" = {low = 1e-4, high = 1e-2, log = true}
[agent.n_step]
low = 1
high = 5
int = true
[agent.network]
hidden = {values = [[64], [64, 64]]}
"""


def test_a_space_is_read_from_quoted_keys_and_from_tables(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    space = read_space(path)
    assert space == {
        "agent.optimiser.lr": Range(low=1e-4, high=1e-2, log=True),
        "agent.n_step": Range(low=1, high=5, int=True),
        "agent.network.hidden": Choice(([64], [64, 64])),
    }
    assert read_space_table("again", space_table(space)) == space


BAD = {
    "": "has no ranges",
    "a = 3": "expected a table with low and high",
    "a = {high = 1}": "a.low: expected a value, got nothing. The lowest number; a choice has values = [A, B, ...]",
    "a = {low = 1, high = inf}": "a.high: expected a finite number, got inf",
    "a = {low = 2, high = 1}": "expected low below high, got 2 and 1",
    "a = {low = 0, high = 1, log = true}": "log = true needs a low above 0, got 0",
    "a = {low = 0.5, high = 3, int = true}": "int = true needs whole numbers, got 0.5",
    "a = {low = 1, hihg = 2}": "a.hihg. Did you mean 'high'?",
    "a = {values = []}": "expected values = [A, B, ...]",
    "a = {values = [1], low = 1}": "no other key",
    "a = [": "is not valid TOML",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_spaces_get_a_sentence_with_the_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(BAD[text])) as caught:
        read_space(path)
    assert "space.toml" in str(caught.value)
    with pytest.raises(ConfigError, match="cannot read"):
        read_space(tmp_path / "none.toml")


def test_a_space_of_seeds_is_refused() -> None:
    with pytest.raises(UserError, match="seed is the same for all settings of a sweep: give it by --seeds"):
        SweepPlan(seeds=(0,), space={"seed": Choice((1,))}, draws=1)


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.booleans(), st.booleans(), st.integers(0, 99))
def test_draws_lie_in_their_range(a: float, b: float, log: bool, whole: bool, seed: int) -> None:
    low, high = sorted((a, b))
    if whole:
        low, high = float(int(low) + 1), float(int(high) + 3)
    if low == high:
        return
    space = {"x": Range(low=low, high=high, log=log, int=whole)}
    for _ in range(20):
        value = draw(space, np.random.default_rng(seed))["x"]
        assert low <= value <= high
        assert isinstance(value, int) == whole


def test_draws_are_spread_as_was_said() -> None:
    generator = np.random.default_rng(0)
    space = {"l": Range(low=1e-4, high=1e-2, log=True), "n": Range(low=1, high=4, int=True), "c": Choice(("1", "2"))}
    drawn = [draw(space, generator) for _ in range(600)]
    assert 240 < sum(values["l"] < 1e-3 for values in drawn) < 360, "a decade is as likely as the other"
    counts = [sum(values["n"] == n for values in drawn) for n in (1, 2, 3, 4)]
    assert min(counts) > 110, "the ends are as likely as the rest"
    assert 240 < sum(values["c"] == "1" for values in drawn) < 360
    again = np.random.default_rng(0)
    assert [draw(space, again) for _ in range(600)] == drawn


def test_labels_are_short_and_say_what_differs() -> None:
    def labels(*settings: dict[str, str]) -> list[str]:
        return setting_labels(settings)

    assert labels({"agent.optimiser.lr": "1e-3", "agent.n_step": "3"}) == ["lr=0.001,n_step=3"]
    assert labels({"agent.low.replay.capacity": "1", "agent.high.replay.capacity": "2"}) == [
        "low.replay.capacity=1,high.replay.capacity=2"
    ]
    assert labels({"agent.target_update": "{name='hard', every=9}"}) == ["target_update=hard"]
    assert labels({"agent.network.name": "mlp"}) == ["network=mlp"]
    assert labels({"a": "[64, 64]"}, {"a": "true"}, {"a": "''"}) == ["a=64-64", "a=true", "a=empty"]
    assert labels({"a": "0.00031781234567"}, {"a": "-1"}, {"a": "1"}) == ["a=0.0003178", "a=-1", "a=1"]
    assert labels({}) == [""]
    # As in older sweeps, which a change of names would train again.
    assert labels({"a": "{name='x', n=1}"}, {"a": "{name='x', n=2}"}) == ["a=x,050819bf", "a=x,3aba5d03"]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["agent.a", "agent.b.a", "env.kwargs.x/y", "c"]),
            st.text(min_size=1, max_size=60),
            min_size=1,
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda values: tuple(sorted(values.items())),
    )
)
def test_labels_are_all_different_and_fit_for_folders(values: list[dict[str, str]]) -> None:
    labels = setting_labels(values)
    assert len({label.lower() for label in labels}) == len(labels)
    for label in labels:
        assert re.fullmatch(r"[A-Za-z0-9._+=,-]{1,140}", label)
        assert not label.startswith(("-", "."))
