"""`evaluate` measures a run's model; `preview` draws what an agent sees; `report` writes a page about a run."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cartpole_dqn.cli import options
from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import UserError
from cartpole_dqn.system import unwinding_on_signals


def evaluate(
    ctx: typer.Context,
    run: options.Run,
    episodes: Annotated[int, typer.Option(metavar="N", min=1, help="Play N greedy episodes.")] = 100,
    seed: options.Seed = 0,
    last: options.Last = False,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Evaluate a run's best model.

    It plays without random actions, on held-out seeds that training never uses. For a shared agent, it also checks the
    claimed score; if that does not hold, the exit code is 1.

    Examples:
        cartpole-dqn evaluate latest
        cartpole-dqn evaluate runs/NAME --last --json
    """
    from cartpole_dqn.config.schema import which_model
    from cartpole_dqn.studies.scoring import score_model
    from cartpole_dqn.text.figures import number
    from cartpole_dqn.training.session import adjusted
    from cartpole_dqn.views.share import score_text

    session: Session = ctx.obj
    opened = session.open_run(run)
    opened = dataclasses.replace(opened, config=adjusted(opened.config, device=device))
    with session.showing_evaluation() as on_progress:
        result = score_model(opened, episodes=episodes, seed=seed, which=which_model(last), on_progress=on_progress)
    figures = result.figures()
    if as_json:
        print(json.dumps(figures))
        raise typer.Exit(result.holds is False)
    session.out.print(
        f"{result.which} model, trained for {result.evaluation.step:,} steps: {episodes} greedy episodes on held-out "
        f"seeds (--seed {seed})",
    )
    parts = (f"{name} {number(figures[name])}" for name in ("mean", "std", "min", "max"))
    session.out.print("   ".join(parts))
    if result.verdict:
        session.out.print(result.verdict, style="bold green" if result.verdict == "SOLVED" else None)
    if result.claimed is not None:
        verdicts = {
            True: "holds",
            False: f"does not hold: here the interval is {result.score.low:,.1f} to {result.score.high:,.1f}",
            None: f"cannot be judged from {episodes} episodes",
        }
        claim = score_text(result.claimed)
        session.out.print(f"The claimed score ({claim}) {verdicts[result.holds]}.")
    raise typer.Exit(result.holds is False)


def preview(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="Output file.")] = Path("preview.png"),
    obs: options.Obs = None,
    env: options.Env = None,
    preset: options.Preset = None,
    config: options.Config = None,
    wrapper: options.Wrapper = None,
    set_: options.Set = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the episode and of the actions.")] = 0,
    steps: Annotated[int, typer.Option(metavar="N", min=0, help="Take N random actions first.")] = 12,
    compare: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Draw beside it what this preset sees at the same moment.")
    ] = None,
    theme: options.Theme = "light",
) -> None:
    """Draw what the agent sees.

    The page has a labelled picture for each observation wrapper.

    Examples:
        cartpole-dqn preview --env Acrobot-v1
        cartpole-dqn preview --obs pixels --set observation.resize.height=60 --out finer.png
        cartpole-dqn preview --obs pixels --compare tutorial-pixels --out compared.png
    """
    from cartpole_dqn.training.resolve import named_settings, resolve_config
    from cartpole_dqn.views.preview import make_preview
    from cartpole_dqn.views.preview_drawing import draw_previews

    session: Session = ctx.obj
    host = session.host
    settings = {"obs": obs, "env": env, "wrappers": options.wrapper_changes(wrapper)}
    flags = named_settings(host.registry, settings)
    resolved, _ = resolve_config(host, preset=preset, config_file=config, flags=flags, sets=set_ or [])
    title = f"{resolved.preset}{', changed' if set_ or config or wrapper else ''}"
    moment: dict[str, Any] = {"seed": seed, "steps": steps, "with_motion": compare is not None}
    columns = [make_preview(resolved, host, title, **moment)]
    if compare is not None:
        base, _ = resolve_config(host, preset=compare, flags=named_settings(host.registry, {"env": resolved.env.id}))
        columns.insert(0, make_preview(base, host, compare, **moment))
        for column in columns:
            session.say(f"{column.title}: {column.finding}" if column.finding else column.title)
    draw_previews(columns, out, theme=theme)
    stages = columns[-1].stages
    session.say(f"{len(stages)} stage{'s' * (len(stages) > 1)} of {resolved.env.id}, {resolved.obs}")
    print(out)


def report(
    ctx: typer.Context,
    run: options.Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output file, .html.", show_default="report.html in the run's folder"),
    ] = None,
    episodes: Annotated[
        int, typer.Option(metavar="N", min=0, help="Play N greedy episodes on held-out seeds, as `evaluate` does.")
    ] = 100,
    seed: options.Seed = 0,
    last: options.Last = False,
    animation: Annotated[bool, typer.Option(help="Include an animation of the model at play.")] = True,
) -> None:
    """Write a run's report: one HTML page that needs no other file.

    It has curves, evaluations, an animation, what the agent sees, and the settings. It says what is missing.

    Examples:
        cartpole-dqn report latest
        cartpole-dqn report runs/NAME --out report.html
        cartpole-dqn report latest --episodes 0 --no-animation
    """
    from cartpole_dqn.config.schema import which_model
    from cartpole_dqn.runs.catalogue import find_run

    folder = find_run(run)
    target = out or folder.product("report.html")
    from cartpole_dqn.views.report.gather import write_report

    session: Session = ctx.obj
    opened, problem = None, ""
    try:
        opened = session.open_run(folder)
    except UserError as error:
        problem = str(error)  # For example a missing plugin. The rest of the page does not need it.
    with unwinding_on_signals(), session.spinner("reading") as on_status:
        content = write_report(
            folder,
            opened,
            target,
            now=time.time(),
            episodes=episodes,
            seed=seed,
            which=which_model(last),
            animation=animation,
            problem=problem,
            on_status=on_status,
        )
    for sentence in content.missing:
        session.warn(f"missing: {sentence}")
    print(target)
