"""`share_run`: writes a run's model as a shared agent, a folder and a zip beside it, with a model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from cartpole_dqn.config.schema import RunConfig, to_toml
from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.options import changed, to_table
from cartpole_dqn.errors import CartpoleDqnError, RunError, RunFolderError, UserError, bad, error_line
from cartpole_dqn.files import reason, replace_file
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.catalogue import run_title
from cartpole_dqn.runs.checkpoint import has_state
from cartpole_dqn.runs.folder import RunFolder, describe_environment
from cartpole_dqn.runs.history import read_metrics
from cartpole_dqn.runs.saved import InitialWeights, read_model, write_best
from cartpole_dqn.runs.shared import Score, pack_folder, require_no_code, write_claim
from cartpole_dqn.studies.estimates import score_of
from cartpole_dqn.text.figures import one_line, spread
from cartpole_dqn.text.pages import render
from cartpole_dqn.training.assembly import used_components
from cartpole_dqn.training.models import SavedRun, Which, evaluate_run
from cartpole_dqn.views.curves import draw_curves
from cartpole_dqn.views.record import record_run


@dataclass(frozen=True)
class Shared:
    """What `share_run` wrote."""

    folder: RunFolder
    archive: Path
    """The zip."""
    score: Score
    missing: tuple[str, ...]
    """What could not be included, as sentences."""


def score_text(score: Score) -> str:
    """Return a score as text, with its interval and its number of episodes."""
    return (
        f"mean {score.mean:,.1f}, 95 % interval {score.low:,.1f} to {score.high:,.1f}, {score.episodes} episodes on "
        f"held-out seeds (--seed {score.seed})"
    )


def share_run(
    run: SavedRun,
    out: Path,
    *,
    episodes: int = 100,
    seed: int = 0,
    which: Which = "best",
    recorded_steps: int = 250,
    on_status: Callable[[str], None] = lambda doing: None,
) -> Shared:
    """Write a model as a shared agent to the folder `out` and to a zip beside it.

    The observers of the run are left out: nobody needs them, and their options may be private. The arguments are those
    of `Run.share`. The zip has the folder's name and `.zip`. `on_status` is called with what is being done, at each
    episode and picture.

    Raises:
        UserError: the run names code to import, has no model, or `out` is taken or cannot be written.
        RunError: the environment failed.

    `out` is then as it was.
    """
    run = replace(run, config=changed(run.config, observer=RunConfig().observer))
    require_no_code(to_table(run.config), str(run.folder.config))
    if out.name in ("", ".."):
        raise RunFolderError(f"--out {bad(out)}: expected a folder's name, since NAME.zip is written beside it.")
    archive = out.with_name(f"{out.name}.zip")
    if archive.exists():
        raise RunFolderError(f"{archive} exists. Choose another --out.")
    target = RunFolder.create(out, env_id=run.config.env.id, obs=run.config.obs)
    with target.lock():  # A second `share` must neither write to this folder nor remove it.
        try:
            evaluation = evaluate_run(
                run,
                episodes=episodes,
                seed=seed,
                which=which,
                on_progress=lambda event: on_status(f"evaluating: {event.done} of {episodes} episodes"),
            )
            components = _write_model(run, target, which, evaluation)
            if recorded_steps:
                record_run(
                    run,
                    target.path / "record.gif",
                    seed=seed,
                    which=which,
                    max_steps=recorded_steps,
                    on_progress=lambda _, step: on_status(f"recording: {step} of {recorded_steps} steps"),
                )
            missing = _write_curve(run, target)
            score = score_of(evaluation, seed)
            needed = sorted(set(components.values()))
            replace_file(
                target.path / "README.md", model_card(target, run.config, score, evaluation.step, needed).encode()
            )
            write_claim(target, score)
            pack_folder(target.path, archive)
        except BaseException as error:
            shutil.rmtree(target.path, ignore_errors=True)
            failed = error.__cause__ if isinstance(error, RunError) else error
            if isinstance(failed, OSError):
                raise UserError(f"{out} cannot be written: {reason(failed)}.") from None
            raise
    (target.path / folder_lock.NAME).unlink(missing_ok=True)
    return Shared(target, archive, score, missing)


def _write_model(run: SavedRun, target: RunFolder, which: Which, evaluation: Evaluation) -> Mapping[str, str]:
    """Write the model and what it needs. Return its components, each with its distribution."""
    components = used_components(run.config, run.host.registry)
    model = read_model(run.folder, run.config, which)
    write_best(target, run.config, model.policy, evaluation)
    if has_state(run.folder.initial):
        InitialWeights.read(run.folder).write(target)
    target.write_config(to_toml(run.config))
    target.write_environment(_environment(run, components))
    return components


def _write_curve(run: SavedRun, target: RunFolder) -> tuple[str, ...]:
    """Draw the learning curve. Return a sentence if there is none."""
    try:
        history = read_metrics(run.folder.path)
    except CartpoleDqnError as error:
        return (f"the curve: {error_line(error)}",)
    draw_curves(history, target.curve, title=run_title(to_table(run.config)))
    # With 64 colours it looks the same and has a third of the bytes.
    Image.open(target.curve).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(target.curve, optimize=True)
    return ()


def _environment(run: SavedRun, components: Mapping[str, str]) -> dict[str, Any]:
    """Return versions and the plugins that the agent needs, without the machine."""
    needed = [
        {**plugin, "components": names}
        for plugin in run.host.describe()
        if (names := [name for name in plugin["components"] if name in components])
    ]
    described = describe_environment(plugins=needed, threads=run.config.threads, device="cpu")
    return {key: described[key] for key in ("python", "versions", "plugins")}


# The model card -------------------------------------------------------------------------------------------------------


def model_card(folder: RunFolder, config: RunConfig, score: Score, steps: int, needed: Sequence[str]) -> str:
    """Return the text of a model card in the format of the Hugging Face Hub.

    `folder` is the shared agent, with its pictures; `needed` are distributions, each with its version.
    """
    env, agent = one_line(config.env.id), str(config.agent["name"])
    name = folder.path.resolve().name
    figures = spread(score.mean, score.std, "+/-")
    result = {
        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
        "dataset": {"type": env, "name": env},
        "metrics": [{"type": "mean_reward", "name": "mean_reward", "value": figures, "verified": False}],
    }
    metadata = {
        "library_name": "cartpole-dqn",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["reinforcement-learning", "deep-reinforcement-learning", "cartpole-dqn", agent, env, config.obs],
        "model-index": [{"name": name, "results": [result]}],
    }
    return render(
        "views/model_card.md.jinja",
        metadata="\n".join(f"{key}: {json.dumps(value)}" for key, value in metadata.items()),  # JSON is YAML
        agent=agent,
        env=env,
        obs=one_line(config.obs),
        steps=f"{steps:,}",
        recorded=(folder.path / "record.gif").exists(),
        score=score_text(score),
        seed=config.seed,
        plugins=", ".join(map(one_line, needed)),
        install=" ".join(one_line(plugin).replace(" ", "==") for plugin in needed),
        name=name,
        drawn=folder.curve.exists(),
        config=to_toml(config),
    )
