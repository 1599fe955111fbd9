"""Command lines that are wrong: each gets a sentence and exit code 2, and nothing is started."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from cartpole_dqn.plugin.project import LONGEST

BAD = {
    # What is typed
    "nowhere": "error: no such command 'nowhere'",
    "evaluate": "error: missing argument 'RUN",
    "run --fooo": "error: no such option: --fooo",
    "run --seed x": "error: --seed x: expected a valid integer",
    "run --steps many": "error: --steps many: 'many' is not a whole number.",
    "run --steps 1e999": "is not a whole number",
    "run --steps 5 --episodes 5": "error: --steps and --episodes: give one of them.",
    "run --out ''": "--out: expected a folder's name, got an empty one.",
    "run --init-last": "error: --init-last needs --init-from RUN.",
    "-p foo presets list": "expected no:NAME",
    # Configurations
    "run --env CartPol-v1 --obs state": "Did you mean 'CartPole-v1'?",
    "run --preset pixles": "Did you mean 'pixels'?",
    "presets show pixles": "Did you mean 'pixels'?",
    "run --config none.toml": "cannot read the configuration none.toml",
    "run --obs pixel": "--obs pixel: expected pixels or state",
    "run --set agent.lr=1": "Did you mean 'agent.optimiser.lr'?",
    "run --set observation=3": "observation: expected",
    "run --collector lockstop": "unknown collector 'lockstop'. Did you mean 'lockstep'?",
    "run --set agent.replay.capacity=100000000000": "capacity",
    "run --obs state --network conv": "network conv reads images",
    "run --set observation.centered-crop.width=6": "conv",
    "run --set observation.resize.height=4 --set observation.centered-crop.edges=clamp": "width must be at most",
    "run --wrapper stack@resize": "expected NAME, NAME@after:OTHER",
    "run --obs state --init-from nobody": "error: init.run: 'nobody' is no run",
    "run --obs state --init-from mine --set agent.network.hidden=[3]": "the model of mine does not fit this run",
    # Plugins
    "plugins list --kind replays": "unknown kind of component 'replays'. Did you mean",
    "plugins check replays uniform": "unknown kind",
    "plugins check replay unifrom": "Did you mean 'uniform'",
    "plugins check replay nowhere_at_all:Replay": "there is no module nowhere_at_all",
    "plugins check replay 'a b:c'": "expected module:Class, such as nets:Net",
    "plugins check exploration linear --set every": "expected KEY=VALUE",
    "plugins new x --kind networks": "Did you mean 'network'",
    "plugins new x --name 'my plugin'": "'my plugin' is no name for a plugin",
    "plugins new x --name ..": "as in 'cartpole-dqn-something'. Choose one with --name.",
    f"plugins new x --name {'a' * (LONGEST + 1)}": f"{LONGEST} at most",
    "plugins new x --name cartpole-dqn": "it is this package's own. Choose another with --name.",
    "plugins new x --name class": "a word of Python's own",
    "plugins new x --name tests": "the project's tests",
    "plugins new x --name json": "a module 'json' can be imported already",
    "plugins new x --name numpy": "is installed",
    # Runs and files
    "evaluate nobody": "'nobody' is no run",
    "evaluate .": ". is not the folder of a run",
    "evaluate latest --episodes=0": "error: --episodes 0: ",
    "preview --out preview.txt": "expected a picture's name",
    "preview --out no/such/folder/x.png": "no/such/folder/x.png cannot be written: No such file",
    "preview --obs pixels --compare tutorial": "Did you mean 'tutorial-",
    "record nobody": "'nobody' is no run",
    "record a0": "holds no model yet",
    "record mine --out x.png": "x.png: expected an animation's name, ending in .gif or .mp4.",
    "record mine --out no/x.gif": "no/x.gif cannot be written: No such file",
    "record mine --fps 60": "60 pictures a second: expected a number from 0.01, up to 50",
    "record mine --theme grey": "--theme grey: expected light or dark.",
    "record mine --attribution": "CartPole-v1 is observed as numbers",
    "record mine --progress --episodes 2": "--progress plays one episode",
    "report nobody": "'nobody' is no run",
    "report broken": "broken/config.toml is not valid TOML",
    "report mine --out x.pdf": "x.pdf: expected a page's name, ending in .html or .htm.",
    "report mine --out no/x.html --episodes 0 --no-animation": "no/x.html cannot be written: No",
    "report mine --episodes -1": "--episodes -1: ",
    "share nobody --out x": "'nobody' is no run",
    "export nobody": "'nobody' is no run",
    "export mine --out net.txt": "net.txt: expected a file name that ends in .onnx (format onnx) or .pt2",
    "export mine --out no/x.pt2": "no/x.pt2 cannot be written: there is no folder no.",
    "plot zz --out x.png": "'zz' is no run",
    "plot a0 --out x.txt": "x.txt: expected a picture's name, ending in .png, .svg",
    "plot a0 --out no/such/x.png": "no/such/x.png cannot be written: No such file",
    "plot a0 --x step": "--x step: expected steps, episodes or time. Did you mean 'steps'?",
    "plot a0 --theme solarized": "--theme solarized: expected light, dark or both.",
    "plot a0 a1 --out x.png --group-by lrr": "--group-by lrr: no run has such a key. Did you mean 'lr'?",
    "compare zz": "'zz' is no run",
    "compare a0 a1 --format html": "--format html: expected table, markdown or json.",
    "compare a0 a1 --out no/such.md": "no/such.md cannot be written: No such file",
    "compare a0 a1 --episodes 0": "--episodes",
    # Sweeps
    "sweep --obs state --grid agent.lr=1,2": "setting lr=1: unknown option agent.lr. Did you mean",
    "sweep --obs state --grid observation.resize.height=3": "height=3: observation.resize: there is no such entry.",
    "sweep --obs state --env Nope-v7": "cannot make the environment Nope-v7",
    "sweep --grid agent.n_step=1 --variant x": "--grid and --variant: give one of them.",
    "sweep --random 3": "--random needs --space.",
    "sweep --random 2 --space none.toml": "cannot read the configuration none.toml",
    "sweep --search optuna --space space.toml": "--search needs --trials.",
    "sweep --search grid --trials 2 --space space.toml": "--search grid: expected optuna.",
    "sweep --space space.toml": "--space is for --random and --search, which is not given.",
    "sweep --grid agent.n_step=1 --sweep-seed 3": "--sweep-seed is for --random and --search",
    "sweep --set seed=3": "a sweep takes its seeds from --seeds and --first-seed.",
    "sweep --seeds 0": "--seeds",
    "sweep --obs state --engine lokal": "unknown sweep-engine 'lokal'. Did you mean 'local'?",
    "sweep --obs state --engine-set stop_second=3": "Did you mean 'stop_seconds'?",
    "sweep --obs state --engine-set stop_seconds": "error: --engine-set stop_seconds: expected KEY=VALUE.",
    "sweep --obs state --set init.run=nobody": "'nobody' is no run",
    "sweep --out=": "--out: expected a folder's name, got an empty one.",
    "sweep --obs state --out runs": "runs is not empty.",
    "sweep --resume empty": "empty is not the folder of a sweep",
    "sweep --resume empty --seeds 3": "leave out --seeds.",
}


@pytest.fixture(autouse=True)
def _here(runs: Path, write_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run `mine`, written runs without a model, one with a broken configuration, ranges, an empty folder."""
    for name in ("a0", "a1", "broken"):
        write_run(f"runs/{name}")
    (runs / "broken" / "config.toml").write_text("= x")
    (tmp_path / "space.toml").write_text('"agent.optimiser.lr" = {low = 1e-4, high = 1e-2, log = true}\n')
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("CARTPOLE_DQN_PLUGINS", "")


@pytest.mark.parametrize("command", sorted({line.split()[0] for line in BAD}))
def test_it_gets_a_sentence_and_nothing_is_started(refused: Callable[..., None], command: str) -> None:
    for line, words in BAD.items():
        if line.split()[0] == command:
            refused(words, *shlex.split(line))
