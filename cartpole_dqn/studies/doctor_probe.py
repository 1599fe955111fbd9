"""The checks of `doctor` that may crash: `python -m cartpole_dqn.studies.doctor_probe [BLOCKED_PLUGIN ...]`.

Each stage writes a JSON line to stdout when it begins, `{"stage": NAME}`, and another when it ends:
`{"stage": NAME, "found": {...}}` with a `Finding`, or `{"stage": NAME, "error": TEXT}`. After a crash, the second line
is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import error_line
from cartpole_dqn.studies.doctor_checks import Finding

STATE_STEPS, PIXEL_STEPS = 400, 60
"""Environment steps of the short runs: at most a second on an idle machine."""


def main() -> None:
    """Run every stage, also after one failed."""
    # Redirect what libraries print away from the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for name, stage in STAGES.items():
        print(json.dumps({"stage": name}), file=answers, flush=True)
        answer: dict[str, Any] = {"stage": name}
        try:
            answer["found"] = dataclasses.asdict(stage())
        except (Exception, SystemExit) as error:
            answer["error"] = error_line(error)
        print(json.dumps(answer), file=answers, flush=True)


def check_torch() -> Finding:
    """Import torch and multiply matrices. Report its devices and threads."""
    import torch

    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        cuda = torch.cuda.is_available()
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
    value = float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
    if value != 512.0:
        raise RuntimeError(f"a product of matrices of ones has the sum {value}, expected 512")
    warned = [" ".join(str(warning.message).split()) for warning in caught_warnings]
    version, threads = torch.__version__, torch.get_num_threads()
    text = f"{version}, {', '.join(devices) or 'CPU alone'}, threads: {threads} (runs use 1 by default)"
    data = {"version": version, "built for CUDA": torch.version.cuda, "devices": devices, "threads": threads}
    data["warnings"] = warned
    if warned:
        return Finding("torch", "warning", f"{text}; it warns: {warned[0]}", "Runs use the CPU.", data)
    return Finding("torch", "ok", text, data=data)


def check_torchvision() -> Finding:
    """Import torchvision, which fails if it does not match torch."""
    import torchvision

    version = torchvision.__version__
    return Finding("torchvision", "ok", version, data={"version": version})


def check_display() -> Finding:
    """Render a frame, and report the SDL driver for windows."""
    from cartpole_dqn.wrappers.render import prepare_display

    prepare_display()
    import gymnasium
    import numpy as np
    import pygame

    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    colours = len(np.unique(np.asarray(env.render()).reshape(-1, 3), axis=0))
    driver, error = "", ""
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
    except pygame.error as failure:
        error = str(failure)
    env.close()
    return judge_display(colours, driver, error)


def judge_display(colours: int, driver: str, window: str) -> Finding:
    """Judge the colours of a rendered frame, SDL's driver, and the error of opening a window, "" for none."""
    data = {"colours": colours, "driver": driver, "window": window}
    if colours < 2:
        advice = "Unset SDL_VIDEODRIVER, or report a bug."
        return Finding("display", "problem", "rendered pictures are empty", advice, data)
    if window:
        advice = "Use `record` to make a file, or ssh -X or -Y for a display."
        return Finding("display", "warning", f"no window can be opened for `watch`: {window}", advice, data)
    blind = driver in ("dummy", "offscreen")
    aside = ": enough for runs and `record`, but `watch` has no window" if blind else ""
    return Finding("display", "ok", f"SDL's driver {driver}{aside}", data=data)


def check_plugins() -> Finding:
    """Load the plugins and register their environments."""
    from cartpole_dqn.plugin.host import load_plugins

    host = load_plugins(blocked=sys.argv[1:])
    host.register_environments()
    return judge_plugins(host.describe(), host.warnings())


def judge_plugins(described: Sequence[Mapping[str, Any]], warned: Sequence[str]) -> Finding:
    """Judge the plugins, without the built-in ones, and what the host warns of."""
    others = [plugin for plugin in described if plugin["distribution"] != "cartpole-dqn"]
    summary = ", ".join(f"{p['distribution']} {p['version']} {p['state']}" for p in others) or "only the built-in ones"
    data = {"plugins": others, "warnings": warned}
    if warned:
        advice = "Update or uninstall it, or leave it out with -p no:NAME."
        return Finding("plugins", "warning", f"{summary}; {' '.join(warned)}", advice, data)
    return Finding("plugins", "ok", summary, data=data)


def check_run(obs: str, steps: int, learning_starts: int) -> Finding:
    """Train in a temporary folder with the built-in parts, and read the checkpoint."""
    from rich.console import Console

    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.runs.checkpoint import read_state
    from cartpole_dqn.runs.folder import RunFolder
    from cartpole_dqn.training.resolve import resolve_config
    from cartpole_dqn.training.session import execute

    host = load_plugins(allowed=())
    flags = {"obs": obs, "steps": steps, "evaluation": {"every": 0}, "observer": [{"name": "metrics"}]}
    # A replay that holds less than a batch makes no update, whatever the preset's batch is.
    sets = [f"agent.learning_starts={learning_starts}", f"agent.batch_size={learning_starts}"]
    config, _ = resolve_config(host, flags=flags, sets=sets)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder.create(Path(place) / "run", env_id=config.env.id, obs=obs)
        result = execute(folder, config, host, console=Console(stderr=True))
        assert result is not None  # only a resumed run may have nothing to do
        _, parts = read_state(folder.checkpoint, parts=["run"])
    updates = int(parts["run"]["agent"]["updates"])
    loss = float(result.progress.metrics.get("loss", math.nan))
    if updates == 0 or not math.isfinite(loss):
        raise RuntimeError(f"{steps} steps gave {updates} updates and a loss of {loss}")
    done, seconds = result.progress.step, max(result.progress.seconds, 1e-9)
    summary = f"{done} steps and {updates} updates in {seconds:.1f} s, {done / seconds:,.0f} steps/s"
    return Finding(f"run from {obs}", "ok", summary, data={"steps": done, "updates": updates, "seconds": seconds})


STAGES: Mapping[str, Callable[[], Finding]] = {
    "torch": check_torch,
    "torchvision": check_torchvision,
    "display": check_display,
    "plugins": check_plugins,
    "run from state": functools.partial(check_run, "state", STATE_STEPS, 64),
    "run from pixels": functools.partial(check_run, "pixels", PIXEL_STEPS, 32),
}

if __name__ == "__main__":
    main()
