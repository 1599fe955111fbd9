"""The checks of `doctor` that may crash: `python -m cartpole_dqn.studies.doctor_probe [BLOCKED_PLUGIN ...]`.

Each stage writes a JSON line to stdout when it begins, `{"stage": NAME}`, and another when it ends:
`{"stage": NAME, "found": {...}}` or `{"stage": NAME, "error": TEXT}`. After a crash, the second line is missing.
"""

from __future__ import annotations

import functools
import json
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import said_by

Found = dict[str, Any]

STATE_STEPS, PIXEL_STEPS = 400, 60
"""Environment steps of the short runs: at most a second on an idle machine."""


def main() -> None:
    """Run every stage, also after one failed."""
    # Redirect what libraries print away from the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for name, stage in STAGES.items():
        print(json.dumps({"stage": name}), file=answers, flush=True)
        answer: Found = {"stage": name}
        try:
            answer["found"] = stage()
        except (Exception, SystemExit) as error:
            answer["error"] = said_by(error)
        print(json.dumps(answer), file=answers, flush=True)


def look_at_torch() -> Found:
    """Import torch and multiply matrices. Report its devices and threads."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        cuda = torch.cuda.is_available()
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
    value = float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
    if value != 512.0:
        raise RuntimeError(f"a product of matrices of ones has the sum {value}, expected 512")
    return {
        "version": torch.__version__,
        "built for CUDA": torch.version.cuda,
        "devices": devices,
        "threads": torch.get_num_threads(),
        "warnings": [" ".join(str(warning.message).split()) for warning in said],
    }


def look_at_torchvision() -> Found:
    """Import torchvision, which fails if it does not match torch."""
    import torchvision

    return {"version": torchvision.__version__}


def look_at_display() -> Found:
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
    return {"colours": colours, "driver": driver, "window": error}


def look_at_plugins() -> Found:
    """Load the plugins and register their environments."""
    from cartpole_dqn.plugin.host import load_plugins

    host = load_plugins(blocked=sys.argv[1:])
    host.register_environments()
    return {"plugins": host.describe(), "warnings": host.warnings()}


def run(obs: str, steps: int, learning_starts: int) -> Found:
    """Train in a temporary folder with the built-in parts, and read the checkpoint."""
    from rich.console import Console

    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.runs.checkpoint import read_state
    from cartpole_dqn.runs.folder import RunFolder
    from cartpole_dqn.training.assembly import assemble
    from cartpole_dqn.training.resolve import resolve_config

    host = load_plugins(allowed=())
    flags = {"obs": obs, "steps": steps, "evaluation": {"every": 0}, "observer": [{"name": "metrics"}]}
    # A replay that holds less than a batch makes no update, whatever the preset's batch is.
    sets = [f"agent.learning_starts={learning_starts}", f"agent.batch_size={learning_starts}"]
    config, _ = resolve_config(host, flags=flags, sets=sets)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder.create(Path(place) / "run", env_id=config.env.id, obs=obs)
        with folder.lock():
            made = assemble(config, host, folder=folder, console=Console(stderr=True), clock=time.perf_counter)
            try:
                ended = made.runner.run()
            finally:
                made.close()
        _, parts = read_state(folder.checkpoint, parts=["run"])
    updates = int(parts["run"]["agent"]["updates"])
    loss = float(ended.progress.metrics.get("loss", math.nan))
    if updates == 0 or not math.isfinite(loss):
        raise RuntimeError(f"{steps} steps gave {updates} updates and a loss of {loss}")
    seconds = max(ended.progress.seconds, 1e-9)
    return {"steps": ended.progress.step, "updates": updates, "seconds": seconds}


STAGES: Mapping[str, Callable[[], Found]] = {
    "torch": look_at_torch,
    "torchvision": look_at_torchvision,
    "display": look_at_display,
    "plugins": look_at_plugins,
    "run from state": functools.partial(run, "state", STATE_STEPS, 64),
    "run from pixels": functools.partial(run, "pixels", PIXEL_STEPS, 32),
}

if __name__ == "__main__":
    main()
