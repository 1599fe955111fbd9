from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.interfaces import Episode, Evaluation, ObserverContext, Progress, RunStarted
from cartpole_dqn.observers.metrics import Metrics, MetricsOptions
from cartpole_dqn.views.curves import RunHistory, draw_curves, read_metrics, running_mean


def record(folder: Path, episodes: int = 130, *, evaluations: bool = True) -> Path:
    """A run's metrics, as the observer writes them."""
    folder.mkdir(exist_ok=True)
    metrics = Metrics(MetricsOptions(), ObserverContext(folder=str(folder), console=None, clock=lambda: 0.0))
    metrics.run_started(RunStarted("dqn on CartPole-v1, pixels", str(folder), 5000, None, 0, 0, 1))
    step = 0
    for k in range(1, episodes + 1):
        step += k
        learned = {"loss": 0.5 / k} if k > 3 else {}
        progress = Progress(step, k, step / 60, learned, {"epsilon": max(0.1, 1 - k / 50)})
        metrics.episode_ended(Episode(k, step, 0, k, float(k), k, True, progress))
        if evaluations and k % 40 == 0:
            metrics.evaluated(Evaluation(step, (k - 5.0, k + 5.0), (k, k), "select", 1.0, best=k != 120))
    return folder


def test_history_is_what_was_recorded(tmp_path: Path) -> None:
    history = read_metrics(record(tmp_path / "run-1"))
    assert (history.name, history.title) == ("run-1", "dqn on CartPole-v1, pixels")
    assert history.returns.tolist() == list(range(1, 131))
    assert history.lengths.tolist() == history.episode.tolist() == history.returns.tolist()
    assert history.step.tolist() == np.cumsum(range(1, 131)).tolist()
    assert history.seconds[-1] == pytest.approx(history.step[-1] / 60)
    assert np.isnan(history.loss[:3]).all()
    assert history.loss[3] == 0.125
    assert history.epsilon[24] == 0.5
    assert history.evaluation_step.tolist() == [820, 3240, 7260]
    assert history.evaluation_mean.tolist() == [40, 80, 120]
    assert history.evaluation_std.tolist() == [5, 5, 5]
    assert history.best_step == 3240


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    folder = record(tmp_path, 12)
    whole = (folder / "metrics.jsonl").read_bytes()
    for cut in (1, 2, 40):
        (folder / "metrics.jsonl").write_bytes(whole[:-cut])
        assert len(read_metrics(folder).returns) == 11
    (folder / "metrics.jsonl").write_bytes(whole + b'{"event":"something new"}\n{"no": 1}\n')
    assert len(read_metrics(folder).returns) == 12


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"not JSON", "line 3: expected a JSON object, got b'not JSON'"),
        (b"[1, 2]", "line 3: expected a JSON object"),
        (b"\xff\xfe", "line 3: expected a JSON object"),
        (b'{"event":"episode","step":"many"}', "is not what the observer 'metrics' writes"),
        (b'{"event":"evaluation","step":1}', "is not what the observer 'metrics' writes: KeyError: 'returns'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    folder = record(tmp_path, 6)
    lines = (folder / "metrics.jsonl").read_bytes().split(b"\n")
    lines[2] = line
    (folder / "metrics.jsonl").write_bytes(b"\n".join(lines))
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl") as caught:
        read_metrics(folder)
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl is missing"):
        read_metrics(tmp_path / "nowhere")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.integers(1, 30))
def test_running_mean_equals_the_slow_reference(values: list[float], window: int) -> None:
    slow = [sum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
    assert running_mean(values, window).tolist() == pytest.approx(slow, abs=1e-6)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize(("style", "paper"), [("light", (255, 255, 255)), ("dark", (0x15, 0x19, 0x1E))])
def test_the_picture_is_drawn_in_its_style(tmp_path: Path, style: str, paper: tuple[int, int, int]) -> None:
    history = read_metrics(record(tmp_path / "run"))
    draw_curves(history, tmp_path / "curve.png", title="A title", style=style)  # type: ignore[arg-type]
    picture = pixels(tmp_path / "curve.png")
    assert picture.shape == (864, 1200, 3)
    assert tuple(picture[-1, 0]) == paper
    line = {"light": (0x1F, 0x5F, 0xA8), "dark": (0x74, 0xB2, 0xF2)}[style]
    assert (np.abs(picture.astype(int) - line).max(axis=2) < 12).sum() > 500  # the mean's line
    star = {"light": (0xC2, 0x57, 0x0C), "dark": (0xF2, 0xA6, 0x5A)}[style]
    assert (np.abs(picture.astype(int) - star).max(axis=2) < 12).sum() > 50  # evaluations
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curve.png", "run"]


def test_without_evaluations_none_are_drawn(tmp_path: Path) -> None:
    history = read_metrics(record(tmp_path / "run", evaluations=False))
    draw_curves(history, tmp_path / "curve.png")
    difference = np.abs(pixels(tmp_path / "curve.png").astype(int) - (0xC2, 0x57, 0x0C)).max(axis=2)
    assert (difference < 12).sum() == 0


@pytest.mark.parametrize("episodes", [0, 1, 25])
def test_short_runs_are_drawn_too(tmp_path: Path, episodes: int) -> None:
    draw_curves(read_metrics(record(tmp_path / "run", episodes)), tmp_path / "curve.png")
    assert pixels(tmp_path / "curve.png").std() > 1


def test_several_runs_and_odd_names(tmp_path: Path) -> None:
    runs = [read_metrics(record(tmp_path / name)) for name in ("{0}", "$x_{", "_hidden")]
    draw_curves(runs, tmp_path / "curve.jpg")
    assert Image.open(tmp_path / "curve.jpg").format == "JPEG"


def test_losses_that_are_not_positive_and_returns_that_are_not_known(tmp_path: Path) -> None:
    numbers = np.arange(50.0)
    holes = np.where(numbers % 7 == 0, math.nan, numbers - 20)
    history = RunHistory(
        "x", step=numbers, returns=holes, lengths=numbers, epsilon=np.full(50, math.nan), loss=numbers - 10
    )
    draw_curves(history, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_a_picture_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    history = read_metrics(record(tmp_path / "run", 30))
    old = tmp_path / "curve.nonsense"
    old.write_text("old")
    with pytest.raises(ValueError, match="nonsense"):
        draw_curves(history, old)
    assert old.read_text() == "old"
    with pytest.raises(ValueError, match="got none"):
        draw_curves([], tmp_path / "curve.png")
    with pytest.raises(OSError, match="nowhere"):
        draw_curves(history, tmp_path / "nowhere" / "curve.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curve.nonsense", "run"]


def test_drawing_uses_no_state_of_matplotlib(tmp_path: Path) -> None:
    record(tmp_path / "run", 30)
    code = (
        "import sys; from cartpole_dqn.views.curves import draw_curves, read_metrics\n"
        f"history = read_metrics({str(tmp_path / 'run')!r}); assert 'matplotlib' not in sys.modules\n"
        "import matplotlib\n"
        # Reading the setting `backend` would import pyplot to choose one.
        "settings = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "before = settings()\n"
        f"draw_curves(history, {str(tmp_path / 'a.png')!r}, style='dark')\n"
        "assert settings() == before; print('matplotlib.pyplot' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
