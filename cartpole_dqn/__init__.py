"""Deep Q-learning on Gymnasium environments, from pixels or state, built from wrappers and plugins.

Everything in `__all__` is public: for notebooks (`train`, `load`), for plugins (the contracts, options and hooks).
Names are imported when first used; `import cartpole_dqn` itself imports no torch and loads no plugin.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cartpole_dqn.api import Run as Run
    from cartpole_dqn.api import load as load
    from cartpole_dqn.api import train as train
    from cartpole_dqn.assembly import builtin_builder as builtin_builder
    from cartpole_dqn.assembly import builtin_collection as builtin_collection
    from cartpole_dqn.collection import Collected as Collected
    from cartpole_dqn.collection import Collector as Collector
    from cartpole_dqn.collection import CollectorContext as CollectorContext
    from cartpole_dqn.collection import Ending as Ending
    from cartpole_dqn.collection import Fragment as Fragment
    from cartpole_dqn.components.exploration import EpsilonGreedy as EpsilonGreedy
    from cartpole_dqn.components.memory import require_memory as require_memory
    from cartpole_dqn.components.ring import TransitionRing as TransitionRing
    from cartpole_dqn.errors import CartpoleDqnError as CartpoleDqnError
    from cartpole_dqn.errors import RunError as RunError
    from cartpole_dqn.errors import UserError as UserError
    from cartpole_dqn.events import Checkpoint as Checkpoint
    from cartpole_dqn.events import Episode as Episode
    from cartpole_dqn.events import Evaluating as Evaluating
    from cartpole_dqn.events import Evaluation as Evaluation
    from cartpole_dqn.events import Observer as Observer
    from cartpole_dqn.events import ObserverContext as ObserverContext
    from cartpole_dqn.events import Progress as Progress
    from cartpole_dqn.events import RunEnded as RunEnded
    from cartpole_dqn.events import RunFailed as RunFailed
    from cartpole_dqn.events import RunStarted as RunStarted
    from cartpole_dqn.hookspecs import hookimpl as hookimpl
    from cartpole_dqn.interfaces import Agent as Agent
    from cartpole_dqn.interfaces import Batch as Batch
    from cartpole_dqn.interfaces import Context as Context
    from cartpole_dqn.interfaces import Exploration as Exploration
    from cartpole_dqn.interfaces import Network as Network
    from cartpole_dqn.interfaces import Optimiser as Optimiser
    from cartpole_dqn.interfaces import Policy as Policy
    from cartpole_dqn.interfaces import ReplayBuffer as ReplayBuffer
    from cartpole_dqn.interfaces import State as State
    from cartpole_dqn.interfaces import TargetUpdate as TargetUpdate
    from cartpole_dqn.interfaces import Transition as Transition
    from cartpole_dqn.options import Part as Part
    from cartpole_dqn.options import check_options as check_options
    from cartpole_dqn.options import option as option
    from cartpole_dqn.options import options_class as options_class
    from cartpole_dqn.options import part as part
    from cartpole_dqn.registry import Registry as Registry
    from cartpole_dqn.rollout import Rollout as Rollout
    from cartpole_dqn.seeding import SeedTree as SeedTree
    from cartpole_dqn.seeding import generator_state as generator_state
    from cartpole_dqn.seeding import restore_generator as restore_generator
    from cartpole_dqn.studies.trial_launcher import TrialLauncher as TrialLauncher
    from cartpole_dqn.studies.trial_launcher import TrialProcess as TrialProcess
    from cartpole_dqn.sweep_engine import SweepEngine as SweepEngine
    from cartpole_dqn.sweep_engine import SweepEngineContext as SweepEngineContext
    from cartpole_dqn.sweep_engine import Trial as Trial
    from cartpole_dqn.sweep_engine import TrialEnd as TrialEnd

__version__ = "0.1.0"

_HOMES = {
    "api": ("Run", "load", "train"),
    "assembly": ("builtin_builder", "builtin_collection"),
    "collection": ("Collected", "Collector", "CollectorContext", "Ending", "Fragment"),
    "components.exploration": ("EpsilonGreedy",),
    "components.memory": ("require_memory",),
    "components.ring": ("TransitionRing",),
    "errors": ("CartpoleDqnError", "RunError", "UserError"),
    "hookspecs": ("hookimpl",),
    "events": (
        "Checkpoint",
        "Episode",
        "Evaluating",
        "Evaluation",
        "Observer",
        "ObserverContext",
        "Progress",
        "RunEnded",
        "RunFailed",
        "RunStarted",
    ),
    "interfaces": (
        "Agent",
        "Batch",
        "Context",
        "Exploration",
        "Network",
        "Optimiser",
        "Policy",
        "ReplayBuffer",
        "State",
        "TargetUpdate",
        "Transition",
    ),
    "options": ("Part", "check_options", "option", "options_class", "part"),
    "registry": ("Registry",),
    "rollout": ("Rollout",),
    "seeding": ("SeedTree", "generator_state", "restore_generator"),
    "studies.trial_launcher": ("TrialLauncher", "TrialProcess"),
    "sweep_engine": ("SweepEngine", "SweepEngineContext", "Trial", "TrialEnd"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'cartpole_dqn' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"cartpole_dqn.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
