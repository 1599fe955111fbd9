"""`RayCollector`: the collector `ray`, which has a run's lanes played by actors on a Ray cluster.

`RayCollectionOptions`: its options. After Horgan et al. 2018, "Distributed Prioritized Experience Replay".
"""

from __future__ import annotations

import math
import tomllib
from typing import Any, ClassVar

from gymnasium import spaces

from cartpole_dqn import (
    Agent,
    Collected,
    Collector,
    CollectorContext,
    RunError,
    State,
    UserError,
    option,
    options_class,
)
from cartpole_dqn_ray.collection_pace import Meter, Pace, ladder

_SLICE = 0.25
"""Seconds of waiting after which a wish to end is looked for."""


@options_class
class RayCollectionOptions:
    """Options of `RayCollector`."""

    actors: int = option(
        default=0, ge=0, le=4096, effect="processes that share the run's environments evenly; 0 for one each"
    )
    address: str = option(
        default="", effect='HOST:PORT of a Ray cluster, or "auto" for the one here; empty starts one for the run'
    )
    cpus: float = option(default=1.0, gt=0, le=64, effect="CPUs that each actor reserves", typical="0.5 to 1")
    fragment: int = option(
        default=16, ge=1, le=1024, effect="steps of each environment that an actor sends at once", typical="8 to 64"
    )
    in_flight: int = option(
        default=2, ge=1, le=16, effect="fragments that an actor may have under way or waiting to be learned from"
    )
    publish_every: int = option(
        default=25, ge=1, effect="updates after which actors get new weights", typical="10 to 400"
    )
    max_staleness: int = option(
        default=500,
        ge=0,
        effect="the most updates that acting weights lag when their steps arrive",
        typical="100 to 2500",
    )
    epsilon: float = option(default=0.4, ge=0, le=1, effect="epsilon of the first environment", typical="0.4")
    alpha: float = option(
        default=7.0, ge=0, effect="how steeply epsilon falls: the last one has epsilon^(1 + alpha)", typical="7"
    )
    patience: float = option(
        default=120.0, gt=0, effect="seconds after which an actor that does not answer is taken for lost"
    )
    store_mib: int = option(
        default=200, ge=80, effect="memory of the object store, in MiB, where a Ray is started for the run"
    )


class RayCollector(Collector):
    """N actors play the run's environments by copies of its policy, epsilon-greedily; the run itself only learns.

    Each environment i of M has an epsilon of its own, epsilon^(1 + i alpha / (M - 1)). Actors send fragments of steps,
    each observation once, with first priorities for a prioritised replay. How much is learned from a step is up to the
    agent (`train_every`, `updates`), as ever: where the learner is slower, actors wait for it.

    Weights are published through the object store. None of the steps that are learned from was made by weights that lag
    more than `max_staleness` updates: where that is near, actors wait too.

    An actor that dies, with its node or alone, is replaced: its episodes break off, and others begin. So they do in a
    run that is resumed. Two runs of one seed differ: steps come in the order in which they arrive.

    Raises:
        UserError: environments cannot be shared evenly, are to be in processes of their own, or there is no cluster.
    """

    Options: ClassVar[type] = RayCollectionOptions
    why_lost: ClassVar[str] = (
        "collector ray keeps no episodes under way: its actors begin new ones, and the run's course differs."
    )

    def __init__(self, options: RayCollectionOptions, context: CollectorContext) -> None:
        self._options = options
        self._context = context
        self._clock = context.clock
        table = tomllib.loads(context.config)
        _require_sync(table)
        actors = options.actors or context.num_envs
        each = _share(context.num_envs, actors)
        env = context.make_env()
        env.close()
        self._observation_space, self._action_space = env.observation_space, env.action_space
        agent = table["agent"]
        # A fragment has the steps that the last one held back on top: n of them.
        most = each * (options.fragment + int(agent.get("n_step", 1)))
        cost = math.ceil(most / int(agent.get("train_every", 1)) + 1) * int(agent.get("updates", 1))
        self._pace = Pace(options.max_staleness, cost)
        self._meter = Meter(context.clock)
        self._epsilons = ladder(context.num_envs, options.epsilon, options.alpha)
        self._incarnation = 0
        self._published = -1  # the updates at which the current weights were published
        self._weights: Any = None
        self._stalest = 0
        self._replaced = 0
        self._broken: list[int] = []
        self._hurried = False
        from cartpole_dqn_ray.collection_team import Team  # late: it imports Ray

        lanes = [range(i * each, (i + 1) * each) for i in range(actors)]
        self._team = Team(options, context, lanes, self._epsilons)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """See `Collector`."""
        return self._observation_space

    @property
    def action_space(self) -> spaces.Space[Any]:
        """See `Collector`."""
        return self._action_space

    def start(self) -> None:
        """See `Collector`. The actors start; they play once there are weights."""
        self._team.start(self._incarnation)

    def collect(self, agent: Agent) -> Collected:
        """Return what one actor sent: some steps of each of its lanes.

        Raises:
            RunError: an environment failed, no actor can be had, or the agent does not count its updates.
        """
        team, updates = self._team, _updates_of(agent)
        if self._published < 0:
            self._meter.begin(updates)
        while not self._hurried:
            self._bury(team.greet())
            self._ask(agent, updates)
            chosen = self._pace.choose(team.ready(), updates)
            if chosen is None:
                began = self._clock()
                team.wait(_SLICE)
                self._meter.add(idle=self._clock() - began)
                self._bury(team.overdue())
                continue
            answer = team.take(chosen)
            if answer is None:
                self._bury([team.owner(chosen)])
                continue
            staleness = self._pace.take(chosen, updates)
            self._stalest = max(self._stalest, staleness)
            transitions = [step for fragment in answer.fragments for step in fragment.transitions()]
            endings = [ending for fragment in answer.fragments for ending in fragment.endings]
            self._meter.add(
                steps=len(transitions),
                bytes=sum(fragment.nbytes for fragment in answer.fragments),
                busy=answer.seconds,
                staleness=staleness,
                fragments=1,
            )
            if transitions:
                return Collected(transitions, endings, self._hand_over_broken(), self._figures(updates))
        return Collected(broken=self._hand_over_broken(), figures=self._figures(updates))

    def _ask(self, agent: Agent, updates: int) -> None:
        """Ask each actor for as many fragments as it may have under way, with new weights where they are due."""
        for actor in self._team.idle(self._options.in_flight):
            due = self._published < 0 or updates - self._published >= self._options.publish_every
            if due or not self._pace.may_ask(updates, self._published):
                if updates != self._published and self._pace.may_ask(updates, updates):
                    self._weights, self._published = self._team.publish(agent.policy().state_dict()), updates
                elif not self._pace.may_ask(updates, self._published):
                    return
            self._pace.ask(self._team.ask(actor, self._weights, self._published), self._published)

    def _bury(self, dead: list[int]) -> None:
        """Replace actors that are gone: their lanes break, and what they had under way never comes."""
        for actor in dead:
            self._incarnation += 1
            self._replaced += 1
            for fragment in self._team.replace(actor, self._incarnation):
                self._pace.drop(fragment)
            self._broken += self._team.lanes(actor)

    def _hand_over_broken(self) -> list[int]:
        broken, self._broken = sorted(set(self._broken)), []
        return broken

    def _figures(self, updates: int) -> dict[str, float | str]:
        return {
            "epsilon": sum(self._epsilons) / len(self._epsilons),
            "actors": self._team.playing,
            "actors_replaced": self._replaced,
            "staleness_max": self._stalest,
            **self._meter.figures(updates, self._team.playing),
        }

    def state_dict(self) -> State:
        """See `Collector`: episodes under way are not in it."""
        return {"lanes": self._context.num_envs, "incarnation": self._incarnation, "staleness_max": self._stalest}

    def load_state_dict(self, state: State) -> list[int]:
        """See `Collector`: every episode under way is lost."""
        if "incarnation" not in state or int(state["lanes"]) != self._context.num_envs:
            raise ValueError(f"the state is no {self._context.num_envs} lanes' of collector ray.")
        self._incarnation = int(state["incarnation"]) + 1
        self._stalest = int(state["staleness_max"])
        self.start()
        return list(range(self._context.num_envs))

    def hurry(self) -> None:
        """See `Collector`: what is under way is not waited for."""
        self._hurried = True

    def close(self, *, at_once: bool = False) -> None:
        """See `Collector`: actors are killed, and a Ray that was started for the run ends."""
        self._weights = None
        self._team.close()


def _updates_of(agent: Agent) -> int:
    updates = agent.status().get("updates")
    if not isinstance(updates, int | float):
        raise RunError(
            f"collector ray counts by updates how old weights are, and agent {type(agent).__name__} tells none: its "
            f'status() needs "updates".'
        )
    return int(updates)


def _share(num_envs: int, actors: int) -> int:
    if num_envs % actors:
        raise UserError(
            f"collector ray: {actors} actors cannot share {num_envs} environments evenly: use --num-envs "
            f"{max(1, round(num_envs / actors)) * actors}, or another collector.actors."
        )
    return num_envs // actors


def _require_sync(table: dict[str, Any]) -> None:
    if table["env"]["vector"] != "sync":
        raise UserError(
            'collector ray: env.vector = "async" is for the run\'s own machine, and here actors are processes '
            "already: use --vector sync."
        )
