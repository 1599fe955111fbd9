from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cartpole_dqn.errors import RunError
from cartpole_dqn.studies.vector import Rates, as_markdown, measure_vector

MACHINE = {
    "cpu": "A processor",
    "cpu_count": 4,
    "platform": "Linux 6 x86_64",
    "python": "CPython 3.11.7",
    "versions": {"gymnasium": "1.4.0", "rich": "15", "torch": "2.15.0"},
}


def test_the_table_has_medians_and_says_where_they_come_from() -> None:
    rates = [
        Rates("state", "sync", {1: [900.0, 1100.0, 1000.4], 8: [12_345.0, 12_345.0, 13_000.0]}),
        Rates("state", "async", {1: [5.0, 6.0, 7.0], 8: [8.0, 9.0, 10.0]}),
        Rates("pixels", "sync", {1: [1.0], 8: [2.0]}),
        Rates("pixels", "async", {1: [3.0], 8: [4.0]}),
    ]
    lines = as_markdown("CartPole-v1", rates, MACHINE).splitlines()
    assert lines[0].startswith("CartPole-v1, environment steps a second over all environments")
    for word in ("A processor, 4 processors", "CPython 3.11.7", "torch 2.15.0, gymnasium 1.4.0."):
        assert word in lines[1]
    assert lines[3:] == [
        "| observation | environments | sync | async |",
        "|---|--:|--:|--:|",
        "| state | 1 | 1,000 (900 to 1,100) | 6 (5 to 7) |",
        "| state | 8 | 12,345 (12,345 to 13,000) | 9 (8 to 10) |",
        "| pixels | 1 | 1 | 3 |",
        "| pixels | 8 | 2 | 4 |",
    ]


@pytest.mark.process
def test_the_command_measures_both_ways(call: Callable[..., Any]) -> None:
    quick = ["--num-envs", "1", "--num-envs", "3", "--seconds", "0.05", "--repeats", "1"]
    said = call("benchmark", "vector", "--env", "FrozenLake-v1", "--obs", "state", *quick, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["env"] == "FrozenLake-v1"
    assert [(rates["obs"], rates["vector"]) for rates in found["rates"]] == [("state", "sync"), ("state", "async")]
    for rates in found["rates"]:
        assert rates["steps_per_second"].keys() == {"1", "3"}
        assert all(len(figures) == 1 and figures[0] > 1 for figures in rates["steps_per_second"].values())
    assert said.err.splitlines() == ["state, sync, 1 of 1", "state, async, 1 of 1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--env", "Pendulum-v1"], "finite number of actions"),
        (["--obs", "pixel"], "Known observations"),
        (["--env", "CartPol-v1"], "Did you mean 'CartPole-v1'?"),
        (["--num-envs", "0"], "--num-envs"),
        (["--seconds", "0"], "--seconds"),
    ],
)
def test_bad_input_gets_a_sentence(call: Callable[..., Any], arguments: list[str], words: str) -> None:
    said = call("benchmark", "vector", *arguments)
    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


@pytest.mark.process
def test_a_timing_that_fails_says_why() -> None:
    with pytest.raises(RunError, match=r"timing `CartPole-v1 state sync .*` failed:") as caught:
        measure_vector(observations=["state"], counts=[], repeats=1)
    assert "expected at least one argument" in str(caught.value)
