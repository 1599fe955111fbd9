"""What environments draw instead of bytes [H, W, 3]: shown where it can be, else refused with what mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cartpole_dqn.wrappers import RenderObservation


class Drawn(gymnasium.Env[Any, Any]):
    """Renders what `draw(step, picture)` makes of a picture uint8 [height, width, 3] of that step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - as gymnasium declares it
    observation_space = spaces.Discrete(100)
    action_space = spaces.Discrete(2)
    render_mode = "rgb_array"

    def __init__(self, draw: Callable[[int, Any], Any], height: int = 7, width: int = 9) -> None:
        self.draw, self.size, self.now = draw, (height, width, 3), 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.now = 0
        return 0, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.now += 1
        return self.now, 0.0, False, False, {}

    def picture(self) -> Any:
        return np.random.default_rng(self.now).integers(0, 256, self.size, np.uint8)

    def render(self) -> Any:
        return self.draw(self.now, self.picture())


class Tensor:
    """Holds an array as other libraries' do."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


def beside_opacity(picture: Any) -> Any:
    return np.concatenate((picture, 255 - picture[..., :1]), axis=-1)


AS_COLOURS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "grey": (lambda picture: picture[..., 0], lambda picture: picture[..., :1].repeat(3, -1)),
    "grey with a channel": (lambda picture: picture[..., :1], lambda picture: picture[..., :1].repeat(3, -1)),
    "opacity": (beside_opacity, lambda picture: picture),
    "read-only": (lambda picture: np.broadcast_to(picture[:1, :1], picture.shape), lambda p: p[:1, :1] + 0 * p),
    "another order in memory": (np.asfortranarray, lambda picture: picture),
    "mirrored": (lambda picture: picture[:, ::-1], lambda picture: picture[:, ::-1]),
    "an image": (Image.fromarray, lambda picture: picture),
    "a tensor": (Tensor, lambda picture: picture),
}


@pytest.mark.parametrize("name", AS_COLOURS)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
@settings(max_examples=10)
def test_frames_of_other_kinds_become_colours(name: str, height: int, width: int, data: st.DataObject) -> None:
    draw, colours = AS_COLOURS[name]
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    base = Drawn(lambda _, picture: draw(picture), height, width)
    env: Any = RenderObservation(base, rows=[top, height], columns=[left, width])
    for step in range(3):
        observation = env.step(0)[0] if step else env.reset(seed=0)[0]
        assert observation in env.observation_space
        assert np.array_equal(observation, colours(base.picture())[top:, left:])
        assert observation.flags.c_contiguous
        assert observation.flags.writeable


def scaled(frame: Any) -> Any:
    return (255 * frame).astype(np.uint8)


REFUSED: dict[str, tuple[Callable[[Any], Any], str, str, Callable[[Any], Any]]] = {
    "floats": (lambda p: p / 255, r"float64 \[7, 9, 3\]", r"\(255 \* frame\)\.astype\(np\.uint8\)", scaled),
    "truth values": (lambda p: p > 99, r"bool \[7, 9, 3\]", r"\(255 \* frame\)\.astype\(np\.uint8\)", scaled),
    "wide integers": (
        lambda p: p.astype(int),
        r"int64 \[7, 9, 3\]",
        r"frame\.astype\(np\.uint8\)",
        lambda frame: frame.astype(np.uint8),
    ),
    "channels first": (
        lambda p: np.moveaxis(p, -1, 0),
        r"uint8 \[3, 7, 9\]",
        r"np\.moveaxis\(frame, 0, -1\)",
        lambda frame: np.moveaxis(frame, 0, -1),
    ),
    "two channels": (lambda p: p[..., :2], r"uint8 \[7, 9, 2\]", r"frame\[\.\.\., 0\]", lambda frame: frame[..., 0]),
    "two channels of floats": (
        lambda p: p[..., :2] / 255,
        r"float64 \[7, 9, 2\]",
        r"\(255 \* frame\[\.\.\., 0\]\)\.astype\(np\.uint8\)",
        lambda frame: scaled(frame[..., 0]),
    ),
    "a list of frames": (lambda p: [p, p], "list", "the last frame of the list", lambda frames: frames[-1]),
    "a list of numbers": (lambda p: p.tolist(), "list", "as an array", lambda rows: np.array(rows, np.uint8)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_frames_of_another_kind_are_refused_with_a_mend_that_mends(name: str) -> None:
    draw, got, returned, mended = REFUSED[name]
    base = Drawn(lambda _, picture: draw(picture))
    with pytest.raises(ValueError, match=rf"return frames uint8 \[H, W, 3\].*, got {got}\. .* returns .*{returned}"):
        RenderObservation(base)

    class Mended(gymnasium.Wrapper[Any, Any, Any, Any]):
        def render(self) -> Any:
            return mended(self.env.render())

    env: Any = RenderObservation(Mended(base))
    assert env.observation_space.shape == (7, 9, 3)
    assert env.reset(seed=0)[0] in env.observation_space


@pytest.mark.parametrize(
    ("drawn", "got"),
    [
        ("###", "str"),
        ([], "list"),
        (np.zeros((0, 9, 3), np.uint8), r"uint8 \[0, 9, 3\]"),
        (np.zeros((7, 9, 5), np.uint8), r"uint8 \[7, 9, 5\]"),
        (np.zeros((2, 7, 9, 3), np.uint8), r"uint8 \[2, 7, 9, 3\]"),
    ],
)
def test_what_is_no_frame_is_refused(drawn: Any, got: str) -> None:
    with pytest.raises(ValueError, match=rf"got {got}\. To fix that, put a gymnasium\.Wrapper"):
        RenderObservation(Drawn(lambda step, picture: drawn))


def test_no_frame_before_the_first_reset_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"render\(\) returned None, .* Call its reset\(\) before you wrap it"):
        RenderObservation(Drawn(lambda step, picture: None))


@pytest.mark.parametrize(
    ("late", "got"),
    [
        (lambda picture: picture[:-1], r"uint8 \[6, 9, 3\]"),
        (lambda picture: picture / 255, r"float64 \[7, 9, 3\]"),
        (lambda picture: None, "NoneType"),
        (lambda picture: [picture], "list"),
    ],
)
def test_frames_that_change_later_are_refused(late: Callable[[Any], Any], got: str) -> None:
    env: Any = RenderObservation(Drawn(lambda step, picture: picture if step < 3 else late(picture)))
    env.reset(seed=0)
    env.step(0)
    env.step(0)
    with pytest.raises(
        ValueError, match=rf"expected frames uint8 \[7, 9, 3\].*got {got}\. .* cut or padded to one size"
    ):
        env.step(0)


def test_rendering_that_fails_is_said_in_words() -> None:
    calls = []

    def fail(step: int, picture: Any) -> Any:
        calls.append(step)
        raise ZeroDivisionError("nothing to divide")

    with pytest.raises(ValueError, match="cannot be rendered: ZeroDivisionError: nothing to divide") as caught:
        RenderObservation(Drawn(fail))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert calls == [0], "a native renderer may end the process when it is called after it failed"

    def lack(step: int, picture: Any) -> Any:
        raise gymnasium.error.DependencyNotInstalled('run `pip install "gymnasium[other]"`')

    with pytest.raises(gymnasium.error.DependencyNotInstalled, match="other"):
        RenderObservation(Drawn(lack))


def test_a_large_frame_costs_what_is_kept_of_it() -> None:
    frame = np.zeros((3000, 4000, 3), np.uint8)
    env: Any = RenderObservation(Drawn(lambda step, picture: frame), rows=[1000, 1010], columns=[0.5, 0.505])
    observation, _ = env.reset(seed=0)
    assert observation.shape == (10, 20, 3)
    assert observation.base is None
