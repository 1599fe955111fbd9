"""Registers the built-in components, by reference: each is imported when it is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn.plugin.registry import Registry

_COMPONENTS = {
    ("wrapper", "cartpole_dqn.wrappers"): (
        ("render", "RenderObservation", "the rendered frame, or some of its rows, as observation"),
        ("crop", "Crop", "a fixed window of rows and columns"),
        ("centered-crop", "CenteredCrop", "a window that follows what a locator finds"),
        ("resize", "Resize", "an image of another height and width, antialiased"),
        ("frame-difference", "FrameDifference", "the frame less the one some steps before it"),
        ("channel", "Channel", "one colour channel of the image"),
        ("select", "Select", "one part of a dict or tuple of observations, such as a camera's picture"),
        ("life-lost", "LifeLost", "for training: the loss of a life counts as an end for what is learned"),
        ("transform", "Transform", "any transform of torchvision.transforms.v2, by name"),
    ),
    ("wrapper", "gymnasium.wrappers"): (
        ("grayscale", "GrayscaleObservation", "the image in shades of grey"),
        ("stack", "FrameStackObservation", "the last few observations, stacked along a new first axis"),
        ("max-and-skip", "MaxAndSkipObservation", "repeats each action; maximum of the last two frames"),
        ("clip-reward", "ClipReward", "rewards cut to a range; what is reported stays"),
        ("flatten", "FlattenObservation", "the observation as one vector"),
    ),
    ("replay", "cartpole_dqn.components.replay.uniform"): (
        ("uniform", "UniformReplay", "draws stored transitions with equal chances"),
    ),
    ("replay", "cartpole_dqn.components.replay.first_kept"): (
        ("first-kept", "FirstKeptReplay", "uniform, but a share of its slots keeps the first transitions for good"),
    ),
    ("network", "cartpole_dqn.components.networks"): (
        (
            "tutorial-conv",
            "TutorialConv",
            "three 5x5 convolutions of stride 2 with BatchNorm, then a linear head, as in the PyTorch tutorial",
        ),
        ("conv", "Conv", "convolutions, then a hidden layer and a linear head"),
        ("mlp", "Mlp", "fully connected layers for vector observations"),
    ),
    ("target-update", "cartpole_dqn.components.target_updates"): (
        ("hard", "HardTargetUpdate", "copies the online weights every so many updates or episodes"),
        ("soft", "SoftTargetUpdate", "moves a share tau towards the online weights after each update"),
    ),
    ("exploration", "cartpole_dqn.components.exploration"): (
        ("exponential", "ExponentialEpsilon", "epsilon-greedy, epsilon decaying exponentially with the step"),
        ("linear", "LinearEpsilon", "epsilon-greedy, epsilon falling linearly and then constant"),
        ("persistent", "PersistentEpsilon", "epsilon-greedy, a random action kept for some steps"),
    ),
    ("optimiser", "cartpole_dqn.components.optimisers"): (
        ("rmsprop", "RmsProp", "RMSprop: steps scaled by a running mean square"),
        ("adam", "Adam", "Adam: momentum and steps scaled by a running mean square"),
        ("adamw", "AdamW", "Adam with decoupled weight decay"),
    ),
    ("agent", "cartpole_dqn.agents.dqn"): (
        ("dqn", "DqnAgent", "deep Q-learning with a target network, Double as an option"),
    ),
    ("observer", "cartpole_dqn.observers.display.display"): (
        ("display", "Display", "a live panel in the terminal, or plain lines"),
    ),
    ("observer", "cartpole_dqn.observers.notebook"): (
        ("notebook", "Notebook", "the same below a notebook's cell, drawn over and over"),
    ),
    ("observer", "cartpole_dqn.observers.metrics"): (
        ("metrics", "Metrics", "metrics.csv and metrics.jsonl in the run folder"),
    ),
    ("collector", "cartpole_dqn.envs.lanes"): (
        ("lockstep", "Lockstep", "steps all environments together, in the run's own process"),
    ),
    ("sweep-engine", "cartpole_dqn.studies.local_engine"): (
        ("local", "LocalEngine", "trials on this machine, a process each"),
    ),
}
"""(kind, module) -> (name, class, summary)."""

_PRESETS = (
    "tutorial-pixels", "tutorial-state", "tutorial-state-v0", "pixels", "state", "acrobot-pixels", "atari", "atari-ram",
    "acrobot", "lunar-lander", "any-pixels", "any-state",
)  # fmt: skip


@hookimpl
def register_components(registry: Registry) -> None:
    """Register every built-in component."""
    for (kind, module), entries in _COMPONENTS.items():
        for name, cls, summary in entries:
            registry.add(kind, name, f"{module}:{cls}", summary)
    for name in _PRESETS:
        registry.add("preset", name, f"cartpole_dqn:config/presets/{name}.toml")
