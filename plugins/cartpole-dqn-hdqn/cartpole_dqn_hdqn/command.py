"""The command `cartpole-dqn hdqn-figures`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cartpole_dqn import UserError


def hdqn_figures(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where runs and pictures go.")] = Path("hdqn-figures"),
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Seeds of each preset, from 0.")] = 10,
    episodes: Annotated[
        int, typer.Option(metavar="N", min=0, help="Episodes of the runs that the picture shows; 0 leaves it out.")
    ] = 12_000,
    report_episodes: Annotated[
        int, typer.Option(metavar="N", min=0, help="Greedy episodes of each row in the table; 0 leaves it out.")
    ] = 5_000,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Environment steps in place of the presets' own.")
    ] = None,
    preset: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Presets; by default all four.")] = None,
) -> None:
    """Train h-DQN and the flat agents on the decision process; print what they reach and draw the paper's figure.

    If it was interrupted, the same command continues.
    """
    from cartpole_dqn_hdqn import study

    chosen = tuple(dict.fromkeys(preset or study.PRESETS))
    for name in chosen:
        if name not in study.PRESETS:
            raise UserError(f"--preset {name}: expected one of {', '.join(study.PRESETS)}.")
    if 0 < episodes < study.WINDOW:
        raise UserError(f"--episodes {episodes}: a point of the picture is {study.WINDOW} episodes; give as many.")
    if report_episodes:
        trials = []
        greedy = f"greedy-{report_episodes}" + ("" if steps is None else f"-after-{steps}")
        for name in chosen:
            for seed in range(seeds):
                _say(f"{name}, seed {seed}: training, {report_episodes:,} greedy episodes")
                trials.append(
                    study.greedy_trial(name, seed, _folder(out / greedy), report_episodes=report_episodes, steps=steps)
                )
        print(study.table_text(trials))
    if episodes:
        from cartpole_dqn_hdqn.drawing import draw_courses

        courses: dict[str, list[study.Course]] = {}
        for name in chosen:
            for seed in range(seeds):
                _say(f"{name}, seed {seed}: {episodes:,} episodes")
                course = study.long_trial(name, seed, _folder(out / f"long-{episodes}"), episodes=episodes)
                courses.setdefault(name, []).append(course)
        for style in ("light", "dark"):
            picture = out / f"figure-{style}.png"
            draw_courses(courses, picture, style=style)
            print(picture)


def _folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: {folder} cannot be made: {error.strerror or error}.") from error
    return folder


def _say(text: str) -> None:
    print(text, file=sys.stderr)
