"""What an agent sees: every stage of an observation's wrappers, at the same moment, as labelled pictures.

* `preview_stages`: plays a few random steps and returns what each wrapper made of that moment.
* `Stage`, `Panel`: one stage, and the pictures that it consists of.
* `draw_preview`: stages -> a picture, pixels enlarged without smoothing, differences around white.

matplotlib is imported when it is first drawn.
"""

from __future__ import annotations

import copy
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from cartpole_dqn.files import replace_file
from cartpole_dqn.wrappers import RenderObservation
from cartpole_dqn.wrappers.image import ImageWrapper, wrappers_of

Env = gymnasium.Env[Any, Any]
Kind = Literal["colour", "grey", "difference", "numbers"]

_MOST_PANELS = 8
_ATTEMPTS = 20


@dataclass(frozen=True)
class Panel:
    """One picture of a stage."""

    caption: str
    values: NDArray[Any]
    """[H, W, 3] uint8 where `kind` is "colour", [H, W] where "grey" or "difference", [n] where "numbers"."""
    kind: Kind
    low: float = 0.0
    """What is drawn darkest, for "grey"."""
    high: float = 1.0
    zero: float = 0.0
    """The value that means no difference."""


@dataclass(frozen=True)
class Stage:
    """What one wrapper made of the moment."""

    name: str
    obs: Any
    space: spaces.Space[Any] | None
    """What it says its observations are; None for the frame that the environment renders."""
    shows_now: tuple[bool, ...] = ()
    """For each channel, whether it shows the present rather than a difference, where that is known."""
    stacked: bool = False
    """Whether the first axis counts pictures."""
    pictorial: bool = True
    """Whether the observation is a picture, or several; else its numbers are drawn."""

    @property
    def label(self) -> str:
        """Name, shape, dtype and range of the values."""
        if not isinstance(self.obs, np.ndarray) or self.obs.size == 0:
            return f"{self.name}\n{self.space}"
        shape = " x ".join(str(n) for n in self.obs.shape) or "scalar"
        least, greatest = self.obs.min(), self.obs.max()
        return f"{self.name}\n{shape}  {self.obs.dtype}  {least:.4g} .. {greatest:.4g}"

    def panels(self) -> list[Panel]:
        """Return the pictures of which the observation consists; numbers where it is none."""
        obs = self.obs
        if not isinstance(obs, np.ndarray) or obs.dtype.kind not in "biuf" or obs.size == 0:
            return []
        if obs.ndim not in (2, 3, 4) or not self.pictorial:
            return [Panel("", obs.reshape(-1), "numbers")]
        frames = list(obs) if self.stacked else [obs]
        names = [_ago(len(frames) - 1 - i) for i in range(len(frames))] if self.stacked else [""]
        return [panel for frame, name in zip(frames, names, strict=True) for panel in self._of_frame(frame, name)]

    def _of_frame(self, frame: NDArray[Any], name: str) -> list[Panel]:
        channels = frame[..., None] if frame.ndim == 2 else frame
        count = channels.shape[-1]
        known = self.shows_now if len(self.shows_now) == count else (True,) * count
        if count == 3 and all(known) and frame.dtype == np.uint8:
            return [Panel(name, channels, "colour")]
        panels = []
        for i, now in enumerate(known):
            words = [name, f"channel {i}" if count > 1 else ""]
            caption = ", ".join(word for word in words if word)
            panels.append(self._of_channel(channels[..., i], caption, now))
        return panels

    def _of_channel(self, values: NDArray[Any], caption: str, now: bool) -> Panel:
        space = self.space
        if not now:
            # Eight bits without a sign hold 128 + d / 2.
            zero = 128 if values.dtype == np.uint8 else 0
            most = np.abs(values.astype(np.float64) - zero).max()
            words = f"difference {zero} ± {most:.4g}"
            return Panel(f"{caption}, {words}" if caption else words, values, "difference", zero=zero)
        if values.dtype == np.uint8:
            return Panel(caption, values, "grey", low=0.0, high=255.0)
        bounded = isinstance(space, spaces.Box) and space.is_bounded("both")
        if bounded and isinstance(space, spaces.Box):
            return Panel(caption, values, "grey", low=max(0.0, float(space.low.min())), high=float(space.high.max()))
        return Panel(caption, values, "grey", low=float(values.min()), high=float(values.max()))


def preview_stages(
    base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], *, seed: int, steps: int = 12
) -> list[Stage]:
    """Return what each stage of a chain of wrappers makes of one moment.

    Args:
        base: makes the environment without the chain.
        chain: (name, function env -> wrapped env), the innermost first.
        seed: of the episode and of the random actions.
        steps: actions to take before looking, so that something has moved. Where the episode ends earlier, the moment
            is the one before its end.

    Returns:
        The frame that `base` renders, if its `render_mode` is "rgb_array", else its own observation; then a stage for
        each entry of the chain.
    """
    taken, found = _look(base, chain, seed, steps)
    for _ in range(_ATTEMPTS):
        if not found.ended or taken == 0:
            break
        taken, found = _look(base, chain, seed, taken - 1)
    return found.stages


def draw_preview(stages: Sequence[Stage], out: Path | str) -> None:
    """Draw the stages below each other into the picture `out`, whose ending says its format; whole or not at all.

    Raises:
        ValueError: no stage, or an ending that cannot be written.
        OSError: the picture cannot be written.
    """
    if not stages:
        raise ValueError("draw_preview: expected one stage or more, got none.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [_Row(stage) for stage in stages]
    width = _MARGIN * 2 + _LABEL + _PICTURES
    height = _MARGIN + sum(row.height + _GAP for row in rows)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    top = _MARGIN
    for i, row in enumerate(rows):
        row.draw(figure, i, top, width, height, last=i == len(rows) - 1)
        top += row.height + _GAP
    path = Path(out)
    picture = io.BytesIO()
    canvas.print_figure(picture, format=path.suffix.lstrip(".").lower() or "png", facecolor="white")
    replace_file(path, picture.getvalue())


# Looking --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    stages: list[Stage]
    ended: bool


class _Recorder(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Keeps a copy of what passes and changes nothing."""

    def __init__(self, env: Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        self._obs: Any = None

    def observation(self, observation: Any) -> Any:
        """Return `observation`."""
        # A copy: wrappers may write the next one into the same array.
        self._obs = copy.deepcopy(observation)
        if isinstance(observation, np.generic | int):
            self._obs = np.array(observation)
        return observation

    def stage(self) -> Stage:
        """Return the last observation as a stage."""
        inside = list(wrappers_of(self.env))
        shape = np.shape(self._obs)
        made = any(isinstance(w, ImageWrapper | RenderObservation) for w in inside)
        pictorial = made or (len(shape) in (2, 3, 4) and min(shape[:2]) >= 8)
        shows_now = next((w.shows_now for w in inside if isinstance(w, ImageWrapper)), ())
        stacked = len(shape) == 4 or (len(shape) == 3 and any(isinstance(w, FrameStackObservation) for w in inside))
        return Stage(self._name, self._obs, self.env.observation_space, shows_now, stacked, pictorial)


def _look(
    base: Callable[[], Env], chain: Sequence[tuple[str, Callable[[Env], Env]]], seed: int, steps: int
) -> tuple[int, _Found]:
    """Take up to `steps` random actions; return how many were taken, and what was seen then."""
    inner = base()
    env: Env = inner
    try:
        recorders: list[_Recorder] = []
        frame = inner.render_mode == "rgb_array"
        if not frame:
            # Not where a frame is rendered: a wrapper that renders may look for the environment right below it.
            env = _Recorder(env, "environment")
            recorders.append(env)
        for name, wrap in chain:
            env = _Recorder(wrap(env), name)
            recorders.append(env)
        env.action_space.seed(seed)
        _, info = env.reset(seed=seed)
        taken, ended = 0, False
        while taken < steps and not ended:
            _, _, terminated, truncated, info = env.step(_action(env, info))
            ended = terminated or truncated
            taken += 1
        stages = [recorder.stage() for recorder in recorders]
        if frame:
            stages.insert(0, Stage("env.render()", np.array(inner.render()), None))
        return taken, _Found(stages, ended)
    finally:
        env.close()


def _action(env: Env, info: dict[str, Any]) -> Any:
    mask = info.get("action_mask")
    if mask is None or not isinstance(env.action_space, spaces.Discrete):
        return env.action_space.sample()
    return env.action_space.sample(mask=np.asarray(mask, dtype=np.int8))


def _ago(steps: int) -> str:
    return "now" if steps == 0 else f"{steps} before"


# Drawing --------------------------------------------------------------------------------------------------------------

_DPI = 100
_MARGIN, _GAP, _LABEL, _PICTURES = 24, 28, 180, 920  # pixels
_CAPTION, _TALLEST, _SPACE, _TICKS = 20, 300, 12, 110
_INK, _FAINT, _BLUE, _RED = "#24292f", "#8b949e", "#1f5fa8", "#b3261e"


class _Row:
    """A stage's label and its pictures side by side, measured before anything is drawn."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        panels = stage.panels()
        self._panels, self._more = panels[:_MOST_PANELS], max(0, len(panels) - _MOST_PANELS)
        share = (_PICTURES - _SPACE * (len(self._panels) - 1)) // max(1, len(self._panels))
        self._sizes = [self._size(panel, share) for panel in self._panels]
        tallest = max((size[1] for size in self._sizes), default=0)
        self._captioned = any(panel.caption for panel in self._panels)
        self.height = max(tallest + (_CAPTION if self._captioned else 0), 112)

    def draw(self, figure: Any, number: int, top: float, width: float, height: float, *, last: bool) -> None:
        """Draw this row at `top` pixels from the upper edge of a figure of `width` x `height` pixels."""
        self._draw_label(figure, number, top, width, height, last=last)
        left: float = _MARGIN + _LABEL
        drop = _CAPTION if self._captioned else 0
        for panel, (w, h) in zip(self._panels, self._sizes, strict=True):
            before = _TICKS if panel.kind == "numbers" else 0
            place = ((left + before) / width, 1 - (top + drop + h) / height, (w - before) / width, h / height)
            _draw_panel(figure.add_axes(place), panel)
            caption = textwrap.shorten(panel.caption, max(12, w // 6), placeholder=" ...")
            figure.text(left / width, 1 - (top + 2) / height, caption, va="top", color=_INK, size=8)
            left += max(w, 90) + _SPACE
        if not self._panels:
            text = "\n".join(textwrap.wrap(repr(self._stage.obs), 120)[:5])
            figure.text(left / width, 1 - top / height, text, va="top", color=_INK, size=9, family="monospace")

    def _draw_label(self, figure: Any, number: int, top: float, width: float, height: float, *, last: bool) -> None:
        name, _, facts = self._stage.label.partition("\n")
        place = re.fullmatch(r"observation\[\d+\] \((.+)\)", name)
        title = textwrap.shorten(f"{number}  {place[1] if place else name}", 22, placeholder="...")
        lines = [line for part in facts.split("  ") for line in textwrap.wrap(part, 26)]
        lines = lines[:4]
        if any(panel.kind == "difference" for panel in self._panels):
            lines.append("red: more, blue: less")
        if self._more:
            lines.append(f"and {self._more} more pictures")
        x, y = _MARGIN / width, 1 - top / height
        figure.text(x, y, title, va="top", color=_INK, size=11, weight="bold")
        figure.text(x, y - 22 / height, "\n".join(lines), va="top", color=_INK, size=9, linespacing=1.5)
        if last:
            y -= (26 + 19 * len(lines)) / height
            figure.text(x, y, "what the agent sees", va="top", color=_RED, size=9, weight="bold")

    @staticmethod
    def _size(panel: Panel, share: int) -> tuple[int, int]:
        """Return the width and height in pixels: a whole multiple of the picture's, or a part of it."""
        if panel.kind == "numbers":
            return share, min(200, 16 + 22 * len(panel.values)) if len(panel.values) <= 16 else 120
        rows, columns = panel.values.shape[:2]
        zoom = min(share / columns, _TALLEST / rows)
        zoom = float(int(zoom)) if zoom >= 1 else zoom
        return max(1, round(columns * zoom)), max(1, round(rows * zoom))


def _draw_panel(axes: Any, panel: Panel) -> None:
    for spine in axes.spines.values():
        spine.set_color(_FAINT)
        spine.set_linewidth(0.6)
    if panel.kind == "numbers":
        _draw_numbers(axes, panel.values)
        return
    axes.set_xticks([])
    axes.set_yticks([])
    from matplotlib.colors import LinearSegmentedColormap

    # Enlarged pixels stay squares; a picture that must shrink is averaged, or lines would vanish.
    shrinks = panel.values.shape[1] > axes.get_window_extent().width + 0.5
    look: dict[str, Any] = {"interpolation": "antialiased" if shrinks else "nearest", "aspect": "auto"}
    if panel.kind == "colour":
        axes.imshow(panel.values, **look)
    elif panel.kind == "grey":
        axes.imshow(panel.values, cmap="gray", vmin=panel.low, vmax=max(panel.high, panel.low + 1e-9), **look)
    else:
        difference = panel.values.astype(np.float64) - panel.zero
        most = max(float(np.abs(difference).max()), 1e-9)
        colours = LinearSegmentedColormap.from_list("difference", [_BLUE, "#ffffff", _RED], N=257)
        axes.imshow(difference, cmap=colours, vmin=-most, vmax=most, **look)


def _draw_numbers(axes: Any, values: NDArray[Any]) -> None:
    """Draw a vector as bars, each with its value; many as columns without."""
    decimals = 0 if values.dtype.kind in "biu" else 4
    values = values.astype(np.float64)
    finite = np.where(np.isfinite(values), values, 0.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    if len(values) > 16:
        axes.bar(np.arange(len(values)), finite, color=_BLUE, width=1.0)
        return
    places = np.arange(len(values))
    axes.barh(places, finite, color=_BLUE, height=0.6)
    axes.axvline(0, color=_FAINT, linewidth=0.8)
    axes.set_yticks(places, [f"[{i}]  {value:+.{decimals}f}" for i, value in enumerate(values)], family="monospace")
    axes.tick_params(axis="y", pad=6)
    axes.set_xticks([])
    axes.invert_yaxis()
    most = max(float(np.abs(finite).max()), 1e-9)
    axes.set_xlim(-1.1 * most, 1.1 * most)
