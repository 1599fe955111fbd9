"""What each choice of a default is worth: take one away, keep all others, train the same seeds.

* `Choice`: one choice, what stands in its place, and the settings that put it there.
* `CHOICES`: those of the defaults from pixels and from the state.
* `run_ablation`: trains the default and every choice's absence, each over the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cartpole_dqn.studies.learning import Trial, run_seeds

EPISODES = 20
"""Report episodes of each model: an ablation has many models."""


@dataclass(frozen=True)
class Choice:
    """A choice and its absence."""

    name: str
    """What is taken away; also the folder's name."""
    instead: str
    """What stands in its place, in words."""
    settings: tuple[str, ...]
    """`--set` arguments that put it there."""


DEFAULT = Choice("default", "nothing is taken away", ())

_CROP_FIRST = (
    "observation=[{wrapper='render', rows=[160, 320]}, {wrapper='channel', channel=1}, "
    "{wrapper='centered-crop', width=320, locator='cart', edges='pad', snap='nearest'}, "
    "{wrapper='resize', height=40, interpolation='bilinear'}, "
    "{wrapper='frame-difference', gap=4, keep_current=true, encoding='uint8'}]"
)
_ONE_CHANNEL = (
    "observation.frame-difference.keep_current=false",
    "agent.network.zero=[128]",
    "agent.network.spread=[127.5]",
)
_HARD = "agent.target_update={name='hard', every=100, unit='updates'}"

CHOICES: Mapping[str, tuple[Choice, ...]] = {
    "pixels": (
        Choice("one-window", "each frame is cropped at its own cart, before the difference", (_CROP_FIRST,)),
        Choice("current-frame", "the difference alone", _ONE_CHANNEL),
        Choice("gap-4", "the difference with the frame three steps earlier", ("observation.frame-difference.gap=3",)),
        Choice("pad", "the window stops at the screen's edges", ("observation.centered-crop.edges='clamp'",)),
        Choice("snap", "the window is around the pixel of the cart", ("observation.centered-crop.snap='down'",)),
        Choice("mirror", "nothing is learned in a mirror", ("agent.mirror=false",)),
        Choice("far-sight", "a discount of 0.99", ("agent.gamma=0.99",)),
        Choice("averaged-policy", "the online network is evaluated and kept", ("agent.policy='online'",)),
        Choice("double", "the target network chooses and values", ("agent.double=false",)),
        Choice("n-step", "one-step returns", ("agent.n_step=1",)),
        Choice("soft-target", "the target is copied every 100 updates", (_HARD, "agent.policy='online'")),
        Choice("every-step", "an update at every second step", ("agent.train_every=2",)),
    ),
    "native": (
        Choice("averaged-policy", "the online network is evaluated and kept", ("agent.policy='online'",)),
        Choice("double", "the target network chooses and values", ("agent.double=false",)),
        Choice("n-step", "one-step returns", ("agent.n_step=1",)),
        Choice("soft-target", "the target is copied every 100 updates", (_HARD, "agent.policy='online'")),
        Choice("lr-decay", "the learning rate stays at 1e-3", ("agent.optimiser.final_lr=1e-3",)),
        Choice("layer-norm", "no layer normalisation", ("agent.network.norm='none'",)),
    ),
}
"""By what is observed."""


def run_ablation(
    obs: str,
    seeds: Sequence[int],
    out: Path,
    *,
    choices: Sequence[Choice],
    steps: int | None = None,
    jobs: int = 1,
    said: Callable[[str], None] = lambda text: None,
) -> dict[str, list[Trial]]:
    """Train each choice's absence over `seeds`; goes on where it was stopped.

    Args:
        obs: "pixels" or "native".
        seeds: the runs' seeds, the same for all.
        out: a folder with one inside for each choice.
        choices: which to take away; `DEFAULT` takes away none.
        steps: environment steps of each run; by default the preset's.
        jobs: processes side by side.
        said: hears of each run as it starts and ends.

    Returns:
        The trials by the choice's name.

    Raises:
        RunError: a run failed.
        UserError: the folder holds runs with other settings.
    """
    results = {}
    for choice in choices:
        arguments = ["--obs", obs, *([] if steps is None else ["--steps", str(steps)])]
        arguments += [part for setting in choice.settings for part in ("--set", setting)]
        results[choice.name] = run_seeds(
            arguments,
            seeds,
            out / choice.name,
            jobs=jobs,
            episodes=EPISODES,
            said=lambda text, name=choice.name: said(f"{name}: {text}"),  # type: ignore[misc]
        )
    return results
