"""Deep Q-learning on Gymnasium environments, from pixels or state, built from wrappers and plugins.

`__all__` is the public interface, for scripts (`train`, `load`) and for plugins (contracts, options and hooks).
Names are imported when they are first used: `import cartpole_dqn` imports no torch and loads no plugins.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cartpole_dqn.agents.dqn import DqnAgent as DqnAgent
    from cartpole_dqn.agents.dqn import DqnOptions as DqnOptions
    from cartpole_dqn.agents.greedy import GreedyPolicy as GreedyPolicy
    from cartpole_dqn.api import Run as Run
    from cartpole_dqn.api import Study as Study
    from cartpole_dqn.api import compare as compare
    from cartpole_dqn.api import load as load
    from cartpole_dqn.api import sweep as sweep
    from cartpole_dqn.api import train as train
    from cartpole_dqn.components.exploration import EpsilonGreedy as EpsilonGreedy
    from cartpole_dqn.components.networks import channels_first as channels_first
    from cartpole_dqn.components.networks import image_size as image_size
    from cartpole_dqn.components.replay.ring import TransitionRing as TransitionRing
    from cartpole_dqn.components.replay.ring_replay import RingReplay as RingReplay
    from cartpole_dqn.contracts.collector import Collected as Collected
    from cartpole_dqn.contracts.collector import Collector as Collector
    from cartpole_dqn.contracts.collector import CollectorContext as CollectorContext
    from cartpole_dqn.contracts.collector import Ending as Ending
    from cartpole_dqn.contracts.collector import Fragment as Fragment
    from cartpole_dqn.contracts.events import Checkpoint as Checkpoint
    from cartpole_dqn.contracts.events import Episode as Episode
    from cartpole_dqn.contracts.events import Evaluating as Evaluating
    from cartpole_dqn.contracts.events import Evaluation as Evaluation
    from cartpole_dqn.contracts.events import Glimpse as Glimpse
    from cartpole_dqn.contracts.events import Observer as Observer
    from cartpole_dqn.contracts.events import ObserverContext as ObserverContext
    from cartpole_dqn.contracts.events import Progress as Progress
    from cartpole_dqn.contracts.events import RunEnded as RunEnded
    from cartpole_dqn.contracts.events import RunFailed as RunFailed
    from cartpole_dqn.contracts.events import RunStarted as RunStarted
    from cartpole_dqn.contracts.options import Part as Part
    from cartpole_dqn.contracts.options import check_options as check_options
    from cartpole_dqn.contracts.options import option as option
    from cartpole_dqn.contracts.options import options_class as options_class
    from cartpole_dqn.contracts.options import part as part
    from cartpole_dqn.contracts.parts import Agent as Agent
    from cartpole_dqn.contracts.parts import Batch as Batch
    from cartpole_dqn.contracts.parts import Context as Context
    from cartpole_dqn.contracts.parts import Exploration as Exploration
    from cartpole_dqn.contracts.parts import Network as Network
    from cartpole_dqn.contracts.parts import Optimiser as Optimiser
    from cartpole_dqn.contracts.parts import Policy as Policy
    from cartpole_dqn.contracts.parts import ReplayBuffer as ReplayBuffer
    from cartpole_dqn.contracts.parts import State as State
    from cartpole_dqn.contracts.parts import TargetUpdate as TargetUpdate
    from cartpole_dqn.contracts.parts import Transition as Transition
    from cartpole_dqn.contracts.seeding import SeedTree as SeedTree
    from cartpole_dqn.contracts.seeding import generator_state as generator_state
    from cartpole_dqn.contracts.seeding import restore_generator as restore_generator
    from cartpole_dqn.contracts.sweep_engine import SweepEngine as SweepEngine
    from cartpole_dqn.contracts.sweep_engine import SweepEngineContext as SweepEngineContext
    from cartpole_dqn.contracts.sweep_engine import Trial as Trial
    from cartpole_dqn.contracts.sweep_engine import TrialEnd as TrialEnd
    from cartpole_dqn.contracts.weights import frozen_copy as frozen_copy
    from cartpole_dqn.contracts.weights import load_weights as load_weights
    from cartpole_dqn.errors import CartpoleDqnError as CartpoleDqnError
    from cartpole_dqn.errors import DivergedError as DivergedError
    from cartpole_dqn.errors import RunError as RunError
    from cartpole_dqn.errors import UserError as UserError
    from cartpole_dqn.files import replace_file as replace_file
    from cartpole_dqn.observers.points import Point as Point
    from cartpole_dqn.observers.points import PointObserver as PointObserver
    from cartpole_dqn.observers.remote import RemoteObserver as RemoteObserver
    from cartpole_dqn.observers.remote import RemoteOptions as RemoteOptions
    from cartpole_dqn.observers.remote_process import PointRow as PointRow
    from cartpole_dqn.observers.remote_process import RemoteRecord as RemoteRecord
    from cartpole_dqn.plugin.hookspecs import hookimpl as hookimpl
    from cartpole_dqn.plugin.registry import Registry as Registry
    from cartpole_dqn.studies.trial_process import TrialProcess as TrialProcess
    from cartpole_dqn.system import require_memory as require_memory
    from cartpole_dqn.system import usable_cores as usable_cores
    from cartpole_dqn.training.assembly import builtin_builder as builtin_builder
    from cartpole_dqn.training.assembly import builtin_collection as builtin_collection
    from cartpole_dqn.training.rollout import Rollout as Rollout

from cartpole_dqn.system import __version__ as __version__


def _homes() -> dict[str, str]:
    """Return the module of each public name, from the imports above."""
    source = pkgutil.get_data(__name__, "__init__.py")
    assert source is not None
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_HOME_OF = _homes()

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'cartpole_dqn' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
