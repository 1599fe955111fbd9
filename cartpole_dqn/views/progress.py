"""How a run learned, as one animation: `record_progress` plays the same episode with models of several stages."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cartpole_dqn.contracts.pictures import Picture
from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.training.models import Model, SavedRun, models_of_progress
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.panels import Canvas
from cartpole_dqn.views.record import Recording, record_run
from cartpole_dqn.views.scene import Scene, picture_of

_MOST = 4
"""Models side by side."""
_WIDEST, _GAP, _HEAD, _FOOT = 300, 10, 36, 32  # pixels
_LAST = 1.5
"""Seconds to show the last picture."""
_FADED = 0.55
"""The share of paper in the picture of an episode that ended in a fall."""


def record_progress(
    run: SavedRun,
    out: Path,
    *,
    seed: int = 0,
    fps: float | None = None,
    max_steps: int | None = None,
    most: float = 25.0,
    theme: Theme = "light",
    across: int = 4,
    on_progress: Callable[[int], None] = lambda step: None,
) -> Recording:
    """Play one episode before training, with models kept on the way and with the best one, side by side.

    All start alike, from the first held-out seed. An episode that ends in a fall fades; the others play on. There are
    `across` models in a row. `on_progress` is called with the step. The other arguments are those of `record_run`.

    Returns:
        The recording, with a return and a length for each model.

    Raises:
        UserError: the name, the rate, a model or the environment is unsuitable, or `out` cannot be written.
        RunError: the environment failed; `out` is unchanged.
    """
    models = _some(models_of_progress(run))
    history = RunHistory(run.folder.path.name)
    with contextlib.suppress(RunFolderError):  # Without metrics the times are missing.
        history = read_metrics(run.folder.path)
    titles = [_title(model, history) for model in models]
    play: dict[str, Any] = {"which": models, "seed": seed, "max_steps": max_steps, "fps": fps, "most": most}
    return record_run(
        run,
        out,
        **play,
        draw=lambda scenes: _draw(scenes, titles, across, theme),
        hold=_LAST,
        on_progress=lambda _, step: on_progress(step),
    )


def _some(models: Sequence[Model]) -> list[Model]:
    """Return the first and the last model, and a few between. The kept models are far apart in return already."""
    first, *middle, last = models
    few = _MOST - 2
    if len(middle) > few:
        middle = [middle[math.ceil(len(middle) * (i + 1) / few) - 1] for i in range(few)]
    return [first, *middle, last]


def _title(model: Model, history: RunHistory) -> str:
    if not model.step:
        return "before training"
    solved = history.solved_step is not None and model.step >= history.solved_step
    seconds = history.seconds_at(model.step)
    time_text = f", {seconds:.0f} s" if seconds < 120 else f", {seconds / 60:.0f} min" if math.isfinite(seconds) else ""
    return f"{'solved: ' if solved else ''}{model.step:,} steps{time_text}"


def _draw(scenes: Sequence[Scene], titles: Sequence[str], across: int, theme: Theme) -> Picture:
    pictures = [picture_of(scene, theme) for scene in scenes]
    height, width = pictures[0].shape[:2]
    zoom = min(1.0, _WIDEST / width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    column = max(size[0], _WIDEST) + _GAP
    row = size[1] + _HEAD + _FOOT
    across = min(across, len(scenes))
    canvas = Canvas(column * across + _GAP, row * math.ceil(len(scenes) / across), theme)
    for i, (scene, picture) in enumerate(zip(scenes, pictures, strict=True)):
        left, top = _GAP + i % across * column, i // across * row
        resized = Image.fromarray(picture).resize(size, Image.Resampling.BOX)
        verdict, colour = scene.verdict
        if colour == "red":
            resized = Image.blend(resized, Image.new("RGB", size, canvas.palette.paper), _FADED)
        canvas.write((left, top + 8), titles[i], room=column - _GAP, size=16, bold=True)
        canvas.paste(np.asarray(resized), (left, top + _HEAD), size)
        count = f"{scene.step} steps"
        text = f"{count}, {verdict}" if verdict and colour != "green" else verdict or count
        place = (left, top + _HEAD + size[1] + _FOOT // 2)
        canvas.write(place, text, size=14, colour=colour if verdict else "ink", anchor="lm", bold=bool(verdict))
    return np.array(canvas.image)
