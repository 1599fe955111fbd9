"""`evaluate` and `preview`: how good a run's model is, and what an agent sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartpole_dqn.cli.run_argument import RunArgument
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, RunError, UserError, said_by
from cartpole_dqn.files import reason

if TYPE_CHECKING:
    from cartpole_dqn.cli.session import Session
    from cartpole_dqn.training.models import Which

EVALUATE_EXAMPLES = "Examples: cartpole-dqn evaluate latest   |   cartpole-dqn evaluate runs/NAME --last --json"
PREVIEW_EXAMPLES = (
    "Examples: cartpole-dqn preview --env Acrobot-v1   |   "
    "cartpole-dqn preview --obs pixels --set observation.resize.height=60 --out finer.png"
)


def evaluate(
    ctx: typer.Context,
    run: RunArgument,
    episodes: Annotated[int, typer.Option(min=1, help="Greedy episodes to play.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Which report seeds.")] = 0,
    last: Annotated[bool, typer.Option("--last", help="The last model instead of the best.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play greedily with a run's best model, on seeds that it never saw."""
    from cartpole_dqn.runs.catalogue import find_run
    from cartpole_dqn.runs.checkpoint import has_state
    from cartpole_dqn.text.figures import number
    from cartpole_dqn.training.models import evaluate_run
    from cartpole_dqn.training.resolve import read_config

    session: Session = ctx.obj
    host = session.host()
    folder = find_run(run)
    config = read_config(folder, host)
    which: Which = "last" if last or not has_state(folder.best) else "best"
    with session.showing_evaluation() as told:
        evaluation = evaluate_run(folder, config, host, episodes=episodes, seed=seed, which=which, told=told)
    figures = {
        "mean": evaluation.mean,
        "std": evaluation.std,
        "min": min(evaluation.returns),
        "max": max(evaluation.returns),
        "episodes": episodes,
        "seed": seed,
        "model": which,
    }
    if as_json:
        print(json.dumps(figures))
        return
    session.out.print(
        f"{which} model, trained for {evaluation.step:,} steps: {episodes} greedy episodes on report seeds of {seed}",
        highlight=False,
    )
    session.out.print(
        "   ".join(f"{name} {number(figures[name])}" for name in ("mean", "std", "min", "max")),
        highlight=False,
    )


def preview(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture to write.")] = Path("preview.png"),
    obs: Annotated[str | None, typer.Option(help="pixels, or state.")] = None,
    env: Annotated[str | None, typer.Option(help="A Gymnasium id, or module:Id.")] = None,
    preset: Annotated[str | None, typer.Option(help="A preset's name.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings to lay over the preset.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which episode.")] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Random actions to take before looking.")] = 12,
) -> None:
    """Draw what the agent sees: each stage of the observation's wrappers as a labelled picture."""
    from cartpole_dqn.envs.factory import EnvFactory
    from cartpole_dqn.training.resolve import resolve_config
    from cartpole_dqn.views.preview import preview_stages
    from cartpole_dqn.views.preview_drawing import draw_preview

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UserError(f"--out {out}: expected a picture's name ending in .png, .jpg or .webp.")
    session: Session = ctx.obj
    host = session.host()
    flags = {"obs": obs, "env": {"id": env} if env else None}
    resolved, _ = resolve_config(
        host, preset=preset, config_file=config, flags={k: v for k, v in flags.items() if v}, sets=set_ or []
    )
    host.register_environments()
    factory = EnvFactory(resolved, host.registry)
    # Not `factory.make()`: what cannot be learned, such as continuous actions, can be seen all the same.
    chain = [(stage.place, _saying(stage.place, stage.wrap)) for stage in factory.stages]
    try:
        stages = preview_stages(factory.base, chain, seed=seed, steps=steps)
    except CartpoleDqnError:
        raise
    except Exception as error:
        what = said_by(error)
        raise RunError(f"{resolved.env.id} failed within {steps} random steps of seed {seed}: {what}") from error
    try:
        draw_preview(stages, out)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {reason(error)}.") from None
    session.err.print(f"{len(stages)} stages of {resolved.env.id}, {resolved.obs}", highlight=False)
    print(out)


def _saying(place: str, wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `wrap`, a refusal of which says where in the configuration it stands."""

    def wrapped(env: Any) -> Any:
        try:
            return wrap(env)
        except CartpoleDqnError:
            raise
        except Exception as error:
            raise ConfigError(f"{place}: {error}") from error

    return wrapped
