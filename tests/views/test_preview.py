from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation, FrameStackObservation, GrayscaleObservation

from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.stages import Stage
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.views.preview import preview_stages, shows_cart_motion
from cartpole_dqn.wrappers import CenteredCrop, Channel, Crop, FrameDifference, RenderObservation, Resize

Chain = list[tuple[str, Callable[..., Any]]]

PIXELS: Chain = [
    ("render", functools.partial(RenderObservation, rows=[160, 320])),
    ("channel", functools.partial(Channel, channel=1)),
    ("resize", functools.partial(Resize, height=40, interpolation="bilinear")),
    (
        "frame-difference",
        functools.partial(FrameDifference, gap=3, keep_current=True, encoding="uint8"),
    ),
    ("centered-crop", functools.partial(CenteredCrop, width=80, locator="cart")),
]


def cartpole(render_mode: str | None = "rgb_array") -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1", render_mode=render_mode)


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return preview_stages(cartpole, PIXELS, seed=0)


class Quadrants(gymnasium.Env[Any, Any]):
    """Renders four colours, 3 x 4 pixels, and ends its episode after `length` steps."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = spaces.Discrete(10)
    action_space = spaces.Discrete(2)
    render_mode = "rgb_array"
    COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30))

    def __init__(self, length: int = 100) -> None:
        self._length, self._now = length, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self._now = 0
        return 0, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self._now += 1
        return min(9, self._now), 1.0, self._now >= self._length, False, {}

    def render(self) -> Any:
        frame = np.zeros((2 * 3, 2 * 4, 3), dtype=np.uint8)
        for i, colour in enumerate(self.COLOURS):
            frame[3 * (i // 2) : 3 * (i // 2) + 3, 4 * (i % 2) : 4 * (i % 2) + 4] = colour
        return frame


@pytest.mark.parametrize("depth", range(1, len(PIXELS) + 1))
def test_each_stage_is_what_its_wrapper_gives(depth: int) -> None:
    stages = preview_stages(cartpole, PIXELS, seed=3, steps=6)
    env = cartpole()
    for _, wrap in PIXELS[:depth]:
        env = wrap(env)
    env.action_space.seed(3)
    obs, _ = env.reset(seed=3)
    for _ in range(6):
        obs, *_ = env.step(env.action_space.sample())
    assert np.array_equal(stages[depth].obs, obs)
    assert stages[depth].space == env.observation_space
    assert stages[depth].name == PIXELS[depth - 1][0]
    env.close()


def test_the_first_stage_is_the_whole_frame_of_the_same_moment(stages: list[Stage]) -> None:
    assert stages[0].name == "env.render()"
    assert stages[0].obs.shape == (400, 600, 3)
    assert np.array_equal(stages[0].obs[160:320], stages[1].obs)
    assert [stage.obs.shape[:2] for stage in stages[1:]] == [(160, 600), (160, 600), (40, 150), (40, 150), (40, 80)]


def test_channels_are_drawn_as_what_they_are(stages: list[Stage]) -> None:
    assert [panel.kind for panel in stages[1].panels()] == ["colour"]
    assert [(panel.kind, panel.low, panel.high) for panel in stages[2].panels()] == [("grey", 0, 255)]
    for stage in stages[4:]:
        now, change = stage.panels()
        assert (now.kind, change.kind, change.zero) == ("grey", "difference", 128)
        assert now.caption == "channel 0"
        assert change.caption.startswith("channel 1, difference 128 ± ")
        assert (change.values != 128).any()


def test_differences_with_a_sign_are_around_zero() -> None:
    chain: Chain = [("render", RenderObservation), ("difference", FrameDifference)]
    panels = preview_stages(cartpole, chain, seed=0)[-1].panels()
    assert [(panel.kind, panel.zero) for panel in panels] == [("difference", 0.0)] * 3
    assert panels[0].values.dtype == np.int16


def test_a_stack_is_drawn_picture_by_picture() -> None:
    chain: Chain = [
        ("render", RenderObservation),
        ("grey", GrayscaleObservation),
        ("resize", functools.partial(Resize, height=20)),
        ("stack", functools.partial(FrameStackObservation, stack_size=4)),
    ]
    panels = preview_stages(cartpole, chain, seed=0)[-1].panels()
    assert [panel.caption for panel in panels] == ["3 before", "2 before", "1 before", "now"]
    assert all(panel.kind == "grey" and panel.values.shape == (20, 30) for panel in panels)


def test_numbers_are_drawn_as_numbers() -> None:
    native = functools.partial(cartpole, None)
    (alone,) = preview_stages(native, [], seed=0)
    assert (alone.name, [panel.kind for panel in alone.panels()]) == ("environment", ["numbers"])
    assert alone.panels()[0].names == ("position", "velocity", "angle", "angular velocity")
    stack = ("stack", functools.partial(FrameStackObservation, stack_size=3))
    stages = preview_stages(native, [stack, ("flat", FlattenObservation)], seed=0)
    assert [stage.panels()[0].values.shape for stage in stages] == [(4,), (12,), (12,)]
    assert [stage.panels()[0].kind for stage in stages] == ["numbers"] * 3
    assert stages[-1].panels()[0].names == (), "other numbers than the environment's own"


def test_labels_say_shape_dtype_and_range(stages: list[Stage]) -> None:
    assert (stages[2].name, stages[2].facts()) == ("channel", ["160 x 600 x 1", "uint8", "0 .. 255"])
    assert stages[0].facts()[-1] == "dashed line: what is kept"
    assert stages[5].facts()[-1] == "red: more, blue: less"
    (tuples,) = preview_stages(lambda: gymnasium.make("Blackjack-v1"), [], seed=0, steps=0)
    assert (tuples.name, tuples.facts()) == ("environment", ["Tuple(Discrete(32), Discrete(11), Discrete(2))"])
    assert tuples.panels() == []


def test_an_episode_that_ends_early_is_seen_before_its_end() -> None:
    seen = ("observed", lambda env: gymnasium.wrappers.TransformObservation(env, lambda obs: obs, None))
    stages = preview_stages(lambda: Quadrants(length=5), [seen], seed=0, steps=9)
    assert int(stages[1].obs) == 4
    assert int(preview_stages(lambda: Quadrants(length=5), [seen], seed=0, steps=3)[1].obs) == 3
    assert int(preview_stages(lambda: Quadrants(length=1), [seen], seed=0, steps=3)[1].obs) == 0


def test_stages_know_what_the_next_one_keeps(stages: list[Stage]) -> None:
    whole = (slice(0, 40), slice(0, 150))
    assert stages[0].kept == (slice(160, 320), slice(0, 600))
    assert [stage.kept for stage in stages[1:4]] == [None, None, None]
    assert stages[4].kept is not None
    rows, columns = stages[4].kept
    assert rows == whole[0]
    assert np.array_equal(stages[4].obs[rows, columns], stages[5].obs)
    assert stages[5].kept is None
    shown: Chain = [
        ("crop", functools.partial(Crop, rows=[2, 4], columns=[0.5, 1.0])),
        ("window", functools.partial(CenteredCrop, width=9, edges="pad")),
    ]
    frame, render, cut, padded = preview_stages(Quadrants, [("render", RenderObservation), *shown], seed=0, steps=2)
    assert (frame.kept, render.kept) == ((slice(0, 6), slice(0, 8)), (slice(2, 4), slice(4, 8)))
    assert (cut.kept, padded.kept) == ((slice(0, 2), slice(-2, 7)), None)


def test_a_cut_of_the_environments_own_pictures_is_none_of_the_frame() -> None:
    def pictures() -> Any:
        return gymnasium.wrappers.TransformObservation(
            Quadrants(), lambda obs: np.full((20, 30), obs, np.uint8), spaces.Box(0, 255, (20, 30), np.uint8)
        )

    frame, cut = preview_stages(pictures, [("crop", functools.partial(Crop, rows=[2, 9]))], seed=0, steps=2)
    assert (frame.name, frame.kept, cut.obs.shape) == ("env.render()", None, (7, 30))


# The cart's motion ----------------------------------------------------------------------------------------------------

RENDER = {"wrapper": "render", "rows": [160, 320]}
CROP = {"wrapper": "centered-crop", "width": 320, "locator": "cart"}
DIFFERENCE = {"wrapper": "frame-difference"}
STACK = {"wrapper": "gymnasium.wrappers:FrameStackObservation", "stack_size": 2}
MOTION: dict[str, tuple[dict[str, Any], bool | None]] = {
    "one frame": ({"obs": "pixels", "observation": [RENDER]}, False),
    "the window first": ({"obs": "pixels", "observation": [RENDER, CROP, DIFFERENCE]}, False),
    "the difference first": ({"obs": "pixels", "observation": [RENDER, DIFFERENCE, CROP]}, True),
    "frames on top of each other": ({"obs": "pixels", "observation": [RENDER, STACK]}, True),
    "numbers": ({"obs": "state"}, True),
    "another environment": ({"obs": "state", "env": {"id": "Acrobot-v1"}}, None),
    "the preset pixels": ({"obs": "pixels"}, True),
}


@pytest.mark.parametrize("case", MOTION)
def test_two_carts_that_end_alike_are_told_apart_or_not(case: str) -> None:
    """It is measured, and not a matter of names. `tests/cli/test_preview_command.py` has the tutorial's preset."""
    flags, expected = MOTION[case]
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, flags=flags)
    factory = EnvFactory(config, host)
    assert shows_cart_motion(factory.base, factory.chain()) is expected
