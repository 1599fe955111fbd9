"""Starting from another run's weights: from the right ones, knowingly, and as exactly as any run."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bits import differences
from cartpole_dqn.agents.dqn import DqnAgent
from cartpole_dqn.api import Run, load
from cartpole_dqn.contracts.parts import Agent, State
from cartpole_dqn.errors import CheckpointError, ConfigError, UserError
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.runs.checkpoint import read_state
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import InitialWeights
from cartpole_dqn.training.assembly import assemble
from cartpole_dqn.training.initial_weights import find_initial_weights
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.training.session import execute

HOST = load_plugins(allowed=())
METRICS = [{"name": "metrics"}]
SMALL = ("agent.network.hidden=[8]", "agent.learning_starts=8", "agent.batch_size=8", "agent.exploration.steps=100")
Settings = Sequence[str]


def begin(
    out: Path,
    *,
    sets: Settings = (),
    init: str = "",
    which: str = "last",
    steps: int = 40,
    seed: int = 0,
    config: Path | None = None,
    host: PluginHost = HOST,
    **flags: Any,
) -> Run:
    """Run as `run` does, quietly."""
    given: dict[str, Any] = {"observer": [], "evaluation": {"every": 0}, "obs": "state"}
    given |= {"steps": steps, "seed": seed, **flags}
    if init:
        given["init"] = {"run": init, "which": which, "step": 0, "weights": ""}
    if config is not None:
        resolved, _ = resolve_config(host, config_file=config)
    else:
        resolved, _ = resolve_config(host, flags=given, sets=[*SMALL, *sets])
    resolved, initial = find_initial_weights(resolved, host, beside=None if config is None else config.parent)
    folder = RunFolder.create(out, env_id=resolved.env.id, obs=resolved.obs)
    execute(folder, resolved, host, console=Console(quiet=True), initial=initial)
    return Run(folder, resolved, host)


def agent_of(path: Path) -> State:
    """An agent's whole state in the last checkpoint."""
    _, parts = read_state(path / "checkpoint", parts=["run"])
    found: State = parts["run"]["agent"]
    return found


def equal(a: Any, b: Any) -> bool:
    """Whether two states are the same to the bit."""
    return differences(a, b) == []


def rows(path: Path) -> list[list[str]]:
    """The episodes of a run, but for how long they took."""
    with (path / "metrics.csv").open() as file:
        return [[value for key, value in row.items() if "second" not in key] for row in csv.DictReader(file)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    begin(Path("runs/first"), seed=7)
    return tmp_path


def test_both_networks_get_the_weights_and_nothing_else_changes(here: Path) -> None:
    resolved, _ = resolve_config(HOST, flags={"obs": "state", "init": {"run": "first", "which": "last"}}, sets=SMALL)
    config, initial = find_initial_weights(resolved, HOST)
    assert initial is not None
    trained = agent_of(Path("runs/first"))
    fresh = assemble(config, HOST, folder=None, console=Console(quiet=True), clock=lambda: 0.0)
    before = fresh.agent.state_dict()
    untouched = {key: value for key, value in before.items() if key not in ("online", "target", "average")}
    initial.load_into(fresh.agent, fresh.statistics)
    after = fresh.agent.state_dict()
    assert config.agent["policy"] == "average"
    for network in ("online", "target", "average"):
        assert equal(after[network], trained["average"])
    assert not equal(trained["online"], trained["average"])
    assert equal({key: after[key] for key in untouched}, untouched)
    assert (config.init.run, config.init.which, config.init.step) == ("first", "last", 40)
    assert config.init.weights == initial.checksum
    assert initial.label == "the weights of first (last, trained for 40 steps)"
    fresh.close()
    fresh.collector.close()


def test_best_is_what_evaluation_kept(here: Path) -> None:
    begin(Path("runs/second"), seed=8, evaluation={"every": 20, "episodes": 1})
    _, parts = read_state(Path("runs/second/best"))
    run = begin(Path("runs/third"), init="second", which="best", steps=1)
    assert equal(InitialWeights.read(run.folder).policy, parts["policy"])
    # Nothing is learned in a single step.
    assert equal(agent_of(run.path)["online"], parts["policy"]["network"])


def test_the_run_names_its_origin_and_repeats_to_the_bit(here: Path) -> None:
    begin(Path("runs/a"), init=str(here / "runs" / "first"), observer=METRICS)
    text = Path("runs/a/config.toml").read_text()
    assert 'run = "first"\nwhich = "last"\nstep = 40\n' in text
    assert str(here) not in text + Path("runs/a/environment.json").read_text()
    begin(Path("runs/b"), init="first", observer=METRICS)
    begin(Path("runs/c"), config=Path("runs/a/config.toml"))
    shutil.copy("runs/a/config.toml", "elsewhere.toml")
    begin(Path("runs/d"), config=Path("elsewhere.toml"))
    for other in ("b", "c", "d"):
        assert Path(f"runs/{other}/config.toml").read_text() == text
        assert equal(agent_of(Path("runs/a")), agent_of(Path(f"runs/{other}")))
        assert rows(Path("runs/a")) == rows(Path(f"runs/{other}"))
    begin(Path("runs/e"))
    assert not equal(agent_of(Path("runs/a")), agent_of(Path("runs/e")))


def test_resuming_is_exact(here: Path) -> None:
    whole = begin(Path("runs/whole"), init="first", steps=90, observer=METRICS)
    begin(Path("runs/part"), init="first", steps=50, observer=METRICS)
    shutil.rmtree("runs/first")
    load(Path("runs/part")).resume(90, plain=True)
    assert equal(agent_of(whole.path), agent_of(Path("runs/part")))
    assert rows(whole.path) == rows(Path("runs/part"))


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_same_weights(here: Path) -> None:
    whole = begin(Path("runs/whole"), init="first", steps=60, observer=METRICS)
    shutil.copytree("runs/whole", "runs/killed")
    shutil.rmtree("runs/killed/checkpoint")
    load(Path("runs/killed")).resume(plain=True)
    assert equal(agent_of(whole.path), agent_of(Path("runs/killed")))
    assert rows(whole.path) == rows(Path("runs/killed"))
    shutil.rmtree("runs/killed/checkpoint")
    shutil.rmtree("runs/killed/init")
    with pytest.raises(CheckpointError, match="there is no checkpoint at runs/killed/init"):
        load(Path("runs/killed")).resume(plain=True)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another network": ({"sets": ["agent.network.hidden=[9]"]}, r"agent.network.hidden is \[8\] there and \[9\] here"),
    "another environment": (
        {"env": {"id": "Acrobot-v1"}},
        r"observations is float32 \[4\] there and float32 \[6\] here, actions is 2 there and 3 here",
    ),
    "no such run": ({"init": "second"}, r"init.run: 'second' is no run.* Name the folder of the run with --init-from"),
    "a folder": ({"init": "runs"}, r"init.run: 'runs' is no run: here it is a folder without config.toml"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(here: Path, case: str) -> None:
    changes, words = REFUSED[case]
    with pytest.raises(ConfigError, match=words):
        begin(Path("runs/a"), **{"init": "first", **changes})
    assert not Path("runs/a").exists()


def test_integers_of_another_bound_are_other_observations(here: Path) -> None:
    pixels = [{"wrapper": "render"}, {"wrapper": "resize", "height": 4}, {"wrapper": "grayscale"}]
    begin(Path("runs/grey"), obs="pixels", agent={"network": {"name": "mlp"}}, observation=pixels, steps=2)
    change = [*pixels, {"wrapper": "frame-difference", "gap": 1}]
    with pytest.raises(ConfigError, match=r"is uint8 \[4, 6\] from 0 to 255 there and int16 \[4, 6\] from"):
        begin(
            Path("runs/a"),
            init="grey",
            obs="pixels",
            agent={"network": {"name": "mlp"}},
            observation=change,
            steps=2,
        )


def test_other_weights_than_the_configuration_names_are_refused(here: Path) -> None:
    begin(Path("runs/a"), init="first")
    shutil.copy("runs/a/config.toml", "elsewhere.toml")
    load("first").resume(60, plain=True)
    with pytest.raises(ConfigError, match=r"expected the weights of first \(last, step 40.*now has others \(step 60"):
        begin(Path("runs/b"), config=Path("elsewhere.toml"))
    begin(Path("runs/c"), config=Path("runs/a/config.toml"))  # which kept what it started from
    assert equal(agent_of(Path("runs/a")), agent_of(Path("runs/c")))
    assert begin(Path("runs/d"), init="first").config.init.step == 60


def test_nobody_starts_from_random_weights_by_mistake(here: Path) -> None:
    config, _ = resolve_config(HOST, flags={"obs": "state", "init": {"run": "first"}}, sets=SMALL)
    folder = RunFolder.create(Path("runs/a"), env_id="x", obs="y")
    with pytest.raises(UserError, match="call find_initial_weights first"):
        execute(folder, config, HOST, console=Console(quiet=True))
    assert not Path("runs/a").exists()


# Agents of plugins ----------------------------------------------------------------------------------------------------


class Halving(DqnAgent):
    """Makes of the weights what it likes."""

    def start_from(self, policy: State) -> None:
        super().start_from({**policy, "network": {name: value / 2 for name, value in policy["network"].items()}})


class Refusing(DqnAgent):
    """As an agent that was written before anybody could start from weights."""

    start_from = Agent.start_from


class Broken(DqnAgent):
    def start_from(self, policy: State) -> None:
        raise KeyError("mine")


@pytest.fixture
def acme() -> PluginHost:
    host = load_plugins(allowed=())
    for cls in (Halving, Refusing, Broken):
        host.registry.add("agent", cls.__name__.lower(), cls, "an agent")
    return host


def test_an_agent_of_a_plugin_decides_what_it_makes_of_them(here: Path, acme: PluginHost) -> None:
    begin(Path("runs/mine"), host=acme, agent={"name": "halving"})
    begin(Path("runs/next"), host=acme, agent={"name": "halving"}, init="mine", steps=1)
    before, after = agent_of(Path("runs/mine"))["average"], agent_of(Path("runs/next"))["online"]
    assert equal({name: value / 2 for name, value in before.items()}, after)


def test_an_agent_that_cannot_says_so(here: Path, acme: PluginHost) -> None:
    for name in ("refusing", "broken"):
        begin(Path(f"runs/{name}"), host=acme, agent={"name": name})
    with pytest.raises(UserError, match="agent Refusing cannot start from the weights of another run: it defines no"):
        begin(Path("runs/next"), host=acme, agent={"name": "refusing"}, init="refusing")
    with pytest.raises(CheckpointError, match=r"the last model of broken does not fit .* KeyError: 'mine'"):
        begin(Path("runs/next"), host=acme, agent={"name": "broken"}, init="broken")
    assert not Path("runs/next").exists()
    with pytest.raises(ConfigError, match=r"agent is dqn there and halving here\. To begin"):
        begin(Path("runs/next"), host=acme, agent={"name": "halving"}, init="first")
