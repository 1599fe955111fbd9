"""Classes that are no plugin: given to `train` and `load`, and by reference on the command line.

The page `docs/own-class.md` runs as a notebook in an empty folder, then its classes from a file on the command line and
from a plugin, to the same bits.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from torch import nn

import forked
from cartpole_dqn import (
    DqnAgent,
    Episode,
    EpsilonGreedy,
    Network,
    Observer,
    RingReplay,
    RunError,
    UserError,
    load,
    option,
    options_class,
    train,
)
from cartpole_dqn.api import Run
from cartpole_dqn.components.replay.uniform import UniformOptions
from expose_plugin import expose

PAGE = (Path(__file__).parents[1] / "docs" / "own-class.md").read_text(encoding="utf-8")
FILE = '''
import gymnasium
from torch import nn
from cartpole_dqn import DqnAgent, DqnOptions, EpsilonGreedy, Network, TargetUpdate, option, options_class

@options_class
class NetOptions:
    hidden: int = option(default=8, ge=1, effect="units")

class Net(Network):
    """A hidden layer."""
    Options = NetOptions
    def __init__(self, options, context):
        super().__init__(context)
        self.layers = nn.Sequential(nn.Linear(4, options.hidden), nn.ReLU(), nn.Linear(options.hidden, 2))
    def forward(self, obs):
        return self.layers(obs)

class Half(EpsilonGreedy):
    def epsilon(self, step):
        return 0.5

class Every(TargetUpdate):
    def after_update(self, online, target, updates):
        target.load_state_dict(online.state_dict())

@options_class
class CappedOptions(DqnOptions):
    most: float = option(default=0.5, gt=0, effect="the largest loss of a transition")

class Capped(DqnAgent):
    """DQN whose losses have a limit."""
    Options = CappedOptions
    def losses(self, output, batch):
        losses, td_errors = super().losses(output, batch)
        return losses.clamp(max=self.options.most), td_errors

class Double(gymnasium.RewardWrapper):
    def reward(self, reward):
        return 2 * reward

def make(render_mode=None):
    return gymnasium.make("CartPole-v1", max_episode_steps=30)

def remember(event):
    open("seen.txt", "a").write(type(event).__name__ + " ")

def fail(event):
    if type(event).__name__ == "Episode":
        raise KeyError("lost")
'''
"""`parts.py`, in the current folder."""
SMALL = {"agent": {"learning_starts": 50, "batch_size": 8}, "evaluation": {"episodes": 2}}


@options_class
class TinyOptions:
    hidden: int = option(default=8, ge=1, effect="units")


class Tiny(Network):
    Options = TinyOptions

    def __init__(self, options: TinyOptions, context: Any) -> None:
        super().__init__(context)
        self.layers = nn.Sequential(nn.Linear(4, options.hidden), nn.ReLU(), nn.Linear(options.hidden, 2))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.layers(obs)  # type: ignore[no-any-return]


class Broken(Network):
    def __init__(self, options: Any, context: Any) -> None:
        super().__init__(context)
        self.layers = nn.Linear(4, 2)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        if len(obs) > 1:
            raise ZeroDivisionError("in forward")
        return self.layers(obs)  # type: ignore[no-any-return]


class Leaving(Tiny):
    def __init__(self, options: TinyOptions, context: Any) -> None:
        sys.exit(3)


class Half(EpsilonGreedy):
    def epsilon(self, step: int) -> float:
        return 0.5


class Forgetful(Tiny):
    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        self.layers(obs)
        return None  # type: ignore[return-value]


class Wide(Tiny):
    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.layers(obs).repeat(1, 2)  # type: ignore[no-any-return]


class Narrow(Tiny):
    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.layers(obs[:, :3])  # type: ignore[no-any-return]


class Mean(Tiny):
    def td_loss(self, *given: Any) -> Any:
        losses, td_errors = super().td_loss(*given)
        return losses.mean(), td_errors


class Exiting(Tiny):
    def td_loss(self, *given: Any) -> Any:
        sys.exit(0)


class Arrays(Half):
    def select(self, *given: Any) -> Any:
        return super().select(*given).numpy()


class Unpaired(RingReplay):
    Options = UniformOptions

    def __init__(self, options: Any, context: Any) -> None:
        super().__init__(options.capacity, context, name="replay Unpaired")

    def draw(self, batch_size: int) -> Any:
        return self.ring.index_at(np.zeros(batch_size, int))


class OneResult(DqnAgent):
    def losses(self, output: Any, batch: Any) -> Any:
        return super().losses(output, batch)[0]


class Fixed(Half):
    def __init__(self, rate: float = 0.5) -> None: ...


class Count(Observer):
    def __init__(self) -> None:
        self.episodes = 0

    def episode_ended(self, event: Episode) -> None:
        self.episodes += 1


def short_cartpole() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1", max_episode_steps=25)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder. What is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    before = set(sys.modules)
    yield tmp_path
    for name in {"parts"} - before:
        sys.modules.pop(name, None)


def short(**given: Any) -> Run:
    return train(**{"obs": "state", "steps": 120, "settings": SMALL, "plain": True, "out": "run", **given})


def rows(run: Path) -> list[dict[str, Any]]:
    """The run's metrics without times."""
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in event.items() if "second" not in k and k != "nbytes"} for event in events]


# In Python ------------------------------------------------------------------------------------------------------------


def test_classes_functions_and_instances_train_and_are_recorded() -> None:
    seen, count = [], Count()
    run = short(network=(Tiny, {"hidden": 5}), exploration=Half, observers=[seen.append, count], env=short_cartpole)
    kinds = {type(event).__name__ for event in seen}
    assert {"RunStarted", "Progress", "Episode", "Evaluation", "Checkpoint", "RunEnded"} <= kinds
    assert count.episodes == sum(isinstance(event, Episode) for event in seen) > 0
    assert run.config.agent["network"] == {"name": f"{__name__}:Tiny", "hidden": 5}
    assert run.config.sources is not None
    assert run.config.sources[f"network/{__name__}:Tiny"] == "test_own_class.py"
    assert run.config.sources[f"env/{__name__}:short_cartpole"] == "test_own_class.py"
    assert max(row["length"] for row in run.metrics()) <= 25
    assert "run: dqn on" in repr(run)
    assert "done, 120 steps" in repr(run)


def test_an_observer_needs_no_constructor() -> None:
    class Notes(Observer):
        ends: ClassVar[list[int]] = []

        def episode_ended(self, event: Episode) -> None:
            self.ends.append(event.step)

    run = short(observers=[Notes])
    assert Notes.ends == [row["step"] for row in run.metrics()]


def test_bad_arguments_of_a_run_are_sentences(folder: Path) -> None:
    run = short()
    for ask, words in (
        (lambda: run.evaluate(episodes=0), "episodes: expected 1 or more, got 0"),
        (lambda: run.record(episodes=0), "episodes: expected 1 or more, got 0"),
        (lambda: run.export(episodes=0), "episodes: expected 1 or more, got 0"),
        (lambda: run.evaluate(which="lsat"), "which: expected 'best' or 'last', got 'lsat'"),  # type: ignore[arg-type]
        (lambda: run.record(7), r"out: expected a string or a Path, got 7 \(int\)"),  # type: ignore[arg-type]
        (lambda: run.export("net.txt"), r"net\.txt: expected a file name that ends in \.onnx \(format onnx\) or \.pt2"),
        (lambda: run.export("net.onnx", form="torch"), r"net\.onnx: expected a file name that ends in \.pt2 \(format"),
        (lambda: load(3), r"path: expected a string or a Path, got 3 \(int\)"),  # type: ignore[arg-type]
        (lambda: run.plot("curve.xyz"), r"curve\.xyz: expected a picture's name, ending in \.png"),
        (lambda: run.plot("nowhere/curve.png"), "curve.png cannot be written: No such file"),
    ):
        with pytest.raises(UserError, match=words):
            ask()


def test_a_run_of_a_local_class_asks_for_it_and_takes_it() -> None:
    class Local(Tiny): ...

    obs = np.zeros(4, dtype=np.float32)
    seen: list[Any] = []
    run = short(network=Local, observers=[seen.append, Count()])
    with pytest.raises(
        UserError, match=r"'.*Local' cannot be found: it was defined inside a function.*load\(RUN, network="
    ):
        load("run")
    again = load("run", network=Local)
    assert np.array_equal(again.q_values(obs), run.q_values(obs))  # type: ignore[arg-type]
    before = len(seen)
    ended = again.resume(160, plain=True)  # without the observers, which cannot be found
    assert any("left out: observer" in note for note in again.host.notes)
    assert len(seen) == before
    assert ended.metrics()[-1]["step"] > 120
    assert load("run", network=f"{__name__}:Tiny").config.agent["network"]["name"] == f"{__name__}:Tiny"


def test_an_environment_may_be_a_lambda_or_a_spec() -> None:
    inner = short(env=lambda: gymnasium.make("CartPole-v1", max_episode_steps=20), out="a")
    assert inner.evaluate(episodes=2).mean <= 20
    other = short(env=lambda: gymnasium.make("CartPole-v1", max_episode_steps=10), out="b")
    assert other.config.env.id != inner.config.env.id
    assert inner.evaluate(episodes=1).lengths[0] <= 20
    spec = EnvSpec("OwnCartPole-v7", "gymnasium.envs.classic_control.cartpole:CartPoleEnv", max_episode_steps=15)
    assert max(short(env=spec, out="c").evaluate(episodes=2).lengths) <= 15
    assert load("c").config.env.id == "OwnCartPole-v7"


@pytest.mark.parametrize("vector", ["sync", "async"])
def test_a_local_wrapper_and_environment_reach_worker_processes(vector: str) -> None:
    class OneStep(gymnasium.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            obs, reward, _, _, info = self.env.step(action)
            return obs, reward, True, False, info

    run = short(env=lambda: short_cartpole(), wrappers=[OneStep], num_envs=2, vector=vector)
    assert {row["env"] for row in run.metrics()} == {0, 1}
    assert {row["length"] for row in run.metrics()} == {1}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"network": nn.Linear(2, 2)}, "network: expected a name, 'module:Class' or a class, got Linear"),
        ({"network": nn.Linear}, "of torch is a Linear: expected a subclass of cartpole_dqn.Network"),
        ({"network": Leaving}, "Leaving' of test_own_class.py could not be built: it called sys.exit(3)."),
        (
            {"network": Forgetful},
            "Forgetful.forward returned None, expected a tensor float32 [1, 2] or [1, 2, ...] (test",
        ),
        ({"network": Wide}, "Wide.forward returned a tensor float32 [1, 4], expected a tensor float32 [1, 2] or"),
        ({"network": Narrow}, "(1x3 and 4x8) (test_own_class.py, line"),
        ({"exploration": Fixed}, "its constructor must take (options, context), and takes (rate: 'float' = 0.5)"),
        ({"network": (Tiny, {"hiden": 3})}, "unknown option agent.network.hiden. Did you mean 'hidden'"),
        ({"observers": [3]}, "observer: expected a name, 'module:Class' or a class, a function or an instance, got 3"),
        ({"out": 3}, "out: expected a string or a Path, got 3 (int)"),
        ({"seed": "3"}, "seed: expected a whole number, got '3' (str)"),
        ({"env": 3}, "env: expected an id, a function or class"),
        ({"episodes": 3}, "steps and episodes: give one of them"),
        ({"init_last": True}, "init_last needs init_from"),
        ({"replay": "os:system"}, "os belongs to Python's own library"),
        ({"network": "nowhere:Net"}, "there is no module nowhere, neither installed nor in the current folder"),
        ({"wrappers": [("gymnasium.wrappers:TransformReward", {}), "flatten"]}, "expected a value for func"),
        (
            {"obs": "pixels", "wrappers": {"chanel": {"drop": True}}},
            "observation.chanel: there is no such entry. Did you mean 'channel'",
        ),
        # A stranger's configuration chooses the arguments of what makes environments.
        (
            {"env": "torch.hub:download_url_to_file", "settings": {"env": {"kwargs": {"url": "x", "dst": "y"}}}},
            "cannot make the environment torch.hub:download_url_to_file",
        ),
    ],
)
def test_what_does_not_fit_is_a_sentence(given: dict[str, Any], words: str, folder: Path) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        short(**given)
    assert not (folder / "run").exists()


def test_a_resume_to_no_steps_is_a_sentence() -> None:
    run = load(Path(__file__).parents[1] / "examples" / "trained" / "state")
    with pytest.raises(UserError, match=r"steps: expected greater than 0, got 0 \(int\)\. Environment steps"):
        run.resume(0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"network": Mean},
            "Mean.td_loss returned a tuple (a tensor float32 [], a tensor float32 [8]), expected a pair",
        ),
        ({"network": Exiting}, "called sys.exit(0). No checkpoint was written"),
        ({"exploration": Arrays}, "Arrays.select returned an array int64 [1], expected a tensor int64 [1] (test_own"),
        ({"replay": Unpaired}, "Unpaired.draw returned an array int64 [8], expected a pair: indices [B], and prob"),
        (
            {"agent": OneResult},
            "OneResult.losses returned a tensor float32 [8], expected a pair of tensors float32 [8]",
        ),
    ],
)
def test_a_wrong_result_names_the_method_that_returned_it(given: dict[str, Any], words: str) -> None:
    with pytest.raises(RunError, match=re.escape(words)):
        short(**given)


def test_a_misspelled_method_is_noticed() -> None:
    class Watch(Observer):
        def episode_end(self, event: Episode) -> None: ...

        def evaluated(self, event: Any) -> None: ...

        def _episode_ended(self, event: Episode) -> None: ...

    with pytest.warns(
        UserWarning, match=r"Watch' of .* a method episode_end, .* Did you mean episode_ended\?"
    ) as caught:
        short(observers=[Watch])
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"networks": Tiny}, "train() got an unexpected keyword argument 'networks'. Did you mean 'network'?"),
        ({"lr": 1e-3}, "train() got an unexpected keyword argument 'lr'. Other settings go into `settings`, a dict"),
    ],
)
def test_an_unknown_keyword_is_named_with_the_nearest(given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        short(**given)


def test_torch_has_its_threads_back(folder: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run = short(threads=1)
        again = load("run")
        again.act(np.zeros(4, dtype=np.float32))
        again.evaluate(episodes=1)
        again.share(folder / "shared", episodes=10, recorded_steps=0)
        again.export(form="torch", episodes=1)
        assert torch.get_num_threads() == 3
        assert run.config.threads == 1
    finally:
        torch.set_num_threads(before)


def test_a_run_acts_in_its_own_environment() -> None:
    run = short(wrappers=["flatten"])
    env = run.make_env()
    obs, _ = env.reset(seed=0)
    action, values = run.act(obs), run.q_values(obs)
    env.close()
    assert values is not None
    assert values.shape == (2,)
    assert action == int(values.argmax()) == int(run.policy.act(obs[None])[0])
    with pytest.raises(UserError, match=r"expected one observation float32 \[4\], got float64 \[3\]: `make_env\(\)`"):
        run.act(np.zeros(3))
    with pytest.raises(UserError, match=r"mask: expected \[2\], one for each action, got \[1\]"):
        run.act(obs, [True])
    assert [run.act(obs, mask) for mask in ([True, False], [False, True])] == [0, 1]
    arrays = run.metrics(arrays=True)
    assert arrays["return"].tolist() == [row["return"] for row in run.metrics()]
    assert len(run.metrics("evaluation")) == 1
    with run.folder.metrics_jsonl.open("a") as file:
        file.write("x\n")
    for look in (run.metrics, run.plot):
        with pytest.warns(UserWarning, match=r"metrics\.jsonl: line \d+ is damaged and left out\."):
            look()


def test_a_class_is_put_into_the_chain_of_the_preset() -> None:
    class Dark(gymnasium.ObservationWrapper[Any, Any, Any]):
        def observation(self, observation: Any) -> Any:
            return observation // 2

    changes = {"resize": {"height": 30}, Dark: {"after": "resize"}, "centered-crop": {"drop": True}}
    run = short(obs="pixels", wrappers=changes, steps=20)
    names = [entry["wrapper"].rpartition(":")[2].rpartition(".")[2] for entry in run.config.observation]
    assert names == ["render", "channel", "resize", "Dark", "frame-difference"]
    assert run.config.observation[2]["height"] == 30


def test_an_error_says_its_file_and_line_and_leaves_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(event: Any) -> None:
        if isinstance(event, Episode):
            raise KeyError("lost")

    with pytest.raises(RunError, match=r"ZeroDivisionError: in forward \(test_own_class.py, line \d+\)"):
        short(network=Broken, observers=[fail])
    assert re.search(r"KeyError: 'lost' \(test_own_class.py, line\s+\d+\)", capfd.readouterr().err)
    kept = Path("run/traceback.txt").read_text()
    assert "in forward" in kept
    assert "KeyError: 'lost'" in kept


# On the command line --------------------------------------------------------------------------------------------------


def test_references_stand_wherever_a_name_does(folder: Path, call: Callable[..., Any]) -> None:
    (folder / "parts.py").write_text(FILE)
    small = [f"--set=agent.{key}" for key in ("learning_starts=50", "batch_size=8", "network.hidden=6")]
    result = call("run", "--obs", "state", "--env", "parts:make", "--network", "parts:Net",
                "--observer", "parts:remember",
                "--agent", "parts:Capped", "--set", "agent.most=0.3", "--target-update", "parts:Every",
                "--set", "agent.exploration.name=parts:Half", "--set", 'observation=[{wrapper = "parts:Double"}]',
                *small, "--steps", "120", "--plain", "--out", "run")  # fmt: skip
    assert "Episode" in (folder / "seen.txt").read_text()
    run = load("run")
    assert (run.config.agent["name"], run.config.agent["most"]) == ("parts:Capped", 0.3)
    assert max(row["metrics.loss"] for row in run.metrics() if "metrics.loss" in row) <= 0.31
    assert run.config.agent["exploration"]["name"] == "parts:Half"
    assert all(row["return"] == row["length"] <= 30 for row in run.metrics())
    call("evaluate", "run", "--episodes", "2")
    (folder / "parts.py").rename(folder / "moved.txt")
    del sys.modules["parts"]
    result = call("evaluate", "run", code=2)
    assert re.search(
        "parts.* neither installed nor in the current folder.*It was in parts.py: bring that file", result.err
    )


def test_plugins_show_and_check_take_references(folder: Path, call: Callable[..., Any]) -> None:
    (folder / "parts.py").write_text(FILE)
    shown = call("plugins", "show", "network/parts:Net")
    assert "network parts:Net: A hidden layer." in shown.out
    assert "cartpole-dqn run --network parts:Net --set agent.network.hidden=8" in shown.out
    call("plugins", "check", "exploration", "parts:Half")
    result = call("plugins", "show", "parts:Net", code=2)
    assert "Expected KIND/parts:Net" in result.err
    result = call("run", "--obs", "state", "--network", "parts:Nett", code=2)
    assert "the module parts has no Nett. Did you mean 'Net'?" in result.err


def test_traceback_is_shown_where_it_is_asked_for(folder: Path, call: Callable[..., Any]) -> None:
    (folder / "parts.py").write_text("import nonsense_of_mine\n")
    result = call("run", "--obs", "state", "--network", "parts:Net", code=2)
    assert "ModuleNotFoundError: No module named 'nonsense_of_mine' (parts.py, line 1)" in result.err
    result = call("--traceback", "run", "--obs", "state", "--network", "parts:Net", code=2)
    assert "Traceback (most recent call last)" in result.err


@pytest.mark.process
def test_a_sweep_compares_classes(folder: Path, call: Callable[..., Any]) -> None:
    (folder / "parts.py").write_text(FILE)
    command = ["--obs", "state", "--seeds", "1", "--steps", "60", "--out", "s", "--plain"]
    command += ["--grid", "agent.exploration.name=linear,parts:Half", "--set", "agent.learning_starts=40"]
    call("sweep", *command)
    assert "parts:Half" in (folder / "s/trials/exploration=parts-Half,seed=0/config.toml").read_text()


# The page -------------------------------------------------------------------------------------------------------------


def blocks() -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [re.sub(r"\bsteps=[\d_]+", "steps=250, settings=few", block) for block in blocks]


@pytest.mark.process
def test_a_notebook_a_file_and_a_plugin_train_to_the_same_bits(folder: Path) -> None:
    """From pixels, in an empty folder, in under 40 lines; then the same classes as module:Class, then as a plugin."""
    nbclient = pytest.importorskip("nbclient", reason="the extra test brings it")
    nbformat = pytest.importorskip("nbformat", reason="the extra test brings it")
    pytest.importorskip("ipykernel", reason="the extra test brings it")
    first, opened = blocks()[0], blocks()[-1]
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) < 40
    few = {"agent": {"learning_starts": 100}, "evaluation": {"episodes": 2}}
    cells = [f"few = {few!r}", first.replace("plain=True", 'out="notebook"'), opened, "run = None; load('notebook')"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        book, timeout=170, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    assert "__main__:Net" in (folder / "notebook/config.toml").read_text()
    assert '"network/__main__:Net" = "a notebook"' in (folder / "notebook/config.toml").read_text()

    def type_in(*arguments: str) -> Any:
        path = os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "cartpole_dqn", *arguments]
        return forked.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})

    # The file: what the cell defines, without what it does.
    defined = first[: first.index("run = train(")]
    (folder / "parts.py").write_text(defined)
    done = type_in("plugins", "check", "replay", "parts:Recent")
    assert done.returncode == 0, done.stdout

    # The plugin: the same in place of what `plugins new` made.
    done = type_in("plugins", "new", "cartpole-dqn-mine", "--kind", "network", "--kind", "replay")
    assert done.returncode == 0, done.stderr
    project = folder / "cartpole-dqn-mine"
    entry = project / "cartpole_dqn_mine" / "__init__.py"
    text = entry.read_text()
    for kind, theirs, ours in (("network", "FourierNetwork", "Net"), ("replay", "StratifiedReplay", "Recent")):
        assert theirs in text
        text = text.replace(theirs, ours)
        (entry.parent / f"{kind}.py").write_text(defined)
    entry.write_text(text)
    expose(project, folder / "site")

    small = ["--set", "agent.replay.capacity=5000", "--set", "agent.learning_starts=100"]
    small += ["--set", "evaluation.episodes=2", "--observer", "parts:remember", "--steps", "250", "--plain"]
    given = {"typed": ("parts:Net", "parts:Recent"), "plugin": ("mine", "mine")}
    for out, (network, replay) in given.items():
        done = type_in("run", "--obs", "pixels", "--network", network, "--replay", replay, *small, "--out", out)
        assert done.returncode == 0, done.stderr
        assert rows(folder / out) == rows(folder / "notebook")
        for name in ("best", "checkpoint"):
            ours, theirs = (sorted((folder / run / name).rglob("*.safetensors")) for run in (out, "notebook"))
            assert [p.read_bytes() for p in ours] == [p.read_bytes() for p in theirs] != []
    assert "cartpole-dqn-mine" in (folder / "plugin/environment.json").read_text()
    done = type_in("evaluate", "notebook")
    assert done.returncode == 2
    assert "network '__main__:Net' cannot be found" in done.stderr
    assert "Move it from a notebook into a file" in done.stderr
