"""A run as one self-contained HTML file, without scripts and without a network.

* `write_report`: writes it from a run's folder. What is missing or fails is listed on the page.
* `check_report`: checks the ending of a page's name.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.options import to_table
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.names import number_names
from cartpole_dqn.errors import RunFolderError, UserError, said_by
from cartpole_dqn.files import open_regular, reason, replace_file
from cartpole_dqn.observers.display.panel import describe_evaluating
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.catalogue import read_settings, run_title, summarise_run
from cartpole_dqn.runs.checkpoint import has_state
from cartpole_dqn.runs.folder import RunFolder, describe_environment
from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.text.tables import flat
from cartpole_dqn.training import assembly
from cartpole_dqn.training.models import Which, evaluate_run
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.views.chart import WIDTH, Theme, threshold_of
from cartpole_dqn.views.curves import draw_curves
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.preview import preview_stages
from cartpole_dqn.views.progress import record_progress
from cartpole_dqn.views.record import Recording, record_run
from cartpole_dqn.views.report.content import Curves, Difference, Look, Play, Report
from cartpole_dqn.views.report.page import report_page
from cartpole_dqn.views.scene import draw_scene

MOST_ANIMATION_BYTES = 3_000_000
_LONGEST_PLAY = 500
"""Most steps of the animation; fewer if it would be too large."""
_SHORTEST_PLAY = 20
_SEEN = 40
"""Steps among which the moment is chosen that shows what it looks at."""
_NARROW = 4.6
"""Width of the curves on a narrow screen, in inches."""
_LARGEST_SVG = 700_000
_LARGEST_ENVIRONMENT = 1 << 20
_SUFFIXES = (".html", ".htm")
_THEMES: tuple[Theme, ...] = ("light", "dark")


@dataclass(frozen=True)
class _Wishes:
    episodes: int
    seed: int
    last: bool
    animation: bool
    told: Callable[[str], None]


def write_report(
    folder: RunFolder,
    config: RunConfig | None,
    host: PluginHost,
    out: Path,
    *,
    now: float,
    episodes: int = 100,
    seed: int = 0,
    last: bool = False,
    animation: bool = True,
    problem: str = "",
    told: Callable[[str], None] = lambda doing: None,
) -> Report:
    """Write a run's page into `out`, complete or not at all. Return its content.

    Args:
        folder: of the run.
        config: of the run; None if it cannot be used here, for the reason `problem`. Then nothing is played.
        host: the loaded plugins.
        out: ends in .html.
        now: seconds since the epoch.
        episodes: greedy episodes on report seeds, as in `evaluate`; 0 for none.
        seed: of the report seeds, also for the animation.
        last: play the last model rather than the best.
        animation: show the model at play.
        problem: the reason why there is no configuration.
        told: called with the current activity.

    Raises:
        UserError: `out` has another ending or cannot be written, or the folder is no readable run.
    """
    check_report(out)
    report = _gather(folder, config, host, _Wishes(episodes, seed, last, animation, told), now, problem)
    try:
        replace_file(out, report_page(report).encode())
    except OSError as error:
        raise UserError(f"{out} cannot be written: {reason(error)}.") from None
    return report


def check_report(out: Path) -> None:
    """Raise a `UserError` unless the name ends in .html or .htm."""
    if out.suffix.lower() not in _SUFFIXES:
        raise UserError(f"{out}: expected a page's name, ending in .html.")


def _gather(
    folder: RunFolder, config: RunConfig | None, host: PluginHost, wishes: _Wishes, now: float, problem: str
) -> Report:
    summary = summarise_run(folder.path)
    if summary.state == "broken":
        raise RunFolderError(summary.problem or f"{folder.path} is not the folder of a run.")
    settings = read_settings(folder.path)
    found = _Found(folder)
    if problem:
        found.missing.append(f"The configuration cannot be used here: {problem}")
    with found.or_say("The curves, evaluations and episodes"):
        found.facts["history"] = history = read_metrics(folder.path)
        if history.problem:
            found.missing.append(found.passable(history.problem))
        wishes.told("drawing the curves")
        found.facts["curves"] = _curves(history, threshold_of(flat(settings)))
    environment = _environment(folder)
    if not environment:
        found.missing.append("What it was made with: environment.json is missing or damaged.")
    if config is not None:
        _set_up(found, config, host)
        wishes.told("looking at what the agent sees")
        _look(found, config, host)
        _play(found, config, host, wishes)
    return Report(
        name=folder.path.resolve().name,
        place=_place(folder.path),
        title=run_title(settings),
        summary=summary,
        settings=settings,
        config_text=folder.config.read_text(encoding="utf-8", errors="replace"),
        environment=environment,
        missing=tuple(found.missing),
        now=now,
        seed=wishes.seed,
        **found.facts,
    )


@dataclass
class _Found:
    """The fields of the report found so far, and sentences about missing ones."""

    folder: RunFolder
    facts: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def or_say(self, what: str) -> Iterator[None]:
        """Catch any error inside the block and list `what` as missing: an environment may raise anything."""
        try:
            yield
        except Exception as error:
            self.missing.append(f"{what}: {self.passable(said_by(error))}")

    def passable(self, text: str) -> str:
        """Return the text without this machine's paths: pages are passed on."""
        return text.replace(str(self.folder.path), self.folder.path.resolve().name)


def _set_up(found: _Found, config: RunConfig, host: PluginHost) -> None:
    """Add differences from the preset, components and the threshold."""
    with found.or_say("What differs from the preset"):
        preset, _ = resolve_config(
            host,
            preset=config.preset or None,
            flags={} if config.preset else {"env": {"id": config.env.id}, "obs": config.obs},
        )
        here, there = (flat(to_table(table)) for table in (config, preset))
        keys = [key for key in dict.fromkeys([*here, *there]) if key != "preset" and here.get(key) != there.get(key)]
        found.facts["differences"] = tuple(Difference(key, here.get(key), there.get(key)) for key in keys)
    with found.or_say("Which parts it used"):
        found.facts["components"] = assembly.used_components(config, host.registry)
        device = str(assembly.choose_device("auto" if config.device == "cuda" else config.device))
        described = describe_environment(plugins=host.describe(), threads=config.threads, device=device)
        found.facts["changed"] = tuple(found.folder.differences(described))
    with found.or_say("What counts as solved"):
        found.facts["solved_at"] = assembly.solved_at(config)


def _look(found: _Found, config: RunConfig, host: PluginHost) -> None:
    with found.or_say("What the agent sees"):
        host.register_environments()
        factory = EnvFactory(config, host.registry)
        found.facts["stages"] = tuple(preview_stages(factory.base, factory.chain(), seed=0))
        env = factory.make()
        found.facts["names"] = number_names(env)
        env.close()


def _play(found: _Found, config: RunConfig, host: PluginHost, wishes: _Wishes) -> None:
    """Add the model's evaluation on report seeds and its animation."""
    folder = found.folder
    if not has_state(folder.best) and not has_state(folder.checkpoint):
        if wishes.episodes or wishes.animation:
            found.missing.append("Its evaluation and animation: it holds no model yet, neither best/ nor checkpoint/.")
        return
    which: Which = "best" if has_state(folder.best) and not wishes.last else "last"
    found.facts["which"] = which
    if wishes.episodes:
        with found.or_say("Its evaluation on report seeds"):
            found.facts["evaluation"] = evaluate_run(
                folder,
                config,
                host,
                episodes=wishes.episodes,
                seed=wishes.seed,
                which=which,
                told=lambda event: wishes.told(describe_evaluating(event)),
            )
    if wishes.animation:
        how: dict[str, Any] = {"seed": wishes.seed}
        with found.or_say("The animation"):
            wishes.told("recording")
            gif, made, steps = _recorded(record_run, (folder, config, host), _LONGEST_PLAY, which=which, **how)
            found.facts["play"] = Play(gif, made.lengths[0], made.returns[0], cut=made.lengths[0] == steps)
            with found.or_say("How it learned"):
                wishes.told("recording how it learned")
                run = (folder, config, host)
                found.facts["progress"] = _recorded(record_progress, run, _LONGEST_PLAY, across=2, **how)[0]
            with found.or_say("What it looks at"):
                wishes.told("finding out what it looks at")
                playback = Playback(folder, config, host, which=which, max_steps=_SEEN, attribution=True, **how)
                found.facts["look"] = _look_at(playback)


def _recorded(
    record: Callable[..., Recording], run: tuple[Any, ...], steps: int, **how: Any
) -> tuple[bytes, Recording, int]:
    """Record an episode, cut to fit `MOST_ANIMATION_BYTES`. Return the GIF, the recording and the limit of steps."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "play.gif"
        while True:
            made = record(*run, out, max_steps=steps, **how)
            if made.nbytes <= MOST_ANIMATION_BYTES or steps <= _SHORTEST_PLAY:
                return out.read_bytes(), made, steps
            played = min(steps, max(made.lengths))
            steps = max(_SHORTEST_PLAY, int(0.9 * played * MOST_ANIMATION_BYTES / made.nbytes))


def _look_at(playback: Playback) -> Look | None:
    """Return where the value comes from at the moment when the chosen action matters most; None without pictures."""
    with playback:
        if not playback.pictorial:
            return None
        scenes = [scene for scene in playback.episode(1) if scene.action is not None]
    scene = max(scenes, key=lambda scene: 0.0 if scene.q_values is None else float(np.ptp(scene.q_values)))
    pictures = []
    for theme in _THEMES:
        file = io.BytesIO()
        Image.fromarray(draw_scene(scene, theme)).save(file, format="PNG", optimize=True)
        pictures.append(file.getvalue())
    return Look(pictures[0], pictures[1], scene.step, scene.actions[scene.action or 0])


def _curves(history: RunHistory, threshold: float | None) -> Curves:
    """Draw the curves for light and dark pages, wide and narrow, as SVG unless that is too large."""
    how: dict[str, Any] = {"title": " ", "threshold": threshold}
    with tempfile.TemporaryDirectory() as place:
        for suffix in (".svg", ".png"):
            drawn = []
            for width in (WIDTH, _NARROW):
                for theme in _THEMES:
                    path = Path(place) / f"{theme}{suffix}"
                    draw_curves(history, path, theme=theme, width=width, **how)
                    drawn.append(path.read_bytes())
            if max(map(len, drawn)) <= _LARGEST_SVG:
                break
        return Curves("image/svg+xml" if suffix == ".svg" else "image/png", *drawn)


def _place(path: Path) -> str:
    """Return the folder relative to the current one, or only its name if it lies elsewhere."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return path.resolve().name


def _environment(folder: RunFolder) -> dict[str, Any]:
    """Return the content of `environment.json`; empty if missing or damaged."""
    try:
        with open_regular(folder.environment) as file:
            found = json.loads(file.read(_LARGEST_ENVIRONMENT))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
