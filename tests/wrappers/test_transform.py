"""`Transform`: torchvision's transforms keep what every wrapper here keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from cartpole_dqn.wrappers import FrameDifference, RenderObservation, Transform

Play = Callable[..., list[Any]]

BLUR = ("GaussianBlur", {"kernel_size": 3, "sigma": 1.0})
TRANSFORMS: list[tuple[str, dict[str, Any]]] = [
    BLUR,
    ("Pad", {"padding": [1, 2, 3, 4], "padding_mode": "edge"}),
    ("RandomCrop", {"size": [8, 9], "padding": 4}),
    ("RandomAffine", {"degrees": 10, "interpolation": "bilinear"}),
    ("Resize", {"size": [7, 11], "interpolation": "bicubic"}),
    ("RandomApply", {"transforms": [{"name": BLUR[0], "options": BLUR[1]}], "p": 0.5}),
    ("Compose", {"transforms": [{"name": "RandomInvert"}, {"name": "ToDtype", "options": {"dtype": "float32"}}]}),
]
PICTURES = [
    ((12, 16, 3), np.uint8, None, None),
    ((12, 16), np.uint8, 10, 200),
    ((2, 12, 16, 1), np.uint8, None, None),
    ((12, 16, 2), np.int16, -255, 255),
    ((12, 16, 1), np.float32, 0.0, 1.0),
]


@given(st.sampled_from(TRANSFORMS), st.sampled_from(PICTURES), st.integers(0, 2**31))
def test_whatever_comes_out_lies_in_the_space_and_repeats(
    pictures: Callable[..., Any], play: Play, chosen: tuple[str, dict[str, Any]], kind: tuple[Any, ...], seed: int
) -> None:
    if chosen[0] == "Compose" and kind[1] == np.int16:
        return  # it inverts within int16's whole range: refused, see below
    made = [play(Transform(pictures(*kind), *chosen), steps=6, seed=seed) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True))


def test_it_does_what_torchvision_does() -> None:
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    plain, blurred = RenderObservation(env), Transform(RenderObservation(env), *BLUR)
    frame = plain.reset(seed=3)[0]
    expected = v2.GaussianBlur(3, 1.0)(torch.from_numpy(frame).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    assert np.array_equal(blurred.observation(frame), expected)


def test_random_choices_come_from_the_seed_and_differ_between_pictures_and_places(pictures: Any, play: Play) -> None:
    def crops(seed: int, times: int = 1) -> list[Any]:
        env = pictures((12, 16, 1), np.uint8, 7, 7)  # each picture is equal: what differs is drawn
        for _ in range(times):
            env = Transform(env, "RandomErasing", {"p": 1.0})
        return play(env, steps=4, seed=seed)

    before = torch.get_rng_state()
    first = crops(1)
    assert torch.equal(torch.get_rng_state(), before), "torch's global generator is left as it was"
    torch.manual_seed(99)
    assert all(np.array_equal(a, b) for a, b in zip(first, crops(1), strict=True))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], crops(2)[0])
    assert (crops(1, times=2)[0] == 0).sum() > (first[0] == 0).sum(), "two in a chain do not choose the same"
    torch.set_rng_state(before)


@pytest.mark.parametrize(
    ("name", "options", "kind", "words"),
    [
        ("GausianBlur", {}, 0, r"got 'GausianBlur'. Did you mean 'GaussianBlur'\?"),
        ("FiveCrop", {"size": 4}, 0, "got 'FiveCrop'"),
        ("GaussianBlur", {"kernel": 3}, 0, r"got 'kernel'. Did you mean 'kernel_size'\?"),
        ("GaussianBlur", {"kernel_size": 4}, 0, "Transform GaussianBlur: Kernel size"),
        ("Resize", {"size": [4, 4], "interpolation": "bicubik"}, 0, "Did you mean 'bicubic'"),
        ("ToDtype", {"dtype": "float31"}, 0, "Did you mean 'float3?"),
        ("RandomApply", {"transforms": [{"name": "Blurr"}]}, 0, "Transform RandomApply, transforms: name must be one"),
        ("GaussianBlur", [3], 0, "options must be a table"),
        (3, {}, 0, "name must be one of"),
        ("RandomResize", {"min_size": 4, "max_size": 30}, 0, "the pictures that it makes differ"),
        ("ColorJitter", {"brightness": 0.5}, 3, r"does not work on these pictures, int16 \[12, 16, 2\]"),
        ("RandomInvert", {"p": 1.0}, 3, r"are between -255 and 255. Put it before FrameDifference"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(pictures: Any, name: Any, options: Any, kind: int, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        Transform(pictures(*PICTURES[kind]), name, options)


def test_a_size_that_changes_later_is_refused(pictures: Any) -> None:
    env = Transform(pictures((12, 16, 3)), "Pad", {"padding": 1})
    env.reset(seed=0)
    env._transform.padding = 2
    with pytest.raises(ValueError, match=r"made uint8 \[16, 20, 3\], after uint8 \[14, 18, 3\] at first"):
        env.step(0)


def test_a_locator_of_the_whole_picture_is_warned_of_moved_pictures(cartpole: Any) -> None:
    assert not Transform(RenderObservation(cartpole), *BLUR).narrows
    assert not Transform(RenderObservation(cartpole), "Resize", {"size": [40, 60]}).narrows
    assert Transform(RenderObservation(cartpole), "RandomCrop", {"size": [300, 500]}).narrows


def test_present_and_change_stay_apart(cartpole: Any) -> None:
    env = FrameDifference(RenderObservation(cartpole), keep_current=True, encoding="uint8")
    assert Transform(env, *BLUR).shows_now == env.shows_now == (True,) * 3 + (False,) * 3


@pytest.mark.parametrize(
    ("broken", "words"),
    [(None, "pip install torchvision"), (RuntimeError("operator torchvision::nms does not exist"), "same release")],
)
def test_a_torchvision_that_is_missing_or_does_not_fit(
    pictures: Any, monkeypatch: pytest.MonkeyPatch, broken: Exception | None, words: str
) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name == "torchvision":
                raise broken or ModuleNotFoundError("No module named 'torchvision'", name="torchvision")

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(ImportError, match=f"Transform GaussianBlur needs torchvision.*{words}"):
        Transform(pictures((12, 16, 3)), *BLUR)
