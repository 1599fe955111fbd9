from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.views.overlay import draw_groups, spread

WriteRun = Callable[..., Path]
Points = st.dictionaries(st.integers(0, 30), st.integers(-9, 9), max_size=6)


def slow_at(points: dict[int, int], place: float) -> float | None:
    """The value of a curve that goes straight from point to point, None before the first and after the last."""
    below = [x for x in points if x <= place]
    above = [x for x in points if x >= place]
    if not below or not above:
        return None
    left, right = max(below), min(above)
    if left == right:
        return points[left]
    return points[left] + (points[right] - points[left]) * (place - left) / (right - left)


def slow_quantile(values: list[float], share: float) -> float:
    """The value a share of the way through the sorted ones, between two of them in proportion."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@given(st.lists(Points, min_size=1, max_size=5), st.lists(st.integers(0, 60).map(lambda k: k / 2), max_size=8))
def test_spread_equals_the_slow_reference(curves: list[dict[int, int]], where: list[float]) -> None:
    places = np.unique(np.array(where, dtype=np.float64))
    arrays = [(np.array(sorted(c), dtype=np.float64), np.array([c[x] for x in sorted(c)], dtype=float)) for c in curves]
    (lower, median, upper), count = spread(arrays, places)
    for i, place in enumerate(places):
        values = [value for c in curves if (value := slow_at(c, place)) is not None]
        assert count[i] == len(values)
        for share, quantile in {0.25: lower, 0.5: median, 0.75: upper}.items():
            expected = slow_quantile(values, share) if values else math.nan
            assert quantile[i] == pytest.approx(expected, nan_ok=True)


def words_in(path: Path) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_groups_are_labelled_and_explained(write_run: WriteRun, tmp_path: Path) -> None:
    groups = {
        name: [
            read_metrics(write_run(f"{name}{k}", returns=np.arange(20) * (k + 1), evaluations={500: [k], 1900: [9]}))
            for k in range(runs)
        ]
        for name, runs in {"one": 1, "three": 3}.items()
    }
    draw_groups(groups, tmp_path / "x.svg", title="A title")
    words = words_in(tmp_path / "x.svg")
    for text in (
        "A title",
        "one (1 run)",
        "three (3 runs)",
        "training return",
        "(mean of the last 100)",
        "evaluation:",
        "mean return",
        "duration [steps]",
        "loss",
        "epsilon",
        "environment steps",
        "lines: median over runs; bands: quartiles",
    ):
        assert text in words, words
    assert "dashed" not in " ".join(words), "all runs are of one length"
    draw_groups({"one": groups["one"]}, tmp_path / "x.svg")
    assert "median" not in " ".join(words_in(tmp_path / "x.svg"))
    for x, label in {"episodes": "episodes", "time": "training time, without evaluation [s]"}.items():
        draw_groups(groups, tmp_path / "x.svg", x=x)  # type: ignore[arg-type]
        assert label in words_in(tmp_path / "x.svg")


def test_runs_of_different_lengths_are_dashed_where_some_are_missing(write_run: WriteRun, tmp_path: Path) -> None:
    runs = [read_metrics(write_run(f"r{k}", returns=range(10 + 20 * k))) for k in range(2)]
    draw_groups({"both": runs}, tmp_path / "x.svg")
    assert "lines: median over runs; bands: quartiles; dashed: some of the runs only" in words_in(tmp_path / "x.svg")
    assert "stroke-dasharray: 6" in (tmp_path / "x.svg").read_text()
    draw_groups({run.name: [run] for run in runs}, tmp_path / "x.svg")
    assert "dashed" not in " ".join(words_in(tmp_path / "x.svg"))
    assert "stroke-dasharray: 6" not in (tmp_path / "x.svg").read_text()


def test_a_run_keeps_its_last_mean_until_it_ends(write_run: WriteRun, tmp_path: Path) -> None:
    """Runs of equally many steps end together, wherever their last episodes do."""
    runs = [read_metrics(write_run(f"r{k}", returns=range(10), length=length)) for k, length in enumerate((90, 100))]
    ended = [RunHistory(**{**vars(run), "end": (1000.0, 10.0)}) for run in runs]
    draw_groups({"both": ended}, tmp_path / "x.svg")
    words = " ".join(words_in(tmp_path / "x.svg"))
    assert "dashed" in words, "the first episodes end at different steps"
    starts = [RunHistory(**{**vars(run), "step": run.step - run.step[0] + 50}) for run in ended]
    draw_groups(
        {"both": [RunHistory(**{**vars(run), "loss": run.loss * np.nan}) for run in starts]}, tmp_path / "x.svg"
    )
    assert "dashed" not in " ".join(words_in(tmp_path / "x.svg"))


@pytest.mark.parametrize("style", ["light", "dark"])
def test_more_groups_than_colours_and_some_without_anything(write_run: WriteRun, tmp_path: Path, style: str) -> None:
    groups = {f"g{k}": [read_metrics(write_run(f"r{k}", returns=range(k)))] for k in range(0, 12)}
    groups["none"] = [RunHistory("none")]
    draw_groups(groups, tmp_path / "x.png", theme=style)  # type: ignore[arg-type]
    assert np.asarray(Image.open(tmp_path / "x.png").convert("L")).std() > 3


def test_nothing_to_draw(tmp_path: Path) -> None:
    draw_groups({"none": [RunHistory("none"), RunHistory("neither")]}, tmp_path / "x.svg")
    assert "no episode has ended" in words_in(tmp_path / "x.svg")
    with pytest.raises(ValueError, match="got none"):
        draw_groups({}, tmp_path / "x.svg")


def test_negative_returns_are_not_cut(write_run: WriteRun, tmp_path: Path) -> None:
    run = read_metrics(write_run("r", env="Acrobot-v1", returns=[-500, -400, -90], evaluations={300: [-80]}))
    draw_groups({"r": [run]}, tmp_path / "x.svg")
    words = words_in(tmp_path / "x.svg")
    assert "\N{MINUS SIGN}400" in words, words


def test_up_to_four_lines_are_named_at_their_ends(write_run: WriteRun, tmp_path: Path) -> None:
    """The labels are to the right of the panel, apart from each other, in the order of the lines."""
    groups = {f"group {i}": [read_metrics(write_run(f"g{i}", returns=[10.0 + i] * 40))] for i in range(5)}
    four = dict(list(groups.items())[:4])
    draw_groups(four, tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert "legend_1" not in text
    places = [
        re.search(rf"<!-- group {i} \(1 run\) -->\s*<g [^>]*translate\(([\d.]+) ([\d.]+)\)", text) for i in range(4)
    ]
    assert all(places)
    x, y = zip(*((float(match[1]), float(match[2])) for match in places if match), strict=True)
    assert len(set(x)) == 1
    assert all(below - above >= 11 for below, above in itertools.pairwise(y)), y
    draw_groups(groups, tmp_path / "x.svg")
    assert "legend_1" in (tmp_path / "x.svg").read_text()
