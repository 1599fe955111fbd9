from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.contracts.seeding import (
    Stream,
    derive,
    episode_seed,
    seeded_torch,
)


def test_paths_are_told_apart() -> None:
    paths = [(), ("a",), ("a", "b"), ("ab",), (1,), ("1",), ("a", 1), ("a/str:b",)]
    assert len({derive(0, *path) for path in paths}) == len(paths)
    assert derive(0, "a") != derive(1, "a")


def test_values_never_change() -> None:
    """A run must mean the same with the next version: these numbers are part of the contract."""
    assert derive(0, "a") == 6050640092585098156
    assert episode_seed(Stream.REPORT, 0, 0, 0) == 1745688350


@given(st.sampled_from(Stream), st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 10**6))
def test_streams_never_meet(stream: Stream, seed: int, env: int, episode: int) -> None:
    value = episode_seed(stream, seed, env, episode)
    assert 0 <= value < 2**31
    assert value >> 29 == int(stream)


def test_seeded_torch_leaves_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    with seeded_torch(5):
        first = torch.nn.Linear(3, 2).weight.detach().clone()
    with seeded_torch(5):
        second = torch.nn.Linear(3, 2).weight.detach().clone()
    assert torch.equal(first, second)
    assert torch.equal(before, torch.random.get_rng_state())


def test_modules_are_built_on_the_cpu_and_wake_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    def woken(*args: Any) -> Any:
        raise AssertionError("an accelerator was touched")

    for name in ("device_count", "manual_seed_all", "get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, name, woken)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        expected = torch.nn.Linear(3, 2).weight.detach().clone()
    with torch.device("meta"), seeded_torch(5):
        weight = torch.nn.Linear(3, 2).weight
    assert weight.device.type == "cpu"
    assert torch.equal(weight, expected)
