from __future__ import annotations

import copy
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.config.layers import merge_layers, parse_set
from cartpole_dqn.config.schema import (
    check_part,
    complete,
    default_layer,
    parse_toml,
    read_toml,
    with_step_timeout,
)
from cartpole_dqn.contracts.options import Part, changed, option, options_class, part
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, UnknownComponentError


@options_class
class AgentOptions:
    gamma: float = option(default=0.9, ge=0, le=1, effect="discount")
    replay: Part = part("replay", "ring", capacity=10)


@options_class
class OtherAgentOptions:
    gamma: float = option(default=0.5, ge=0, le=1, effect="discount")
    first: Part = part("replay", "ring")
    second: Part = part("replay", "tree")


@options_class
class RingOptions:
    capacity: int = option(default=100, ge=1, effect="slots")
    unique: bool = option(default=False, effect="no transition twice")


@options_class
class TreeOptions:
    capacity: int = option(default=200, ge=1, effect="slots")
    alpha: float = option(default=0.6, ge=0, effect="how much priorities count")


@options_class
class NoOptions:
    pass


KNOWN: dict[tuple[str, str], type] = {
    ("agent", "dqn"): AgentOptions,
    ("agent", "other"): OtherAgentOptions,
    ("replay", "ring"): RingOptions,
    ("replay", "tree"): TreeOptions,
    ("collector", "lockstep"): NoOptions,
    ("observer", "display"): NoOptions,
    ("observer", "metrics"): NoOptions,
}


def options_of(kind: str, name: str) -> type:
    if (kind, name) not in KNOWN:
        raise UnknownComponentError(f"unknown {kind} '{name}'.")
    return KNOWN[kind, name]


def merged(*layers: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    return merge_layers([default_layer(), *layers], options_of)


def test_higher_layers_win_and_sections_merge() -> None:
    table, notes = merged(
        {"steps": 10, "env": {"id": "A-v0", "num_envs": 2}, "observation": [{"wrapper": "x"}]},
        {"env": {"num_envs": 3}, "observation": []},
    )
    assert table["env"] == {
        "id": "A-v0", "num_envs": 3, "time_limit": "env", "vector": "sync", "step_timeout": 0.0, "kwargs": {}
    }  # fmt: skip
    assert table["observation"] == []
    assert notes == []


def test_renaming_a_part_keeps_what_the_new_part_declares() -> None:
    table, notes = merged(
        {"agent": {"name": "dqn", "replay": {"name": "ring", "capacity": 7, "unique": True}}},
        {"agent": {"replay": {"name": "tree"}}},
    )
    assert table["agent"]["replay"] == {"name": "tree", "capacity": 7}
    assert notes == [
        "agent.replay is now 'tree', which does not take the former unique: dropped; capacity = 7 stays from 'ring'."
    ]


def test_renaming_the_agent_keeps_what_fits() -> None:
    table, notes = merged(
        {"agent": {"name": "dqn", "gamma": 0.7, "replay": {"name": "ring"}}}, {"agent": {"name": "other"}}
    )
    assert table["agent"] == {"name": "other", "gamma": 0.7}
    assert notes == [
        "agent is now 'other', which does not take the former replay: dropped; gamma = 0.7 stays from 'dqn'."
    ]


@pytest.mark.parametrize(
    ("capacity", "above", "lines"),
    [
        (7, {}, ["agent.replay is now 'tree': capacity = 7 stays from 'ring'."]),
        (7, {"capacity": 9}, []),
        (200, {}, []),
    ],
    ids=["inherited", "overridden later", "the new part's default"],
)
def test_what_a_changed_part_inherits_is_said(capacity: int, above: dict[str, Any], lines: list[str]) -> None:
    below = {"agent": {"name": "dqn", "replay": {"name": "ring", "capacity": capacity}}}
    renamed = {"agent": {"replay": {"name": "tree"}}}
    assert merged(below, renamed, {"agent": {"replay": above}})[1] == lines


CHAIN = [
    {"wrapper": "render"},
    {"wrapper": "stack", "n": 2},
    {"wrapper": "resize", "h": 4},
    {"wrapper": "stack", "n": 3},
]


def edited(changes: dict[str, Any]) -> str:
    """The names of the entries, with their options."""
    entries = merged({"observation": CHAIN}, {"observation": changes})[0]["observation"]
    return ", ".join("".join(str(value) for value in entry.values()) for entry in entries)


@pytest.mark.parametrize(
    ("changes", "chain"),
    [
        ({}, "render, stack2, resize4, stack3"),
        ({"resize": {"h": 5}}, "render, stack2, resize5, stack3"),
        ({"stack#2": {"n": 9}, "stack": {"n": 8}}, "render, stack8, resize4, stack9"),
        ({"1": {"n": 7}}, "render, stack7, resize4, stack3"),
        ({"resize": {"drop": True}}, "render, stack2, stack3"),
        ({"resize": {"drop": False}}, "render, stack2, resize4, stack3"),
        ({"stack": {"drop": True}, "stack#2": {"n": 6}}, "render, resize4, stack6"),
        ({"gray": {"after": "render", "k": 1}}, "render, gray1, stack2, resize4, stack3"),
        ({"gray": {"before": "stack#2"}}, "render, stack2, resize4, gray, stack3"),
        ({"gray": {"after": 2}}, "render, stack2, resize4, gray, stack3"),
        ({"gray": {"after": "*"}}, "render, stack2, resize4, stack3, gray"),
        ({"gray": {"before": "*"}}, "gray, render, stack2, resize4, stack3"),
        ({"gray": {"after": "*"}, "dark": {"before": "gray"}}, "render, stack2, resize4, stack3, dark, gray"),
        ({"resize": {"before": "stack"}}, "render, resize4, stack2, stack3"),
        ({"resize": {"after": "*", "h": 1}}, "render, stack2, stack3, resize1"),
        ({"stack#3": {"after": "stack#2", "n": 1}}, "render, stack2, resize4, stack3, stack1"),
        ({"resize": {"drop": True}, "m:Resize": {"after": "stack"}}, "render, stack2, m:Resize, stack3"),
    ],
    ids=str,
)
def test_single_entries_of_a_list_change(changes: dict[str, Any], chain: str) -> None:
    before = copy.deepcopy(CHAIN)
    assert edited(changes) == chain
    assert before == CHAIN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rezise": {"h": 5}}, "observation.rezise: there is no such entry. Did you mean 'resize'? To insert it: "),
        ({"gray": {"drop": True}}, "observation.gray: there is no such entry. Known: render, resize, stack, stack#2."),
        ({"gray": {"after": "rendre"}}, "observation.gray.after: there is no entry 'rendre'. Did you mean 'render'?"),
        ({"stack": {"after": "stack"}}, "observation.stack.after: there is no entry 'stack'."),
        ({"gray": {"after": "render", "before": "stack"}}, "observation.gray: expected at most one of before"),
        ({"resize": {"drop": "yes"}}, "observation.resize: expected at most one of before"),
        ({"resize": 3}, "observation.resize: expected a table of options, got 3."),
        ({"9": {"h": 1}}, "observation.9: there is no such entry."),
    ],
    ids=str,
)
def test_changes_that_do_not_fit_get_a_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        edited(changes)


def test_observers_are_changed_and_added_by_their_names() -> None:
    table, _ = merged({"observer": {"display": {"drop": True}, "board": {"every": 5}}})
    assert table["observer"] == [{"name": "metrics"}, {"name": "board", "every": 5}]
    with pytest.raises(ConfigError, match="observation: expected a list of tables, got an entry 3"):
        merged({"observation": [3]}, {"observation": {"resize": {}}})


def test_completing_fills_every_default_of_every_part() -> None:
    config = complete(merged({"steps": 5, "agent": {"name": "other", "second": {"name": "ring"}}})[0], options_of)
    assert config.agent == {
        "name": "other",
        "gamma": 0.5,
        "first": {"name": "ring", "capacity": 100, "unique": False},
        "second": {"name": "ring", "capacity": 100, "unique": False},
    }


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "a run needs an end"),
        ({"steps": 0}, "steps: expected"),
        ({"steps": 5, "sedd": 1}, "unknown option sedd. Did you mean 'seed'?"),
        ({"steps": 5, "env": {"time_limit": 0}}, "env.time_limit"),
        ({"steps": 5, "env": {"step_timeout": 5}}, 'env.step_timeout: a limit of 5 seconds needs env.vector = "async"'),
        ({"steps": 5, "env": {"step_timeout": -1, "vector": "async"}}, "env.step_timeout: expected"),
        ({"steps": 5, "agent": {"gama": 0.5}}, "unknown option agent.gama. Did you mean 'gamma'?"),
        ({"steps": 5, "agent": {"capacity": 5}}, "Did you mean 'agent.replay.capacity'?"),
        ({"steps": 5, "agent": {"replay": {"capacity": 0}}}, "agent.replay.capacity: expected"),
        ({"steps": 5, "agent": {"replay": {"name": "rign"}}}, "unknown replay 'rign'"),
        ({"steps": 5, "agent": {"replay": "ring"}}, "agent.replay: expected a table with a name"),
        ({"steps": 5, "observer": [{"nam": "display"}]}, "observer[0].name"),
        ({"steps": 5, "agent": {"gamma": date(2024, 1, 1)}}, "agent.gamma: 2024-01-01 is of the type date"),
        ({"steps": 5, "observation": [{"wrapper": "w", "a": [date(2024, 1, 1)]}]}, "observation[0].a[0]: 2024-01-01"),
        ({"steps": 5, "device": "gpu"}, "device: expected 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_what_does_not_hold_together_gets_a_sentence(table: dict[str, Any], words: str) -> None:
    with pytest.raises(CartpoleDqnError) as caught:
        complete(merged(table)[0], options_of)
    assert words in str(caught.value)


def test_the_bound_of_a_step_can_be_changed_where_there_are_processes() -> None:
    config = complete(merged({"steps": 5, "env": {"vector": "async", "step_timeout": 3}})[0], options_of)
    assert config.env.step_timeout == 3.0
    assert with_step_timeout(config, 7.5).env.step_timeout == 7.5
    assert with_step_timeout(config, 0.0) == complete(merged({"steps": 5, "env": {"vector": "async"}})[0], options_of)
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"step_timeout"):
            with_step_timeout(config, seconds)
    together = complete(merged({"steps": 5})[0], options_of)
    assert with_step_timeout(together, 0.0) == together
    with pytest.raises(ConfigError, match="a step in the run's own process cannot be stopped"):
        with_step_timeout(together, 3.0)


def test_set_changes_tables_lists_and_strings() -> None:
    table: dict[str, Any] = {"observation": [{"wrapper": "render"}, {"wrapper": "resize", "height": 4}]}
    for text in (
        "agent.replay.capacity=50",
        "agent.optimiser.lr = 1e-3",
        "obs=native",
        "observation.resize.height=60",
        "observation.0.rows=[1, 2]",
        "env.kwargs.map_name=4x4",
    ):
        parse_set(text, table)
    assert table == {
        "agent": {"replay": {"capacity": 50}, "optimiser": {"lr": 1e-3}},
        "obs": "native",
        "observation": [{"wrapper": "render", "rows": [1, 2]}, {"wrapper": "resize", "height": 60}],
        "env": {"kwargs": {"map_name": "4x4"}},
    }


@pytest.mark.parametrize(
    "text",
    ["seed", "=3", "observation.9.x=1", "observation.nothing.x=1", "observation.².x=1", f"{'a.' * 2000}b=1"],
)
def test_bad_sets_get_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--set|observation\.\w+: there is no such entry"):
        parse_set(text, {"observation": [{"wrapper": "render"}], "seed": 3})


@pytest.mark.parametrize("number", ["1" * 5000, "0x" + "f" * 5000, "[" * 60 + "]" * 60])
def test_values_that_python_cannot_print_or_copy_are_refused(number: str) -> None:
    with pytest.raises(ConfigError, match=r"f\.toml is not valid TOML: "):
        parse_toml(f"seed = {number}", "f.toml")
    table: dict[str, Any] = {}
    parse_set(f"seed={number}", table)
    assert table == {"seed": number}, "as a string, which no option of numbers takes"


def test_unreadable_files_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_toml(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_toml(tmp_path / "binary.toml")
    (tmp_path / "torn.toml").write_text("a = [1,")
    with pytest.raises(ConfigError, match=r"torn\.toml is not valid TOML"):
        read_toml(tmp_path / "torn.toml")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfsteps = 60\n")
    assert read_toml(tmp_path / "a.toml") == parse_toml("\ufeffsteps = 60", "b.toml") == {"steps": 60}


def test_each_part_is_checked_once_and_carries_its_options() -> None:
    config = complete(merged({"steps": 5, "agent": {"gamma": 0.1}})[0], options_of)
    assert config.agent.options == AgentOptions(gamma=0.1, replay=config.agent["replay"])
    assert config.agent.options.replay is config.agent["replay"]
    assert config.agent["replay"].options == RingOptions(capacity=10)
    assert [entry.options for entry in config.observer] == [NoOptions(), NoOptions()]
    assert check_part("agent", config.agent, options_of, where="agent") is config.agent
    assert changed(config, steps=6).agent is config.agent
    # A changed copy is a table as any: what it had checked is not taken for what it says now.
    copy = {**config.agent, "gamma": 2.0}
    with pytest.raises(ConfigError, match=r"agent\.gamma: expected"):
        check_part("agent", copy, options_of, where="agent")
