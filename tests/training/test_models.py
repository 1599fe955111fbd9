from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cartpole_dqn.api import Run, train
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.errors import Notice, UserError


def test_a_run_of_many_lanes_can_be_evaluated(tmp_path: Path) -> None:
    settings = {
        "env": {"num_envs": 256},
        "agent": {"learning_starts": 256, "train_every": 64, "n_step": 5},
        "evaluation": {"every": 256, "episodes": 2},
    }
    run = train(obs="state", steps=512, out=tmp_path / "r", settings=settings, plain=True)
    best, last = (run.evaluate(episodes=3, which=which) for which in ("best", "last"))
    assert len(best.returns) == len(last.returns) == 3
    assert (best.step, last.step) in ((256, 512), (512, 512))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_run_made_with_cuda_plays_and_resumes_without_it(tmp_path: Path) -> None:
    settings = {"agent": {"learning_starts": 16, "batch_size": 8}, "evaluation": {"every": 30, "episodes": 1}}
    here = train(obs="state", steps=60, out=tmp_path / "r", settings=settings, plain=True)
    elsewhere = Run(here.folder, changed(here.config, device="cuda"), here.host)
    with pytest.warns(Notice, match=r"no CUDA device on this machine: its model acts on the CPU"):
        assert elsewhere.evaluate(episodes=2).returns == here.evaluate(episodes=2).returns
    with pytest.raises(UserError, match=r"--device cuda: .* use --device cpu or auto"):
        elsewhere.resume(steps=90)
    with pytest.raises(UserError, match="--device cuda"):
        here.evaluate(device="cuda")
    with pytest.raises(UserError, match="expected 'auto', 'cpu' or 'cuda', got 'gpu'"):
        here.evaluate(device="gpu")
    assert elsewhere.resume(steps=90, device="cpu").config.device == "cpu"
