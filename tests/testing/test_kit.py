"""The kit itself: what it offers, what a result says, and what it imports."""

from __future__ import annotations

import importlib
import inspect
import itertools
import random
import re
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn import testing
from cartpole_dqn.components.exploration import EpsilonGreedy
from cartpole_dqn.contracts.options import options_class
from cartpole_dqn.contracts.parts import Context
from cartpole_dqn.errors import ConfigError, UserError
from cartpole_dqn.testing import CheckResult, checks_for, run_checks
from cartpole_dqn.testing._spaces import IMAGE, SIGNED, UNREADABLE, VECTOR, Stamp, context
from cartpole_dqn.testing._state import difference, global_randomness_untouched, snapshot
from cartpole_dqn.testing._story import Story

FOLDER = Path(testing.__file__).parent


def test_kinds_without_checks_are_refused() -> None:
    with pytest.raises(UserError, match=r"no checks for the kind 'replai'\. Did you mean 'replay'\?"):
        checks_for("replai")
    with pytest.raises(UserError, match="no checks for the kind 'preset'"):
        run_checks("preset", object)


def test_the_list_of_checks_is_a_copy() -> None:
    checks_for("replay").clear()
    assert checks_for("replay")


class Exits:
    """Leaves the interpreter when it is built."""

    @options_class
    class Options:
        """None."""

    def __init__(self, options: Any, context: Context) -> None:
        sys.exit(3)


def test_a_crash_is_a_result_that_says_where() -> None:
    results = {result.name: result for result in run_checks("replay", Exits)}
    assert len(results) == len(checks_for("replay"))
    assert results["check_options_are_declared"] == CheckResult("check_options_are_declared", passed=True)
    crash = results["check_batch_shapes"]
    assert not crash.passed
    assert crash.message.startswith("raised SystemExit: 3 (test_kit.py, line ")
    assert isinstance(crash.error, SystemExit)


class Constant(EpsilonGreedy):
    def epsilon(self, step: int) -> float:
        return 0.5


def test_results_come_one_by_one() -> None:
    shown: list[CheckResult] = []
    results = run_checks("exploration", Constant, on_result=shown.append)
    assert shown == results
    assert all(result.passed for result in results)


@pytest.mark.process
def test_it_refuses_to_run_without_asserts() -> None:
    code = "from cartpole_dqn.testing import checks_for; checks_for('replay')[0](object)"
    ran = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "run them without -O" in ran.stderr


def test_it_imports_no_pytest() -> None:
    for path in FOLDER.glob("*.py"):
        assert not re.search(r"^\s*(from|import) _?pytest\b", path.read_text(), re.MULTILINE), path.name


# What the checks stand on ---------------------------------------------------------------------------------------------

SPACES = [VECTOR, IMAGE, SIGNED]


@given(st.integers(0, 900_000), st.sampled_from(SPACES), st.data())
def test_a_stamped_observation_is_read_unless_it_was_touched(
    number: int, space: spaces.Box, data: st.DataObject
) -> None:
    stamp = Stamp(space)
    obs = stamp.put(number)[None]
    assert obs[0] in space
    assert stamp.read(obs).tolist() == [number]
    place = data.draw(st.integers(0, obs.size - 1))
    flat = obs.reshape(-1)
    flat[place] = flat[place] + 1 if flat[place] < 200 else flat[place] - 1
    assert stamp.read(obs).tolist() == [UNREADABLE]


@given(st.integers(1, 3), st.integers(1, 6), st.integers(0, 99))
def test_a_story_hangs_together(lanes: int, n_step: int, seed: int) -> None:
    """Lanes are continuous, observations unlike each other, and outcomes agree with a fold from the end."""
    where = context(num_envs=lanes, n_step=n_step)
    story = Story(where, seed)
    told = [story.round() for _ in range(25)]
    for env in range(lanes):
        lane = [transitions[env] for transitions in told]
        for before, after in itertools.pairwise(lane):
            if not (before.terminated or before.truncated):
                assert np.array_equal(before.next_obs, after.obs)
    starts = [step.number for step in story.steps()]
    assert len(set(starts)) == len(starts)
    for step in story.steps():
        outcome = story.outcome(step.number)
        steps = [s for s in story.episode(step) if s.number >= step.number][:n_step]
        over = steps[-1].terminated or steps[-1].truncated
        assert (outcome is None) == (len(steps) < n_step and not over)
        if outcome is not None:
            total = 0.0
            for s in reversed(steps):
                total = s.reward + where.gamma * total
            assert outcome.reward == pytest.approx(total)
            assert outcome.last is steps[-1]
            assert outcome.discount == (0.0 if steps[-1].terminated else pytest.approx(where.gamma ** len(steps)))


def test_a_snapshot_shares_nothing() -> None:
    tensor, array = torch.zeros(2), np.zeros(2)
    state = OrderedDict(a=[tensor, (array, 1, "x", None, np.float32(2))])
    copy = snapshot(state)
    tensor += 1
    array += 1
    assert not difference(copy, {"a": [torch.zeros(2), (np.zeros(2), 1, "x", None, np.float32(2))]})
    for bad in (object(), {1.5: 0}, np.array(["x"]), {"a": {1, 2}}):
        with pytest.raises(AssertionError):
            snapshot(bad)


@pytest.mark.parametrize(
    ("left", "right", "place"),
    [
        (float("nan"), float("nan"), ""),
        ({"a": [1, np.array([np.nan])]}, {"a": [1, np.array([np.nan])]}, ""),
        ({"a": [1, 2]}, {"a": [1, 3]}, "['a'][1] (2 and 3)"),
        ({"a": 1}, {"b": 1}, "the value (keys ['a', 'b'])"),
        ([1], [1, 2], "the value (lengths 1 and 2)"),
        (1, 1.0, "the value (1 and 1.0)"),
        (True, 1, "the value (True and 1)"),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16), ""),
        (torch.ones(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16), "the value"),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(2, dtype=torch.int64)}, "['a']"),
        (np.zeros(2), np.zeros(3), "the value"),
    ],
)
def test_differences_are_placed(left: Any, right: Any, place: str) -> None:
    assert difference(left, right) == place


def test_draws_from_global_generators_are_seen() -> None:
    for draw, name in ((random.random, "Python"), (np.random.random, "NumPy"), (lambda: torch.rand(1), "torch")):
        said = f"the test moved the global random state of {name}"
        with pytest.raises(AssertionError, match=said), global_randomness_untouched("the test"):
            draw()
    with global_randomness_untouched("the test"):
        np.random.default_rng(0).random()
        torch.rand(1, generator=torch.Generator())


def test_one_reason_is_said_once() -> None:
    with pytest.raises(AssertionError) as caught:
        testing.check_optimiser(Exits)  # type: ignore[arg-type]
    assert str(caught.value).count("raised SystemExit: 3") == 1
    assert "check_attaching, check_parameters_move" in str(caught.value)
    line = inspect.getsourcelines(Exits)[1]
    assert str(caught.value).endswith(f"\nIt is in test_kit.py, line {line}.")


def test_a_crash_in_a_library_is_said_at_the_author_s_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_crash.py").write_text(
        "import torch\nfrom cartpole_dqn import TargetUpdate\n\n"
        "class Crash(TargetUpdate):\n    def __init__(self, options, context):\n        torch.zeros(2).reshape(3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    results = run_checks("target-update", importlib.import_module("acme_crash").Crash)
    assert {r.message.rpartition(" (")[2] for r in results if not r.passed} == {"acme_crash.py, line 6)"}


def test_wrong_options_are_said_before_anything_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"^unknown option Exits\.nonsense"):
        run_checks("optimiser", Exits, {"nonsense": 1})
