from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cartpole_dqn.envs.stages import Stage
from cartpole_dqn.errors import UserError
from cartpole_dqn.views.colours import COLOURS, rgb
from cartpole_dqn.views.preview import Preview
from cartpole_dqn.views.preview_drawing import _marks, draw_previews

QUADRANTS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30))


def quadrants() -> Any:
    """Four colours, 3 x 4 pixels each."""
    frame = np.zeros((2 * 3, 2 * 4, 3), dtype=np.uint8)
    for i, colour in enumerate(QUADRANTS):
        frame[3 * (i // 2) : 3 * (i // 2) + 3, 4 * (i % 2) : 4 * (i % 2) + 4] = colour
    return frame


def picture_of(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_every_kind_of_stage_is_drawn(tmp_path: Path, ending: str) -> None:
    stages = [
        Stage("kept", quadrants(), None, kept=(slice(1, 5), slice(-2, 4))),
        Stage("a frame and its difference", np.zeros((40, 150, 2), np.uint8), None, (True, False)),
        Stage("a stack", np.zeros((4, 20, 30), np.uint8), None, stacked=True),
        Stage("many numbers", np.linspace(-1, 1, 500), None),
        Stage("not finite", np.array([np.nan, np.inf, 1.0]), None),
        Stage("words", {"a": 1}, spaces.Dict(a=spaces.Discrete(3))),
        Stage("scalar", np.array(3), spaces.Discrete(10)),
        Stage("many channels", np.zeros((20, 30, 40), np.uint8), None),
        Stage("floats", np.random.default_rng(0).random((20, 30)), spaces.Box(0, 1, (20, 30))),
    ]
    out = tmp_path / f"preview.{ending}"
    draw_previews([Preview(stages)], out)
    assert Image.open(out).size[0] <= 1178
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_nothing_to_draw_and_nowhere_to_draw_it(tmp_path: Path) -> None:
    for nothing in ([], [Preview([])]):
        with pytest.raises(ValueError, match="one preview or more"):
            draw_previews(nothing, tmp_path / "x.png")
    preview = Preview([Stage("quadrants", quadrants(), None)])
    for name in ("nowhere/x.png", "x.nonsense"):
        with pytest.raises(UserError, match=name):
            draw_previews([preview], tmp_path / name)


def test_what_is_kept_is_outlined_and_said(tmp_path: Path) -> None:
    grey = np.full((6, 8, 3), 90, np.uint8)
    places = {"part": (slice(2, 5), slice(4, 8)), "all": (slice(0, 6), slice(0, 8)), "none": None}
    for name, kept in places.items():
        draw_previews([Preview([Stage("grey", grey, None, kept=kept)])], tmp_path / f"{name}.png")
    plain = picture_of(tmp_path / "none.png")
    assert np.array_equal(picture_of(tmp_path / "all.png"), plain), "nothing is cut"
    part = picture_of(tmp_path / "part.png")
    side = min(920 // 8, 300 // 6)
    rows, columns = np.nonzero((part[24:324, 204:604] != plain[24:324, 204:604]).any(axis=2))
    assert np.ptp(rows) == pytest.approx(3 * side, abs=4)
    assert (rows.min(), columns.min()) == (pytest.approx(2 * side, abs=3), pytest.approx(4 * side, abs=3))
    inside = part[24 + 3 * side : 24 + 4 * side, 204 + 5 * side : 204 + 7 * side]
    assert (inside == 90).all(), "a line, and no filling"
    assert (part[:, :200] != plain[:, :200]).any(), "the label says what the line is"


@given(st.integers(1, 5000), st.integers(1, 920), st.integers(5, 100))
def test_the_rulers_numbers_are_round_and_apart(count: int, pixels: int, apart: int) -> None:
    marks = list(_marks(count, pixels, apart))
    assert marks[0] == 0
    assert marks[-1] <= count
    step = marks[1] if len(marks) > 1 else count + 1
    assert all(later - earlier == step for earlier, later in itertools.pairwise(marks))
    if len(marks) > 1:
        assert str(step).rstrip("0") in ("1", "2", "5")
        assert step * pixels >= apart * count
    assert len(marks) > 1 or pixels < 2.6 * apart or count < 3, "there is room for a second number"


def test_rows_and_columns_are_numbered_where_they_are(tmp_path: Path) -> None:
    draw_previews([Preview([Stage("quadrants", quadrants(), None)])], tmp_path / "preview.png")
    picture = picture_of(tmp_path / "preview.png")
    side = min(920 // 8, 300 // 6)
    below = (picture[24 + 6 * side + 6 : 24 + 6 * side + 20, 204 : 204 + 8 * side + 8] < 200).all(axis=2).any(axis=0)
    beside = (picture[20 : 24 + 6 * side + 8, 204 + 8 * side + 6 : 204 + 8 * side + 20] < 200).all(axis=2).any(axis=1)
    for at, numbers in ((below, (2, 4, 6, 8)), (beside, range(1, 6))):
        offset = 4 if at is beside else 0
        for number in numbers:
            assert at[offset + number * side - 5 : offset + number * side + 6].any(), number
            assert not at[offset + number * side + side // 2 - 5 : offset + number * side + side // 2 + 6].any(), number


def test_narrow_stages_share_a_line_and_the_page_ends_beside_the_widest(tmp_path: Path) -> None:
    square = Stage("square", np.zeros((60, 60), np.uint8), None)
    wide = Stage("wide", np.zeros((40, 150), np.uint8), None)
    sizes = []
    for stages in ([square], [square] * 2, [square] * 3, [square, wide]):
        draw_previews([Preview(stages)], tmp_path / "x.png")
        sizes.append(Image.open(tmp_path / "x.png").size)
    one, line = 180 + 300 + 30, 300 + 34
    assert sizes[:3] == [
        (24 + one + 24, 24 + line),
        (24 + one + 24 + one + 24, 24 + line),
        (24 + one + 24 + one + 24, 24 + 2 * line),
    ]
    assert sizes[3] == (24 + 180 + 900 + 30 + 24, 24 + line + 240 + 34)


def test_two_previews_stand_side_by_side(tmp_path: Path) -> None:
    stages = [Stage("frame", quadrants(), None), Stage("seen", np.zeros((6, 8, 3), np.int16), None, (False,) * 3)]
    previews = [Preview(stages, "one", "motion: gone", good=False), Preview(stages[:1], "two", "motion: kept")]
    for theme in ("light", "dark"):
        draw_previews(previews, tmp_path / f"{theme}.png", theme=theme)  # type: ignore[arg-type]
    light, dark = picture_of(tmp_path / "light.png"), picture_of(tmp_path / "dark.png")
    assert light.shape == dark.shape == (light.shape[0], 24 + 2 * (180 + 430 + 30 + 24), 3)
    assert dark[0, 0].tolist() == [21, 25, 30]
    middle = light.shape[1] // 2
    red, green = ((light == rgb(getattr(COLOURS["light"], name))).all(axis=2)[:80] for name in ("red", "green"))
    assert [red[:, :middle].any(), red[:, middle:].any()] == [True, False]
    assert [green[:, :middle].any(), green[:, middle:].any()] == [False, True]


def test_a_bar_shows_what_colours_mean(tmp_path: Path) -> None:
    values = np.zeros((40, 80, 1), np.int16)
    values[3, 3] = 60
    draw_previews([Preview([Stage("difference", values, None, (False,))])], tmp_path / "x.png")
    label = picture_of(tmp_path / "x.png")[:, :200]
    bar = (label == (179, 38, 30)).all(axis=2), (label == (31, 95, 168)).all(axis=2)
    assert [hits.any() for hits in bar] == [True, True], "from the least to the greatest, though no value is negative"
