"""Where a value comes from, on policies whose answer is known, and where that lies in the rendered frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from cartpole_dqn.api import Run
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.stages import Stage
from cartpole_dqn.views.attribution import Attribution, laid_over, occlusion, place_in_frame
from cartpole_dqn.views.playback import Playback

Trained = Callable[..., Run]


def linear(weights: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Action 1 is worth the weighted sum of the observation, action 0 nothing."""

    def values(obs: NDArray[Any]) -> NDArray[np.float32]:
        worth = (obs.astype(np.float64) * weights).reshape(len(obs), -1).sum(axis=1)
        return np.stack([np.zeros(len(obs)), worth], axis=1).astype(np.float32)

    return values


@pytest.mark.parametrize(("shape", "axis"), [((9, 12), 0), ((9, 12, 2), 0), ((3, 9, 12), 1), ((3, 9, 12, 2), 1)])
def test_of_a_linear_value_each_pixel_gives_its_weight_times_its_distance_from_the_background(
    shape: tuple[int, ...], axis: int
) -> None:
    rng = np.random.default_rng(0)
    obs, weights = rng.integers(0, 256, shape).astype(np.uint8), rng.normal(size=shape)
    background = np.full(shape, 7, np.uint8)
    attribution = occlusion(linear(weights), obs, 1, background, rows_axis=axis)
    expected = weights * (obs.astype(np.float64) - 7)
    others = tuple(i for i in range(len(shape)) if i not in (axis, axis + 1))
    assert attribution == pytest.approx(expected.sum(axis=others), abs=2e-3)
    assert (occlusion(linear(weights), obs, 0, background, rows_axis=axis) == 0).all(), "the other action is worth 0"


def test_squares_find_what_matters_and_nothing_else() -> None:
    obs = np.full((40, 80), 255, np.uint8)
    obs[10:14, 50:54] = 0
    weights = np.zeros((40, 80))
    weights[10:14, 50:54] = -1.0  # Black there is worth most.
    attribution = occlusion(linear(weights), obs, 1, np.array([[255]], np.uint8))
    row, column = np.unravel_index(attribution.argmax(), attribution.shape)
    assert (10 <= row < 14, 50 <= column < 54) == (True, True)
    near = np.zeros_like(attribution, dtype=bool)
    near[5:19, 45:59] = True
    assert (attribution[~near] == 0).all()
    assert attribution.min() >= 0


def test_the_background_is_the_commonest_value_and_no_difference() -> None:
    obs = np.full((6, 6, 2), 255, np.uint8)
    obs[2, 2] = (0, 30)
    assert Stage("", obs, None, (True, False)).background().tolist() == [[[255, 128]]]
    signed = Stage("", np.full((6, 6, 1), 9, np.int16), None, (False,))
    assert signed.background().tolist() == [[[0]]]
    stack = Stage("", np.full((3, 6, 6), 9, np.uint8), None, (True,), stacked=True)
    assert stack.background().tolist() == [[[9]]] * 3


def test_the_observation_is_found_again_in_the_frame(trained: Trained) -> None:
    """What the agent's first channel shows black, the cart, is black in the frame at the place that was computed."""
    run = trained(obs="pixels", steps=130, agent={"learning_starts": 30})
    env = EnvFactory(run.config, run.host).make(evaluating=True)
    obs, _ = env.reset(seed=3)
    env.unwrapped.state[0] = 1.3  # type: ignore[attr-defined]
    obs, *_ = env.step(0)
    place = place_in_frame(env, *obs.shape[:2])
    frame = env.render()
    env.close()
    assert place is not None
    top, left, bottom, right = place
    assert (top, bottom) == (160, 320)
    rows, columns = np.nonzero(obs[..., 0] < 60)
    y = top + (rows.mean() + 0.5) * (bottom - top) / obs.shape[0]
    x = left + (columns.mean() + 0.5) * (right - left) / obs.shape[1]
    dark = (np.asarray(frame) < 60).all(axis=2)
    dark[:, dark.sum(axis=0) < 10] = False  # The track.
    assert (y, x) == pytest.approx(tuple(np.argwhere(dark).mean(axis=0)), abs=4)


def test_an_unknown_wrapper_hides_the_place() -> None:
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    assert place_in_frame(env, 4, 4) is None, "the frame is not observed"
    from cartpole_dqn.wrappers import Crop, RenderObservation

    seen: Any = Crop(RenderObservation(env, rows=[100, 300]), rows=[10, 30], columns=[5, 25])
    assert place_in_frame(seen, 20, 20) == (110, 5, 130, 25)
    turned = gymnasium.wrappers.TransformObservation(seen, np.flipud, seen.observation_space)
    assert place_in_frame(turned, 20, 20) is None
    env.close()


def test_it_is_drawn_where_it_lies_and_cut_at_the_edge() -> None:
    picture = np.full((20, 30, 3), 255, np.uint8)
    attribution = Attribution(np.array([[1.0, 0.0], [0.0, -0.5]]), None)
    drawn = laid_over(picture, attribution, (10.0, -5.0, 20.0, 5.0), "light")
    changed = (drawn != picture).any(axis=2)
    assert changed[10:20, :5].any()
    assert not changed[:10].any()
    assert not changed[:, 5:].any()
    assert (laid_over(picture, attribution, (50.0, 0.0, 60.0, 9.0), "light") == picture).all()
    whole = laid_over(picture, attribution, (0.0, 0.0, 20.0, 30.0), "light").astype(int)
    assert whole[0, 0, 0] > whole[0, 0, 2], "red where it raises the value"
    assert whole[-1, -1, 2] > whole[-1, -1, 0], "blue where it lowers it"


def test_a_playback_tells_where_values_come_from(trained: Trained) -> None:
    run = trained(obs="pixels", steps=130, agent={"learning_starts": 30})
    with Playback(run, which="last", max_steps=2, attribution=True) as playback:
        scenes = list(playback.episode(1))
    assert [scene.attribution is None for scene in scenes] == [False, False, True]
    assert scenes[0].attribution is not None
    assert scenes[0].attribution.change.shape == (40, 80)
    assert scenes[0].attribution.place is not None
