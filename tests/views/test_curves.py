from __future__ import annotations

import dataclasses
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cartpole_dqn.contracts.events import Episode, Evaluation, ObserverContext, Progress, RunStarted
from cartpole_dqn.errors import UserError
from cartpole_dqn.observers.metrics import Metrics, MetricsOptions
from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.views.chart import Chart, outcome_of, scale_loss
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.curves import draw_curves
from cartpole_dqn.views.overlay import draw_groups


def record(folder: Path, episodes: int = 130) -> Path:
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
        if k % 40 == 0:
            metrics.evaluated(Evaluation(step, (k - 5.0, k + 5.0), (k, k), "select", 1.0, best=k != 120))
    return folder


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> RunHistory:
    return read_metrics(record(tmp_path_factory.mktemp("recorded") / "run"))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize(("style", "paper"), [("light", (255, 255, 255)), ("dark", (0x15, 0x19, 0x1E))])
def test_the_picture_is_drawn_in_its_style(
    history: RunHistory, tmp_path: Path, style: Theme, paper: tuple[int, int, int]
) -> None:
    draw_curves(history, tmp_path / "curve.png", title="A title", theme=style)
    picture = pixels(tmp_path / "curve.png")
    assert picture.shape == (912, 1200, 3)
    assert tuple(picture[-1, 0]) == paper
    line = {"light": (0x1F, 0x5F, 0xA8), "dark": (0x74, 0xB2, 0xF2)}[style]
    assert (np.abs(picture.astype(int) - line).max(axis=2) < 12).sum() > 500  # the mean's line
    star = {"light": (0xC2, 0x57, 0x0C), "dark": (0xF2, 0xA6, 0x5A)}[style]
    assert (np.abs(picture.astype(int) - star).max(axis=2) < 12).sum() > 50  # evaluations
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curve.png"]


def words_in(path: Path) -> list[str]:
    """The texts of an SVG picture: what it draws as outlines is beside them as comments."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_everything_is_labelled_with_its_unit(history: RunHistory, tmp_path: Path) -> None:
    draw_curves(history, tmp_path / "curve.svg", title="A title with $x^2$")
    words = words_in(tmp_path / "curve.svg")
    for text in (
        "A title with $x^2$",
        "return = episode duration [steps]",
        "loss, and mean",
        "epsilon",
        "environment steps",
        "training episode",
        "mean of the last 100",
        "evaluation: mean ± std of 2 greedy episodes",
        "kept as best/: 80.0 at step 3,240",
    ):
        assert text in words, words
    for x, label in {"episodes": "episodes", "time": "training time, without evaluation [min]"}.items():
        draw_curves(history, tmp_path / "curve.svg", x=x)  # type: ignore[arg-type]
        assert label in words_in(tmp_path / "curve.svg")
    assert "dqn on CartPole-v1, pixels" in words_in(tmp_path / "curve.svg"), "the run's own title"


def test_panels_without_data_are_left_out_and_durations_come_where_they_are_no_returns(tmp_path: Path) -> None:
    steps = np.arange(1.0, 50)
    history = RunHistory("x", episode=steps, step=steps * 9, returns=-steps, lengths=steps, loss=np.full(49, np.nan))
    draw_curves(history, tmp_path / "curve.svg")
    words = words_in(tmp_path / "curve.svg")
    assert "return of an episode" in words
    assert "duration [steps]" in words
    assert "mean of the last 100" in words
    assert not {"loss", "epsilon"} & set(words)
    assert not any(word.startswith(("evaluation", "confirmation", "kept as best")) for word in words)
    draw_curves(RunHistory("empty"), tmp_path / "curve.svg")
    assert "no episode has ended" in words_in(tmp_path / "curve.svg")


def test_confirmations_are_told_from_evaluations(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    folder = write_run(
        "r",
        returns=range(8),
        evaluations={200: [10, 12], 400: [20, 22, 24]},
        confirmations={400: ([19.0] * 5, True)},
        best=[400],
    )
    draw_curves(read_metrics(folder), tmp_path / "curve.svg")
    words = words_in(tmp_path / "curve.svg")
    assert "evaluation: mean ± std of 2 to 3 greedy episodes" in words
    assert "confirmation: mean of 5 further episodes" in words
    assert "kept as best/: 19.0 at step 400" in words


def test_the_legend_hides_no_data(history: RunHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in it, it ends above the first panel and below the title, and within the picture."""
    drawn: list[Chart] = []
    save = Chart.save

    def saving(chart: Chart, out: Path) -> None:
        save(chart, out)
        drawn.append(chart)

    monkeypatch.setattr(Chart, "save", saving)
    draw_curves(history, tmp_path / "one.png")
    draw_groups({"a long label " * 20 + str(i): [history] for i in range(25)}, tmp_path / "many.png", title="T")
    draw_groups({"short": [history]}, tmp_path / "few.png", title="T")
    for chart in drawn:
        first = chart.panels[0]
        figure = first.figure
        legend, panel = first.get_legend().get_window_extent(), first.get_window_extent()
        assert legend.y0 >= panel.y1 - 1
        assert legend.y1 <= figure._suptitle.get_window_extent().y0 + 1
        assert legend.x1 <= figure.bbox.x1
        assert panel.height > 150, "there is room left for the curves"
    assert len(drawn) == 3


def test_several_runs_and_odd_names(tmp_path: Path) -> None:
    names = ["{0}", "$x_{$", "_hidden", "a" * 100]
    runs = [read_metrics(record(tmp_path / name)) for name in names]
    draw_groups({run.name: [run] for run in runs}, tmp_path / "curve.svg")
    words = words_in(tmp_path / "curve.svg")
    for label in ("{0} (1 run)", "$x_{$ (1 run)", "_hidden (1 run)"):
        assert label in words, words
    assert any(word.startswith("aaaa") and "..." in word for word in words)
    draw_curves(runs[0], tmp_path / "curve.jpg")
    assert Image.open(tmp_path / "curve.jpg").format == "JPEG"


def test_short_runs_losses_that_are_not_positive_and_returns_that_are_not_known(tmp_path: Path) -> None:
    for episodes in (0, 1, 25):
        draw_curves(read_metrics(record(tmp_path / f"run-{episodes}", episodes)), tmp_path / "curve.png")
        assert pixels(tmp_path / "curve.png").std() > 1
    numbers = np.arange(50.0)
    holes = np.where(numbers % 7 == 0, math.nan, numbers - 20)
    history = RunHistory(
        "x", step=numbers, returns=holes, lengths=numbers, epsilon=np.full(50, math.nan), loss=numbers - 10
    )
    draw_curves(history, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_a_picture_that_fails_leaves_the_old_one(history: RunHistory, tmp_path: Path) -> None:
    old = tmp_path / "curve.nonsense"
    old.write_text("old")
    with pytest.raises(UserError, match="nonsense"):
        draw_curves(history, old)
    assert old.read_text() == "old"
    with pytest.raises(UserError, match="nowhere"):
        draw_curves(history, tmp_path / "nowhere" / "curve.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curve.nonsense"]


@pytest.mark.process
def test_drawing_uses_no_state_of_matplotlib(tmp_path: Path) -> None:
    record(tmp_path / "run", 30)
    code = (
        "import sys\n"
        "from cartpole_dqn.runs.history import read_metrics\n"
        "from cartpole_dqn.views.curves import draw_curves\n"
        f"history = read_metrics({str(tmp_path / 'run')!r}); assert 'matplotlib' not in sys.modules\n"
        "import matplotlib\n"
        # Reading the setting `backend` would import pyplot to choose one.
        "settings = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "before = settings()\n"
        f"draw_curves(history, {str(tmp_path / 'a.png')!r}, theme='dark')\n"
        "assert settings() == before; print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_outcome_and_the_threshold_are_said(history: RunHistory, tmp_path: Path) -> None:
    needed = dataclasses.replace(history, solved_at=475.0)
    draw_curves(needed, tmp_path / "x.svg", title="Mine")
    assert {"Not solved: best evaluation 80.0 of 475", "Mine", "solved: 475"} <= set(words_in(tmp_path / "x.svg"))
    solved = dataclasses.replace(history, solved_at=60.0, solved_step=3240)
    draw_curves(solved, tmp_path / "x.svg", title="Mine")
    assert {"Solved at 3,240 steps", "solved: 60"} <= set(words_in(tmp_path / "x.svg"))
    draw_curves(history, tmp_path / "x.svg", title="Mine")
    assert not [word for word in words_in(tmp_path / "x.svg") if "olved" in word]
    assert outcome_of([history, solved]) == "1 of 2 runs solved"
    assert outcome_of([needed, needed]) == "0 of 2 runs solved"
    assert outcome_of([history, history]) == ""


def test_a_narrow_picture_has_its_text_in_full_size(history: RunHistory, tmp_path: Path) -> None:
    draw_curves(history, tmp_path / "x.png", width=4.6)
    assert pixels(tmp_path / "x.png").shape[1] == 552


@pytest.mark.parametrize("most", [1.2, 1.9, 4.0, 6.0, 200.0, 1000.0])
def test_the_scale_of_losses_can_be_read(most: float) -> None:
    panel = Figure().subplots()
    losses = np.geomspace(0.83, 0.83 * most)
    panel.plot(losses)
    scale_loss(panel, [losses])
    low, high = panel.get_ylim()
    assert sum(low <= tick <= high for tick in panel.get_yticks()) >= 2
