"""The built-in collector: what an agent needs of it, and how another is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cartpole_dqn import Collector, Registry
from cartpole_dqn.agents.dqn import DqnAgent
from cartpole_dqn.config.schema import parse_toml, to_toml
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.lanes import Lockstep
from cartpole_dqn.errors import ConfigError, UserError
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.training.assembly import _collector_context, make_collector, used_components
from cartpole_dqn.training.resolve import resolve_config


class Distant(Lockstep):
    lockstep: ClassVar[bool] = False


class Particular(DqnAgent):
    needs_lockstep: ClassVar[bool] = True


class Unfinished(Distant):
    def __init__(self, options: Any, context: Any) -> None:
        raise ZeroDivisionError("of all things")


@pytest.fixture
def host() -> PluginHost:
    loaded = load_plugins(allowed=())
    plugin = Registry("acme", "1.0")
    plugin.add("collector", "distant", Distant, "a collector that is not in lockstep")
    plugin.add("collector", "unfinished", Unfinished, "a collector that cannot be built")
    plugin.add("agent", "particular", Particular, "an agent that needs lockstep")
    loaded.registry.merge(plugin)
    return loaded


def make(host: PluginHost, **flags: Any) -> Collector:
    config, _ = resolve_config(host, flags={"obs": "state", "steps": 10, **flags})
    factory = EnvFactory(config, host.registry)
    return make_collector(config, host, factory, _collector_context(config, factory, lambda: 0.0, print))


def test_it_is_the_default_and_stands_in_the_configuration(host: PluginHost) -> None:
    config, _ = resolve_config(host, flags={"obs": "state"})
    assert config.collector == {"name": "lockstep"}
    assert '[collector]\nname = "lockstep"\n' in to_toml(config)
    assert "collector/lockstep" in used_components(config, host.registry)
    assert type(make(host)) is Lockstep


def test_an_agent_that_needs_lockstep_says_so(host: PluginHost) -> None:
    make(host, agent={"name": "particular"}).close()
    make(host, collector={"name": "distant"}).close()
    words = "agent particular must choose every action itself, and collector distant lets copies of its policy act"
    with pytest.raises(UserError, match=words):
        make(host, agent={"name": "particular"}, collector={"name": "distant"})


def test_a_collector_that_cannot_be_built_is_blamed(host: PluginHost) -> None:
    with pytest.raises(UserError, match=r"collector 'unfinished' of acme 1\.0 could not be built: ZeroDivisionError"):
        make(host, collector={"name": "unfinished"})


@pytest.mark.parametrize(
    ("collector", "words"),
    [
        ({"name": "lockstep", "lanes": 3}, r"unknown option collector\.lanes"),
        ({"name": 3}, "collector.name: expected the collector's name"),
        ("lockstep", "collector: expected a table"),
    ],
)
def test_bad_tables_are_refused_in_words(host: PluginHost, collector: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(host, collector=collector)


def test_the_command_line_chooses_a_collector(call: Callable[..., Any], tmp_path: Path) -> None:
    said = call("run", "--obs", "state", "--collector", "lockstep", "--steps", "20", "--out", "r", "--plain")
    assert said.code == 0, said.err
    assert parse_toml((tmp_path / "r" / "config.toml").read_text(), "x")["collector"] == {"name": "lockstep"}
    said = call("run", "--obs", "state", "--collector", "lockstop", "--steps", "20", "--plain")
    assert (said.code, said.out) == (2, "")
    assert "unknown collector 'lockstop'. Did you mean 'lockstep'?" in said.err
