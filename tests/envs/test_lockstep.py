"""The built-in collector: what an agent needs of it, and how another is chosen."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from cartpole_dqn import Collector, Registry
from cartpole_dqn.agents.dqn import DqnAgent
from cartpole_dqn.config.schema import to_toml
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.lanes import Lockstep
from cartpole_dqn.errors import UserError
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
    factory = EnvFactory(config, host)
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
