"""The built-in components, registered through the hook that third parties have.

References only: nothing is imported here before a component is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cartpole_dqn.plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from cartpole_dqn.plugin.registry import Registry

_WRAPPERS = (
    ("render", "cartpole_dqn.wrappers:RenderObservation", "the rendered frame, or some of its rows, as observation"),
    ("crop", "cartpole_dqn.wrappers:Crop", "a fixed window of rows and columns"),
    ("centered-crop", "cartpole_dqn.wrappers:CenteredCrop", "a window that follows what a locator finds"),
    ("resize", "cartpole_dqn.wrappers:Resize", "an image of another height and width, antialiased"),
    ("frame-difference", "cartpole_dqn.wrappers:FrameDifference", "the frame less the one some steps before it"),
    ("channel", "cartpole_dqn.wrappers:Channel", "one colour channel of the image"),
    ("transform", "cartpole_dqn.wrappers:Transform", "any transform of torchvision.transforms.v2, by name"),
    ("grayscale", "gymnasium.wrappers:GrayscaleObservation", "the image in shades of grey"),
    ("stack", "gymnasium.wrappers:FrameStackObservation", "the last few observations, stacked along a new first axis"),
    ("max-and-skip", "gymnasium.wrappers:MaxAndSkipObservation", "repeats each action; maximum of the last two frames"),
    ("flatten", "gymnasium.wrappers:FlattenObservation", "the observation as one vector"),
)

_REPLAYS = (
    ("uniform", "cartpole_dqn.components.replay.uniform:UniformReplay", "draws stored transitions with equal chances"),
    (
        "first-kept",
        "cartpole_dqn.components.replay.first_kept:FirstKeptReplay",
        "uniform, but a share of its slots keeps the first transitions for good",
    ),
)

_NETWORKS = (
    (
        "tutorial-conv",
        "cartpole_dqn.components.networks:TutorialConv",
        "three 5x5 convolutions of stride 2 with BatchNorm, then a linear head, as in the PyTorch tutorial",
    ),
    ("conv", "cartpole_dqn.components.networks:Conv", "convolutions, then a hidden layer and a linear head"),
    ("mlp", "cartpole_dqn.components.networks:Mlp", "fully connected layers for vector observations"),
)

_TARGET_UPDATES = (
    (
        "hard",
        "cartpole_dqn.components.target_updates:HardTargetUpdate",
        "copies the online weights every so many updates or episodes",
    ),
    (
        "soft",
        "cartpole_dqn.components.target_updates:SoftTargetUpdate",
        "moves a share tau towards the online weights after each update",
    ),
)

_EXPLORATIONS = (
    (
        "exponential",
        "cartpole_dqn.components.exploration:ExponentialEpsilon",
        "epsilon-greedy, epsilon decaying exponentially with the step",
    ),
    (
        "linear",
        "cartpole_dqn.components.exploration:LinearEpsilon",
        "epsilon-greedy, epsilon falling linearly and then constant",
    ),
    (
        "persistent",
        "cartpole_dqn.components.exploration:PersistentEpsilon",
        "epsilon-greedy, a random action kept for some steps",
    ),
)

_OPTIMISERS = (
    ("rmsprop", "cartpole_dqn.components.optimisers:RmsProp", "RMSprop: steps scaled by a running mean square"),
    ("adam", "cartpole_dqn.components.optimisers:Adam", "Adam: momentum and steps scaled by a running mean square"),
    ("adamw", "cartpole_dqn.components.optimisers:AdamW", "Adam with decoupled weight decay"),
)

_AGENTS = (("dqn", "cartpole_dqn.agents.dqn:DqnAgent", "deep Q-learning with a target network, Double as an option"),)

_OBSERVERS = (
    ("display", "cartpole_dqn.observers.display.display:Display", "a live panel in the terminal, or plain lines"),
    ("notebook", "cartpole_dqn.observers.notebook:Notebook", "the same below a notebook's cell, drawn over and over"),
    ("metrics", "cartpole_dqn.observers.metrics:Metrics", "metrics.csv and metrics.jsonl in the run folder"),
)

_SWEEP_ENGINES = (("local", "cartpole_dqn.studies.local_engine:LocalEngine", "trials on this machine, a process each"),)

_COLLECTORS = (
    ("lockstep", "cartpole_dqn.envs.lanes:Lockstep", "steps all environments together, in the run's own process"),
)

_PRESETS = (
    ("tutorial-pixels", "the PyTorch DQN tutorial from the screen, every hyperparameter as written there"),
    ("tutorial-state", "the PyTorch DQN tutorial from the state on CartPole-v1, with a soft target"),
    ("tutorial-state-v0", "the PyTorch DQN tutorial from the state on CartPole-v0 without its time limit"),
    ("pixels", "CartPole from the screen: one window around the cart now, over the frame and its difference"),
    ("state", "CartPole from its four numbers"),
    ("acrobot-pixels", "Acrobot from the screen: 60 x 60 pixels of one channel, and what changed since the last step"),
    ("atari", "Atari games from the screen: four grey frames of 84 x 84, every fourth one seen"),
    ("atari-ram", "Atari games from their memory: 128 bytes"),
    ("acrobot", "Acrobot from its six numbers"),
    ("lunar-lander", "LunarLander from its eight numbers"),
    ("any-pixels", "a start for any environment that renders: four grey frames of 84 x 84"),
    ("any-state", "a start for any environment with discrete actions, as it gives its observations"),
)

_CLASSES = {
    "wrapper": _WRAPPERS,
    "replay": _REPLAYS,
    "network": _NETWORKS,
    "target-update": _TARGET_UPDATES,
    "exploration": _EXPLORATIONS,
    "optimiser": _OPTIMISERS,
    "agent": _AGENTS,
    "observer": _OBSERVERS,
    "collector": _COLLECTORS,
    "sweep-engine": _SWEEP_ENGINES,
}


@hookimpl
def register_components(registry: Registry) -> None:
    """Add every built-in component."""
    for kind, entries in _CLASSES.items():
        for name, target, summary in entries:
            registry.add(kind, name, target, summary)
    for name, summary in _PRESETS:
        registry.add("preset", name, f"cartpole_dqn:config/presets/{name}.toml", summary)
