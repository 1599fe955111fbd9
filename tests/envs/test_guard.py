from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from cartpole_dqn.envs.guard import EnvError, Guard, Resting

SOUND = (np.zeros(3, np.float32), 1.0, False, False, {})
NAN, INF = float("nan"), float("inf")


class Scripted(gymnasium.Env[Any, Any]):
    """Returns what it was given, or raises it."""

    def __init__(
        self, answer: Any = SOUND, first: Any = None, space: spaces.Box | None = None, actions: Any = None
    ) -> None:
        self.observation_space = space or spaces.Box(-1, 1, (3,), np.float32)
        self.action_space = actions or spaces.Discrete(2)
        self.answer = answer
        self.first = (self.observation_space.sample() * 0, {}) if first is None else first

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self._say(self.first)

    def step(self, action: Any) -> Any:
        return self._say(self.answer)

    def _say(self, answer: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer() if isinstance(answer, Callable) else answer  # type: ignore[arg-type]


def answer(**changes: Any) -> tuple[Any, ...]:
    names = ("obs", "reward", "terminated", "truncated", "info")
    return tuple(changes.get(name, value) for name, value in zip(names, SOUND, strict=True))


class UnspeakableError(Exception):
    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


FAULTS: dict[str, tuple[Any, str]] = {
    "raises": (ZeroDivisionError("at last"), "raised ZeroDivisionError: at last (test_guard.py, line"),
    "raises many lines": (ValueError("a\nb  c"), "raised ValueError: a b c ("),
    "raises what has no words": (
        UnspeakableError(),
        "raised UnspeakableError: (an exception that cannot be printed) (test_gua",
    ),
    "leaves the process": (lambda: sys.exit(3), "raised SystemExit: 3 (test_guard.py"),
    "NaN": (answer(obs=np.array([0, NAN, NAN], np.float32)), "2 of 3 numbers are not finite; the first is nan at [1]"),
    "infinity": (answer(obs=np.array([0, 0, -INF], np.float32)), "1 of 3 numbers are not finite; the first is -inf"),
    "shape": (
        answer(obs=np.zeros(4, np.float32)),
        "gave the observation float32 [4], expected an array float32 [3]. Let",
    ),
    "dtype": (answer(obs=np.zeros(3)), "gave the observation float64 [3], expected an array float32 [3]"),
    "list": (answer(obs=[0.0, 0.0, 0.0]), "gave the observation [0.0, 0.0, 0.0] (list), expected"),
    "None": (answer(obs=None), "gave the observation None (NoneType), expected"),
    "no words for it": (answer(obs=UnspeakableError()), "gave the observation something (UnspeakableError), expected"),
    "reward NaN": (answer(reward=NAN), "gave the reward nan (float), expected a finite number"),
    "reward endless": (answer(reward=10**400), "gave the reward 1000000000000"),
    "reward array": (answer(reward=np.ones(1)), "gave the reward array([1.]) (ndarray), expected"),
    "flag": (answer(terminated=None), "gave terminated as None (NoneType), expected True or False"),
    "info": (answer(info=None), "gave the info None (NoneType), expected a dict"),
    "the old way": (SOUND[:4], "from step, expected an observation, a reward, terminated, truncated and an info"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_a_sentence_that_names_the_environment(case: str) -> None:
    given, words = FAULTS[case]
    env = Guard(Scripted(given), 7)
    env.reset(seed=1)
    with pytest.raises(EnvError) as caught:
        env.step(0)
    text = str(caught.value)
    assert text.startswith("environment 7 ")
    assert words in text
    assert caught.value.env == 7
    assert "\n" not in text
    caught.value.place = "here"
    assert str(caught.value).startswith("environment 7 (here) ")


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (OSError("no level"), "raised OSError: no level"),
        (np.zeros(3, np.float32), "from reset, expected an observation and an info"),
        ((np.zeros(3), {}), "float64 [3]"),
        ((np.full(3, NAN, np.float32), {}), "3 of 3 numbers are not finite"),
        ((np.zeros(3, np.float32), 5), "gave the info 5 (int)"),
    ],
)
def test_a_reset_is_checked_too(first: Any, words: str) -> None:
    with pytest.raises(EnvError) as caught:
        Guard(Scripted(first=first), 0).reset()
    assert words in str(caught.value)


@pytest.mark.parametrize("reward", [1, 1.0, True, np.int8(1), np.float32(1), np.bool_(True)])
def test_what_is_sound_passes_in_plain_types(reward: Any) -> None:
    env = Guard(Scripted(answer(reward=reward, terminated=np.bool_(True), truncated=0, info={"x": 1})), 0)
    obs, info = env.reset(seed=3)
    assert info == {}
    obs, *rest = env.step(0)
    assert rest == [1.0, True, False, {"x": 1}]
    assert [type(value) for value in rest] == [float, bool, bool, dict]
    assert obs is SOUND[0]


def test_an_observation_of_integers_and_one_of_no_dimensions() -> None:
    space = spaces.Box(0, 255, (2, 2), np.uint8)
    env = Guard(Scripted(answer(obs=np.full((2, 2), 255, np.uint8)), space=space), 0)
    env.reset()
    assert env.step(0)[0].max() == 255
    space = spaces.Box(0, 1, (), np.float32)
    env = Guard(Scripted(answer(obs=np.float32(0.5)), space=space), 0)
    assert env.reset()[0].shape == ()
    assert env.step(0)[0] == np.float32(0.5)
    env = Guard(Scripted(answer(obs=np.float32(NAN)), space=space), 0)
    with pytest.raises(EnvError, match=r"1 of 1 numbers are not finite; the first is nan at \[\]"):
        env.step(0)


MASKS = [np.array([1, 0, 1], np.int8), np.array([True, False, True]), [1, 0, 1], (True, False, True)]


def test_masks_become_boolean() -> None:
    for mask in MASKS:
        env = Guard(Scripted(answer(info={"action_mask": mask, "x": 1}), actions=spaces.Discrete(3)))
        env.reset()
        info = env.step(0)[-1]
        assert (info["action_mask"].dtype, info["action_mask"].tolist()) == (np.bool_, [True, False, True])
        assert info["x"] == 1


def test_a_mask_that_allows_nothing_allows_everything() -> None:
    env = Guard(Scripted(answer(info={"action_mask": np.zeros(2)}), first=(SOUND[0], {"action_mask": None})))
    assert env.reset()[1] == {}
    assert env.step(0)[-1]["action_mask"].tolist() == [True, True]


@pytest.mark.parametrize("mask", [np.ones(2), np.ones((1, 3)), [1, [0], 1], "all"])
def test_a_mask_of_another_form_is_a_fault(mask: Any) -> None:
    env = Guard(Scripted(first=(SOUND[0], {"action_mask": mask}), actions=spaces.Discrete(3)))
    with pytest.raises(EnvError, match=r"environment 0 gave the action_mask .* each of 3 actions"):
        env.reset()


def test_actions_count_from_0() -> None:
    heard: list[int] = []

    class Hears(Scripted):
        def step(self, action: Any) -> Any:
            heard.append(action)
            return super().step(action)

    env = Guard(Hears(actions=spaces.Discrete(3, start=5)))
    assert env.action_space == spaces.Discrete(3)
    env.reset()
    env.step(2)
    assert heard == [7]


def test_an_environment_rests_from_a_reset_without_a_seed() -> None:
    outcomes = iter([answer(obs=np.full(3, 0.5, np.float32)), answer(terminated=True)])
    env = Resting(Guard(Scripted(lambda: next(outcomes))))
    env.reset(seed=1)
    env.step(0)
    for shown in (env.reset(), *(env.step(0) for _ in range(3))):
        assert shown[0].tolist() == [0.5] * 3
        assert shown[1:] in (({},), (0.0, False, False, {}))
    env.reset(seed=2)
    assert env.step(0)[2] is True


@pytest.mark.parametrize("action", [-1, 2, NAN])
def test_an_action_that_there_is_not_is_refused(action: Any) -> None:
    with pytest.raises(EnvError, match=r"environment 0 was given the action .*, expected 0 to 1\."):
        Guard(Scripted()).step(action)


@pytest.mark.filterwarnings("ignore:.*old step API")
@pytest.mark.parametrize("answer", [(*SOUND[:3], {}), (*SOUND[:4], None)])
def test_what_the_wrappers_of_gymnasium_refuse_is_named_for_the_user(answer: Any) -> None:
    gymnasium.register("tests/Old-v0", lambda: Scripted(answer))
    guard = Guard(gymnasium.make("tests/Old-v0"))
    guard.reset()
    with pytest.raises(EnvError, match=r"gymnasium\.utils\.env_checker\.check_env"):
        guard.step(0)
    del gymnasium.registry["tests/Old-v0"]


def test_whoever_owns_the_code_that_raised_can_be_found() -> None:
    with pytest.raises(EnvError) as caught:
        Guard(Scripted(KeyError("x")), 0).step(0)
    frames = []
    trace = caught.value.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert frames[-1] == "_say"
