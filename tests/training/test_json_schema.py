"""The schema of configuration files, by a validator that is not ours: it takes what `run` takes, and refuses typos."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.config.layers import parse_set
from cartpole_dqn.config.schema import complete, to_toml
from cartpole_dqn.errors import CartpoleDqnError
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.json_schema import config_schema
from cartpole_dqn.training.resolve import resolve_config

jsonschema = pytest.importorskip("jsonschema", reason="the extra test brings it")
ROOT = Path(__file__).parents[2]
HOST = load_plugins()
PRESETS = HOST.registry.names("preset")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    document = config_schema(HOST.registry)
    jsonschema.Draft7Validator.check_schema(document)
    assert json.loads(json.dumps(document)) == document
    return document


@pytest.fixture(scope="module")
def wrong(schema: dict[str, Any]) -> Callable[[Any], list[str]]:
    validator = jsonschema.Draft7Validator(schema)
    return lambda table: [error.message for error in validator.iter_errors(table)]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_and_what_becomes_of_them(preset: str, wrong: Callable[[Any], list[str]]) -> None:
    assert wrong(tomllib.loads(HOST.registry.load("preset", preset))) == []
    config, _ = resolve_config(HOST, preset=preset)
    assert wrong(tomllib.loads(to_toml(config))) == []


@pytest.mark.parametrize("path", ["transforms.toml", "trained/pixels/config.toml", "trained/state/config.toml"])
def test_files_among_the_examples(path: str, wrong: Callable[[Any], list[str]]) -> None:
    assert wrong(tomllib.loads((ROOT / "examples" / path).read_text())) == []


def test_the_pages_example(wrong: Callable[[Any], list[str]]) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    text = page.split("## The document")[1].split("```toml\n")[1].split("```")[0]
    assert wrong(tomllib.loads(text)) == []


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"agent": {"replay": {"capacity": 5}}},
        {"agent": {"network": {"hidden": 64}}},
        {"observation": [{"wrapper": "my_module:Mine", "anything": 1}]},
        {"env": {"kwargs": {"map_name": "8x8"}, "time_limit": "none"}},
        {"agent": {"optimiser": {"lr": 1}}},
        {
            "extends": "pixels",
            "observation": {
                "resize": {"height": 60},
                "grayscale": {"keep_dim": True, "after": "render"},
                "frame-difference": {"drop": True},
                "stack#2": {"after": "*"},
                "my_module:Mine": {"before": "resize", "anything": 1},
            },
            "observer": {"display": {"drop": True}},
        },
    ],
    ids=str,
)
def test_parts_of_a_configuration(table: Any, wrong: Callable[[Any], list[str]]) -> None:
    assert wrong(table) == []


WRONG = [
    "sed=1",
    "seed='one'",
    "device='gpu'",
    "preset='pixel'",
    "env.idd='CartPole-v1'",
    "env.vector='both'",
    "env.time_limit=true",
    "agent.name='dnq'",
    "agent.lr=0.001",
    "agent.gamma=1.5",
    "agent.network.hidden='wide'",
    "agent.network.channels=[16]",
    "agent.replay.capacity=0",
    "agent.replay.alpha=0.6",
    "agent.target_update.tau=2.0",
    "agent.optimiser.betas=['a', 'b']",
    "collector.name='uniform'",
    "checkpoint.save_replay='yes'",
    "init.which='worst'",
    "observer=[{name='displya'}]",
    "observation=[{wrapper='resize', hieght=40}]",
    "observation=[{height=40}]",
    "observation=['resize']",
]


@pytest.mark.parametrize("text", WRONG)
def test_it_refuses_what_a_run_refuses(text: str, wrong: Callable[[Any], list[str]]) -> None:
    config, _ = resolve_config(HOST, preset="state")
    table: dict[str, Any] = copy.deepcopy(tomllib.loads(to_toml(config)))
    assert wrong(table) == []
    parse_set(text, table)
    assert wrong(table)
    with pytest.raises(CartpoleDqnError):
        taken(table)


@pytest.mark.parametrize(
    "table",
    [
        {"observation": {"resize": {"hieght": 40}}},
        {"observation": {"resize": 40}},
        {"observation": {"resize": {"drop": "yes"}}},
        {"observation": {"resize": {"before": ["render"]}}},
        {"observer": {"display": 3}},
    ],
    ids=str,
)
def test_it_refuses_changes_to_a_list_that_a_run_refuses(table: Any, wrong: Callable[[Any], list[str]]) -> None:
    assert wrong(table)
    with pytest.raises(CartpoleDqnError):
        resolve_config(HOST, preset="pixels", flags=table)


def taken(table: dict[str, Any]) -> None:
    """Take a configuration as `run` does."""
    config = complete(table, HOST.registry.options)
    resolve_config(HOST, preset=config.preset, flags={"observation": config.observation})


def test_every_option_of_every_part_is_told(schema: dict[str, Any]) -> None:
    selecting = schema["definitions"]["target-update"]["allOf"]
    members = {e["if"]["properties"]["name"]["const"]: e["then"] for e in selecting if "properties" in e["if"]}
    assert {"hard", "soft"} <= members.keys()
    tau = members["soft"]["properties"]["tau"]
    assert (tau["type"], tau["default"], tau["maximum"], tau["exclusiveMinimum"]) == ("number", 0.005, 1, 0)
    assert tau["description"].endswith("(typical: 0.005 to 0.02)")
    entry = schema["properties"]["observation"]["items"]
    assert entry["properties"]["wrapper"]["anyOf"][0]["enum"] == HOST.registry.names("wrapper")
    assert {"tau", "every"} <= schema["definitions"]["target-update"]["properties"].keys(), "for completion"


def test_a_typo_is_told_where_it_is(wrong: Callable[[Any], list[str]]) -> None:
    assert wrong({"agent": {"name": "dqn", "gama": 0.9}}) == [
        "Additional properties are not allowed ('gama' was unexpected)"
    ]
    assert wrong({"agent": {"replay": {"capcity": 5}}})[0].startswith("'capcity' is not one of [")
