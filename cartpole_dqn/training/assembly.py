"""Build a run from its configuration and the registry.

* `assemble`: the runner with everything it needs. `make_agent`, `make_policy`, `make_collector`: parts of it.
* `builtin_builder`, `builtin_collection`: built-in parts, for the tests of plugins.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from cartpole_dqn.config.schema import RunConfig, Table, check_part, to_toml
from cartpole_dqn.contracts.collector import Collector, CollectorContext
from cartpole_dqn.contracts.events import Checkpoint, Evaluation, Glimpse, Observer, ObserverContext, as_observer_class
from cartpole_dqn.contracts.options import Part, changed, describe_options
from cartpole_dqn.contracts.parts import (
    Agent,
    Build,
    Context,
    Exploration,
    Network,
    Optimiser,
    Policy,
    ReplayBuffer,
    State,
    TargetUpdate,
    Transition,
)
from cartpole_dqn.contracts.returned import misspelled, output_fault
from cartpole_dqn.contracts.seeding import SeedTree, Stream, seeded_torch
from cartpole_dqn.contracts.weights import frozen_copy
from cartpole_dqn.envs.chain import frame_stack
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.ids import find_spec
from cartpole_dqn.envs.names import action_names
from cartpole_dqn.envs.stages import stage_of
from cartpole_dqn.envs.statistics import Following, Statistics
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, Notice, UnsuitableEnvError, UserError, error_line
from cartpole_dqn.observers.notebook import in_kernel
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.plugin.registry import Component, Registry
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import keep_progress, write_best, write_checkpoint
from cartpole_dqn.system import available_bytes, keep_freed_memory, require_memory
from cartpole_dqn.text.tables import print_warning
from cartpole_dqn.training.evaluator import Evaluator
from cartpole_dqn.training.observer_group import ObserverGroup
from cartpole_dqn.training.resolve import components_of, resolve_config
from cartpole_dqn.training.rounds import Helper, free_processes
from cartpole_dqn.training.runner import Hooks, Runner

# Parts ----------------------------------------------------------------------------------------------------------------


def make_builder(host: PluginHost) -> Build:
    """Return the function behind `Context.build`: checks the options, seeds torch and builds the part."""

    def build(kind: str, table: Mapping[str, Any], context: Context) -> Any:
        where = f"{kind} '{table.get('name')}'"
        # This may import the class, so it comes before the seed.
        part = check_part(kind, table, host.registry.options, where=where)
        with seeded_torch(context.seeds.integer("init")):
            instance = _build_part(host, kind, part, dataclasses.replace(context, builder=build))
            if kind == "network":
                _require_action_values(host.registry.component(kind, part["name"]), instance, context)
            return instance

    return build


def builtin_builder() -> Build:
    """Return a `Context.builder` that builds only built-in parts, for tests of agents."""
    return make_builder(load_plugins(allowed=()))


def make_agent(
    config: RunConfig,
    host: PluginHost,
    observation_space: Any,
    action_space: Any,
    make_env: Callable[[], gymnasium.Env[Any, Any]] | None = None,
) -> Agent:
    """Return the configured agent, untrained. With `make_env` its parts may look at the environment.

    Raises:
        UserError: a part does not fit the spaces, or its replays do not fit into memory.
    """
    if not isinstance(observation_space, spaces.Box) or not isinstance(action_space, spaces.Discrete):
        raise UnsuitableEnvError(f"an agent needs Box observations and Discrete actions, got {observation_space}.")
    context = Context(
        observation_space=observation_space,
        action_space=action_space,
        num_envs=config.env.num_envs,
        device=choose_device(config.device),
        seeds=SeedTree(config.seed).child("agent"),
        frame_stack=frame_stack(config.observation, host.registry, observation_space),
        make_env=make_env,
    )
    # Measured before: memory that a replay only reserves still looks free, so two could pass that do not fit together.
    available = available_bytes()
    agent: Agent = make_builder(host)("agent", config.agent, context)
    require_memory(
        agent.nbytes,
        who=f"agent {config.agent['name']}, with all its replays,",
        mend="Set smaller capacities, or make observations smaller (uint8, fewer pixels).",
        available=available,
    )
    return agent


def check_agent(config: RunConfig, host: PluginHost) -> str:
    """Build a run's environment and agent, and return a warning as `check_learning` does. Raises `UserError`."""
    factory = make_factory(config, host)
    env = factory.make()
    env.close()
    agent = make_agent(config, host, env.observation_space, env.action_space, factory.make)
    return check_learning(agent, config)


def check_learning(agent: Agent, config: RunConfig) -> str:
    """Return a warning if the run ends before its agent learns, else "". Raises `UserError` if it can never learn."""
    first = agent.steps_before_learning()
    if config.steps is None or config.steps >= first:
        return ""
    return (
        f"no update will be made: agent {config.agent['name']} begins to learn at step {first:,} or later, and the run "
        f"ends at step {config.steps:,}. To learn, give more --steps, or let the agent begin earlier "
        f"(agent.learning_starts, for most)."
    )


def make_collector(config: RunConfig, host: PluginHost, factory: EnvFactory, context: CollectorContext) -> Collector:
    """Return the configured collector. It may have open environments or processes: close it.

    Raises:
        UserError: it does not fit the configuration, or the agent needs a lockstep collector.
    """
    name, agent = config.collector["name"], config.agent["name"]
    cls = host.registry.load("collector", name)
    if getattr(host.registry.load("agent", agent), "needs_lockstep", False) and not getattr(cls, "lockstep", False):
        raise UserError(
            f"agent {agent} must choose every action itself, and collector {name} lets copies of its policy act: use "
            f"--collector lockstep, or another agent."
        )
    if not getattr(cls, "lockstep", False):
        factory.require_no_statistics(name)
    collector: Collector = _build_part(host, "collector", config.collector, context)
    return collector


def _collector_context(
    config: RunConfig, factory: EnvFactory, clock: Callable[[], float], warn: Callable[[str], None]
) -> CollectorContext:
    return CollectorContext(
        config=to_toml(config),
        num_envs=config.env.num_envs,
        make_env=factory.make,
        make_envs=factory.make_vector,
        seed=config.seed,
        clock=clock,
        warn=warn,
    )


def builtin_collection(
    num_envs: int = 2, seed: int = 0, warn: Callable[[str], None] = lambda text: None
) -> tuple[CollectorContext, Agent]:
    """Return a context and an agent for tests of collectors.

    The environment is CartPole from state, with at most 40 steps an episode. The agent has a small network.
    """
    host = load_plugins(allowed=())
    flags: Table = {
        "obs": "state",
        "seed": seed,
        "env": {"num_envs": num_envs, "time_limit": 40},
        "agent": {
            "learning_starts": 50,
            "batch_size": 8,
            "train_every": 4,
            "network": {"hidden": [8]},
            "replay": {"capacity": 2_000},
        },
    }
    config, _ = resolve_config(host, preset="state", flags=flags)
    factory = EnvFactory(config, host)
    env = factory.make()
    env.close()
    context = _collector_context(config, factory, time.monotonic, warn)
    return context, make_agent(config, host, env.observation_space, env.action_space, factory.make)


def choose_device(name: str) -> torch.device:
    """Return the device for `--device`. Raises `UserError` if there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device on this machine; use --device cpu or auto.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def make_policy(config: RunConfig, host: PluginHost, factory: EnvFactory | None = None) -> tuple[Policy, EnvFactory]:
    """Return an untrained policy of the configured agent, and its environment factory, by default a new one."""
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    factory = factory or EnvFactory(config, host)
    env = factory.make(evaluating=True)
    env.close()
    # A policy needs one lane, and no replay: make them small.
    agent = dict(config.agent)
    for name in _replays(config, host):
        agent[name] = {**agent[name], "capacity": 1_000}
    small = changed(config, agent=agent, env=changed(config.env, num_envs=1))
    policy = make_agent(small, host, env.observation_space, env.action_space).policy()
    if env.running or factory.skips:
        policy = Following(policy, factory.statistics, needed=bool(env.running))
    return policy, factory


def make_factory(config: RunConfig, host: PluginHost) -> EnvFactory:
    """Return the environment factory of a run, which refuses observations that do not fit into its replays."""
    slots = sum(config.agent[name]["capacity"] for name in _replays(config, host))
    return EnvFactory(config, host, slots=slots)


def _replays(config: RunConfig, host: PluginHost) -> list[str]:
    """Return the agent's options that are replays with a capacity."""
    declared = describe_options(host.registry.options("agent", config.agent["name"]))
    return [info.name for info in declared if info.part == "replay" and "capacity" in config.agent.get(info.name, {})]


def make_helpers(config: RunConfig, host: PluginHost, factory: EnvFactory, make: Callable[[], Policy]) -> list[Helper]:
    """Start processes that help an `Evaluator`, as many as there are free cores. They load weights into `make()`."""
    if not getattr(host.registry.load("collector", config.collector["name"]), "lockstep", False):
        return []  # Its processes have the cores, and its connections may not survive a fork.
    free = free_processes(config.threads, choose_device(config.device).type)
    return [Helper(make, factory.make_evaluation_vector) for _ in range(free)]


def _build_part(host: PluginHost, kind: str, part: Part, context: Any) -> Any:
    """Build a checked part. An error in its constructor names its distribution."""
    component = host.registry.component(kind, part["name"])
    cls = component.load()
    if kind == "observer":
        cls = as_observer_class(cls)
    if isinstance(cls, type):
        _require_base(kind, component, cls)
    try:
        instance = cls(part.options, context)
    except CartpoleDqnError:
        raise
    except (Exception, SystemExit) as error:
        problem = _unlike_the_contract(cls, part.options, context) or error_line(error)
        raise UserError(f"{kind} '{component.name}' of {component.owner} could not be built: {problem}") from error
    _require_base(kind, component, type(instance))
    for name, meant in misspelled(type(instance), _BASES[kind]):
        warnings.warn(
            Notice(
                f"{kind} '{component.name}' of {component.owner} has a method {name}, which a run never calls. "
                f"Did you mean {meant}? If it is only for yourself, let its name begin with an underscore."
            ),
            stacklevel=2,
        )
    return instance


def _unlike_the_contract(cls: Callable[..., Any], *arguments: Any) -> str:
    """Return a sentence if a constructor does not take the options and the context, else ""."""
    try:
        signature = inspect.signature(cls)
    except ValueError:
        return ""
    try:
        signature.bind(*arguments)
    except TypeError:
        return f"its constructor must take (options, context), and takes {signature}."
    return ""


def _require_action_values(component: Component, network: Network, context: Context) -> None:
    """Raise a `UserError` if a copy of a network does not turn one observation into a value for each action.

    Otherwise the run would fail at its first greedy action or update, with an error about tensors.
    """
    space: Any = context.observation_space
    obs = torch.from_numpy(np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)[None])
    try:
        probe = frozen_copy(network).to(context.device)
        with torch.no_grad():
            probe.resample_noise(torch.Generator().manual_seed(0))
            problem = output_fault(probe, obs.to(context.device), int(context.action_space.n))
    except CartpoleDqnError:
        raise
    except (Exception, SystemExit) as error:
        problem = error_line(error)
    if problem:
        described = f"an observation {space.dtype} {list(space.shape)}"
        raise UserError(f"network '{component.name}' of {component.owner} fails for {described}: {problem}")


def _require_base(kind: str, component: Component, cls: type) -> None:
    if not issubclass(cls, _BASES[kind]):
        raise UserError(
            f"{kind} '{component.name}' of {component.owner} is a {cls.__name__}: expected a subclass of "
            f"cartpole_dqn.{_BASES[kind].__name__}."
        )


_BASES: dict[str, type] = {
    "agent": Agent,
    "replay": ReplayBuffer,
    "network": Network,
    "target-update": TargetUpdate,
    "exploration": Exploration,
    "optimiser": Optimiser,
    "collector": Collector,
    "observer": Observer,
}
"""The base class of each kind."""


# A run ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assembly:
    """A run ready to start."""

    runner: Runner
    evaluator: Evaluator
    agent: Agent
    collector: Collector
    statistics: Statistics

    def close(self) -> None:
        """Close all environments and processes."""
        self.runner.close(at_once=True)
        self.evaluator.close()


def assemble(
    config: RunConfig,
    host: PluginHost,
    *,
    folder: RunFolder | None,
    console: Any,
    clock: Callable[[], float],
    plain: bool = False,
) -> Assembly:
    """Build collector, agent, observers and runner.

    Args:
        config: complete.
        host: the loaded plugins.
        folder: where to save the run; None saves nothing.
        console: a `rich.console.Console` for the display and warnings.
        clock: seconds, monotonic.
        plain: print lines instead of a live display.
    """
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    factory = make_factory(config, host)
    warn = functools.partial(print_warning, console)
    with contextlib.ExitStack() as undo:
        # First, before there are threads, windows or connections that a fork should not share.
        helpers: list[Helper] = []
        if config.evaluation.every:
            helpers = make_helpers(config, host, factory, lambda: make_policy(config, host, factory)[0])
        for helper in helpers:
            undo.callback(helper.end)
        collector = make_collector(config, host, factory, _collector_context(config, factory, clock, warn))
        undo.callback(collector.close, at_once=True)
        if config.evaluation.every:
            factory.require_another()
        agent = make_agent(config, host, collector.observation_space, collector.action_space, factory.make)
        if note := check_learning(agent, config):
            warn(note)
        folder_path = None if folder is None else str(folder.path)
        context = ObserverContext(folder=folder_path, console=console, clock=clock, plain=plain)
        keep = (lambda error: None) if folder is None else folder.keep_traceback
        observers = ObserverGroup(make_observers(config, host, context), warn=warn, keep=keep)
        evaluator = Evaluator(
            factory.make_evaluation_vector,
            seed=config.seed,
            clock=clock,
            should_stop=lambda: bool(runner.stop_reason),
            on_progress=functools.partial(observers.tell, "evaluating"),
            helpers=helpers,
        )
        runner = Runner(
            config,
            agent=agent,
            collector=collector,
            hooks=_hooks(config, factory, evaluator, agent, folder, clock),
            observers=observers,
            clock=clock,
            solved_at=solved_at(config),
            folder=folder_path,
        )
        undo.pop_all()
    return Assembly(runner, evaluator, agent, collector, factory.statistics)


def solved_at(config: RunConfig) -> float | None:
    """Return the mean return that counts as solved; None if neither the configuration nor the environment sets one.

    Raises:
        ConfigError: there is none, but the run shall stop when it is solved.
    """
    if config.evaluation.solved_at is not None:
        return config.evaluation.solved_at
    threshold = find_spec(config.env.id).reward_threshold
    if threshold is None and config.evaluation.until_solved:
        raise ConfigError(
            f"{config.env.id} has no threshold of its own: say what counts as solved with "
            f"--set evaluation.solved_at=RETURN."
        )
    return None if threshold is None else float(threshold)


def make_observers(config: RunConfig, host: PluginHost, context: ObserverContext) -> list[tuple[str, Observer]]:
    """Return the configured observers, without those that need a folder if there is none.

    In a notebook, the display `notebook` replaces the terminal's.
    """
    observers: list[tuple[str, Observer]] = []
    names = [part["name"] for part in config.observer]
    in_notebook = not context.plain and in_kernel()
    for part in config.observer:
        name = part["name"]
        if name == "display" and in_notebook:
            if "notebook" in names:
                continue
            # It keeps the terminal's name, so that each can resume from the state of the other.
            part = check_part("observer", Part(name="notebook"), host.registry.options, where="observer")
        component = host.registry.component("observer", part["name"])
        if context.folder is None and getattr(component.load(), "needs_folder", False):
            continue
        owner = "" if component.distribution in ("cartpole-dqn", "") else f" of {component.distribution}"
        observers.append((f"{name}{owner}", _build_part(host, "observer", part, context)))
    return observers


def used_components(config: RunConfig, registry: Registry) -> dict[str, str]:
    """Return each component of a configuration with its distribution and version, or its file."""
    return {f"{c.kind}/{c.name}": c.owner for c in components_of(config, registry)}


def _hooks(
    config: RunConfig,
    factory: EnvFactory,
    evaluator: Evaluator,
    agent: Agent,
    folder: RunFolder | None,
    clock: Callable[[], float],
) -> Hooks:
    statistics = factory.statistics

    def with_statistics(policy: Policy) -> Policy:
        return Following(policy, statistics) if statistics.state_dict() else policy

    def evaluate(policy: Policy, stream: Stream, step: int) -> Evaluation | None:
        confirms = stream is Stream.CONFIRM
        episodes = config.evaluation.confirm_episodes if confirms else config.evaluation.episodes
        # With the step as the series, a resumed run plays the same episodes as an uninterrupted one.
        return evaluator.play(with_statistics(policy), episodes=episodes, stream=stream, series=step, step=step)

    glimpse = _make_glimpse(factory)
    if folder is None:
        return Hooks(evaluate=evaluate, glimpse=glimpse)

    def keep_best(policy: Policy, evaluation: Evaluation) -> None:
        state = with_statistics(policy).state_dict()
        with folder.written_in_place():
            write_best(folder, config, state, evaluation)
            keep_progress(folder, config, state, evaluation)

    def save(state: State, replay: State) -> Checkpoint:
        began = clock()
        policy = with_statistics(agent.policy()).state_dict()
        saved_replay = replay if config.checkpoint.save_replay else None
        with folder.written_in_place():
            nbytes = write_checkpoint(folder, config, state, policy, saved_replay)
        return Checkpoint(state["step"], str(folder.checkpoint), nbytes, clock() - began)

    return Hooks(evaluate=evaluate, keep_best=keep_best, save=save, glimpse=glimpse)


def _make_glimpse(factory: EnvFactory) -> Callable[[int, Transition, Policy], Glimpse]:
    """Return a function that describes a step, with the meaning that the environment gives to what is observed."""

    @functools.cache
    def env() -> gymnasium.Env[Any, Any]:
        # Below the guard, with its own numbers of actions. Not closed: that would end pygame for the run's own.
        return factory.make().env

    def glimpse(step: int, transition: Transition, policy: Policy) -> Glimpse:
        stage = stage_of(env(), np.array(transition.obs))
        policy.reset(np.ones(1, dtype=np.bool_))
        values = policy.q_values(stage.obs[None])
        return Glimpse(
            step=step,
            panels=stage.panels(),
            observed=stage.observed(),
            actions=action_names(env()),
            q_values=None if values is None else values[0],
            action=transition.action,
        )

    return glimpse
