"""A run as one self-contained HTML file, without scripts and without a network.

`write_report` writes it from a run's folder. What is missing or fails is listed on the page.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cartpole_dqn.contracts.options import to_table
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.files import replace_file, require_suffix, writing
from cartpole_dqn.observers.wording import describe_evaluating
from cartpole_dqn.runs.catalogue import read_settings, summarise_run
from cartpole_dqn.runs.checkpoint import has_state
from cartpole_dqn.runs.folder import RunFolder, describe_environment
from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.runs.saved import choose_model
from cartpole_dqn.text.tables import flat
from cartpole_dqn.training import assembly
from cartpole_dqn.training.models import SavedRun, Which, evaluate_run
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.views.chart import WIDTH
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.curves import draw_curves
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.preview import preview_stages
from cartpole_dqn.views.progress import record_progress
from cartpole_dqn.views.record import Recording, record_run
from cartpole_dqn.views.report.content import Look, Play, Report, Shown
from cartpole_dqn.views.report.page import report_page
from cartpole_dqn.views.report.pictures import png_of
from cartpole_dqn.views.scene import draw_scene

MOST_ANIMATION_BYTES = 1_500_000
_SMOOTH = 25.0
"""Pictures per second."""
_LONGEST_PLAY = 500
"""Most steps of the animation; fewer if it would be too large."""
_SHORTEST_PLAY = 20
_SEEN = 40
"""Steps among which the moment is chosen that shows what it looks at."""
_NARROW_INCHES = 4.6
"""Width of the curves on a narrow screen."""
_DARK = "screen and (prefers-color-scheme: dark)"
_NARROW = "(max-width: 40rem)"
_STILL = "print, (prefers-reduced-motion)"
_LARGEST_SVG = 700_000
_THEMES: tuple[Theme, ...] = ("light", "dark")


def write_report(
    folder: RunFolder,
    run: SavedRun | None,
    out: Path,
    *,
    now: float,
    episodes: int = 100,
    seed: int = 0,
    which: Which = "best",
    animation: bool = True,
    problem: str = "",
    on_status: Callable[[str], None] = lambda doing: None,
) -> Report:
    """Write a run's page into `out`, complete or not at all. Return its content.

    Args:
        folder: of the run.
        run: the run; None if its configuration cannot be used here, for the reason `problem`. Then nothing is played.
        out: ends in .html.
        now: seconds since the epoch.
        episodes: greedy episodes on held-out seeds, as in `evaluate`; 0 for none.
        seed: selects the held-out seeds, also for the animation.
        which: the best model, or the last.
        animation: show the model at play.
        problem: the reason why there is no configuration.
        on_status: called with the current activity.

    Raises:
        UserError: `out` has another ending or cannot be written, or the folder is no readable run.
    """
    require_suffix(out, "a page", (".html", ".htm"))
    summary = summarise_run(folder.path)
    if summary.state == "broken":
        raise RunFolderError(summary.problem or f"{folder.path} is not the folder of a run.")
    settings = read_settings(folder.path)
    report = Report(
        folder=folder,
        summary=summary,
        settings=settings,
        config_text=folder.config.read_text(encoding="utf-8", errors="replace"),
        environment=folder.description(),
        now=now,
        seed=seed,
    )
    if problem:
        report.say(f"The configuration cannot be used here: {problem}")
    with report.or_say("The curves, evaluations and episodes"):
        report.history = read_metrics(folder.path)
        if report.history.problem:
            report.say(report.history.problem)
        on_status("drawing the curves")
        report.curves = _curves(report.history)
    if not report.environment:
        report.say("What it was made with: environment.json is missing or damaged.")
    if run is not None:
        _set_up(report, run)
        on_status("looking at what the agent sees")
        with report.or_say("What the agent sees"):
            factory = EnvFactory(run.config, run.host)
            report.stages = preview_stages(factory.base, factory.chain(), seed=0)
        if has_state(folder.best) or has_state(folder.checkpoint):
            report.which = choose_model(folder, which)
            if episodes:
                _evaluate(report, run, episodes, on_status)
            if animation:
                _play(report, run, on_status)
        elif episodes or animation:
            report.say("Its evaluation and animation: it holds no model yet, neither best/ nor checkpoint/.")
    with writing(out):
        replace_file(out, report_page(report).encode())
    return report


def _set_up(report: Report, run: SavedRun) -> None:
    """Add differences from the preset, and components."""
    config, host = run.config, run.host
    with report.or_say("What differs from the preset"):
        preset, _ = resolve_config(
            host,
            preset=config.preset or None,
            flags={} if config.preset else {"env": {"id": config.env.id}, "obs": config.obs},
        )
        own, base = (flat(to_table(table)) for table in (config, preset))
        keys = [key for key in dict.fromkeys([*own, *base]) if key != "preset" and own.get(key) != base.get(key)]
        report.differences = [(key, own.get(key), base.get(key)) for key in keys]
    with report.or_say("Which parts it used"):
        report.components = assembly.used_components(config, host.registry)
        device = str(assembly.choose_device("auto" if config.device == "cuda" else config.device))
        described = describe_environment(plugins=host.describe(), threads=config.threads, device=device)
        report.changed = report.folder.differences(described)


def _evaluate(report: Report, run: SavedRun, episodes: int, on_status: Callable[[str], None]) -> None:
    """Add the evaluation on held-out seeds."""
    with report.or_say("Its evaluation on held-out seeds"):
        report.evaluation = evaluate_run(
            run,
            episodes=episodes,
            seed=report.seed,
            which=report.which,
            on_progress=lambda event: on_status(describe_evaluating(event)),
        )


def _play(report: Report, run: SavedRun, on_status: Callable[[str], None]) -> None:
    """Add the animations, and where the value of an action comes from."""
    stages = report.stages
    model: dict[str, Any] = {"seed": report.seed, "which": report.which}
    with report.or_say("The animation"):
        report.play = _record(record_run, run, "recording", on_status, **model)
        with report.or_say("How it learned"):
            doing = "recording how it learned"
            report.progress = _record(record_progress, run, doing, on_status, seed=report.seed, across=2)
        if not stages or not stages[-1].pictorial:
            return  # It sees numbers, or what it sees is missing already.
        with report.or_say("What it looks at"):
            on_status("finding out what it looks at")
            report.look = _look_at(Playback(run, **model, max_steps=_SEEN, attribution=True))


def _record(
    record: Callable[..., Recording], run: SavedRun, doing: str, on_status: Callable[[str], None], **options: Any
) -> Play:
    """Record an episode, cut to fit `MOST_ANIMATION_BYTES`, for light and dark pages. Say what is being done."""
    steps = _LONGEST_PLAY

    def play(out: Path, theme: Theme) -> Recording:
        def tell(*place: int) -> None:
            on_status(f"{doing}, for {theme} pages: step {place[-1]:,}")

        return record(run, out, max_steps=steps, most=_SMOOTH, theme=theme, on_progress=tell, **options)

    on_status(doing)
    with tempfile.TemporaryDirectory() as place:
        out, dark = Path(place) / "light.gif", Path(place) / "dark.gif"
        while True:
            recording = play(out, "light")
            if recording.nbytes <= MOST_ANIMATION_BYTES or steps <= _SHORTEST_PLAY:
                break
            steps_played = min(steps, max(recording.lengths))
            steps = max(_SHORTEST_PLAY, int(0.9 * steps_played * MOST_ANIMATION_BYTES / recording.nbytes))
        play(dark, "dark")
        others = (
            ("image/png", _last_picture(dark), f"{_DARK} and (prefers-reduced-motion)"),
            ("image/png", _last_picture(out), _STILL),
            ("image/gif", dark.read_bytes(), _DARK),
        )
        return Play(Shown("image/gif", out.read_bytes(), others), recording)


def _last_picture(animation: Path) -> bytes:
    with Image.open(animation) as frames:
        frames.seek(getattr(frames, "n_frames", 1) - 1)
        return png_of(np.asarray(frames.convert("RGB")))


def _look_at(playback: Playback) -> Look:
    """Return where the value comes from at the moment when the chosen action matters most."""
    with playback:
        scenes = [scene for scene in playback.episode(1) if scene.action is not None]
    scene = max(scenes, key=lambda scene: 0.0 if scene.q_values is None else float(np.ptp(scene.q_values)))
    light, dark = (png_of(draw_scene(scene, theme)) for theme in _THEMES)
    image = Shown("image/png", light, (("image/png", dark, _DARK),))
    return Look(image, scene.step, scene.actions[scene.action or 0])


def _curves(history: RunHistory) -> Shown:
    """Draw the curves for light and dark pages, wide and narrow, as SVG unless that is too large.

    On paper they are wide and light.
    """
    with tempfile.TemporaryDirectory() as place:
        for suffix in (".svg", ".png"):
            pictures = []
            for width in (WIDTH, _NARROW_INCHES):
                for theme in _THEMES:
                    path = Path(place) / f"{theme}{suffix}"
                    draw_curves(history, path, title=" ", theme=theme, width=width)
                    pictures.append(path.read_bytes())
            if max(map(len, pictures)) <= _LARGEST_SVG:
                break
    kind = "image/svg+xml" if suffix == ".svg" else "image/png"
    light, dark, narrow_light, narrow_dark = pictures
    alternatives = ((narrow_dark, f"{_DARK} and {_NARROW}"), (narrow_light, f"screen and {_NARROW}"), (dark, _DARK))
    return Shown(kind, light, tuple((kind, data, media) for data, media in alternatives))
