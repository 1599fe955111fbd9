"""`Team`: the actors of a run, each with some of its lanes, and what was asked of them.

A fragment that was asked for goes by Ray's reference to it.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cartpole_dqn import CartpoleDqnError, CollectorContext, RunError, State, UserError
from cartpole_dqn_ray.collection_actor import Answer, Greeting, Player, portable
from cartpole_dqn_ray.connection import Connection, ray
from cartpole_dqn_ray.versions import differences, mismatch, versions_here

if TYPE_CHECKING:
    from cartpole_dqn_ray.collection import RayCollectionOptions

_IN_VAIN = 3
"""Deaths of one actor in a row, without a fragment between them, after which the run gives up."""
_REACH_SECONDS = 30.0
"""How long an object that is ready may take to be brought here."""


@dataclass
class _Actor:
    lanes: range
    handle: Any = None
    greeting: Any = None
    """A reference to what it says of itself; None once it has said it."""
    asked: deque[Any] = field(default_factory=deque)
    """Its fragments that were not taken, oldest first."""
    since: float = 0.0
    """When its oldest fragment, or its greeting, began to be waited for."""
    in_vain: int = 0
    node: str = ""


class Team:
    """A run's actors.

    Args:
        options: of the collector.
        context: its context.
        lanes: which of the run's lanes each actor plays.
        epsilons: of each lane of the run.

    Raises:
        UserError: there is no cluster, or no node of it has that many CPUs.
    """

    def __init__(
        self,
        options: RayCollectionOptions,
        context: CollectorContext,
        lanes: Sequence[range],
        epsilons: Sequence[float],
    ) -> None:
        self._options, self._context, self._epsilons = options, context, epsilons
        self._actors = [_Actor(each) for each in lanes]
        self._owners: dict[Any, int] = {}
        """The actor of each fragment that was not taken."""
        self._here = versions_here()
        self._warned: set[str] = set()
        cpus = math.ceil(options.cpus * len(lanes))
        self._connection = Connection(options.address, cpus=cpus, store=options.store_mib << 20)
        try:
            self._require_room()
        except BaseException:
            self._connection.close()
            raise

    @property
    def playing(self) -> int:
        """How many actors can be asked for fragments."""
        return sum(actor.handle is not None and actor.greeting is None for actor in self._actors)

    def lanes(self, actor: int) -> list[int]:
        """The lanes of an actor."""
        return list(self._actors[actor].lanes)

    def start(self, incarnation: int) -> None:
        """Start every actor."""
        for number in range(len(self._actors)):
            self._begin(number, incarnation)

    def greet(self) -> list[int]:
        """Note the actors that are ready; return those that died before.

        Raises:
            RunError: one cannot be built where it is, or has other versions.
        """
        waiting = {actor.greeting: number for number, actor in enumerate(self._actors) if actor.greeting is not None}
        dead = []
        for ref in self._done(list(waiting)):
            number = waiting[ref]
            greeting: Greeting | None = self._get(number, ref)
            if greeting is None:
                dead.append(number)
                continue
            actor = self._actors[number]
            actor.node, actor.greeting = greeting.node, None
            self._compare(number, greeting)
        return dead

    def idle(self, in_flight: int) -> list[int]:
        """Return the actors that may be asked for more, those with least under way first; one may come repeatedly."""
        free = [
            (under_way, number)
            for number, actor in enumerate(self._actors)
            if actor.handle is not None and actor.greeting is None
            for under_way in range(len(actor.asked), in_flight)
        ]
        return [number for _, number in sorted(free)]

    def publish(self, policy: State) -> Any:
        """Put weights into the object store; return the reference that `ask` takes."""
        return ray.put(portable(policy))

    def ask(self, actor: int, weights: Any, version: int) -> Any:
        """Ask an actor for a fragment, played by the weights of `version`; return the fragment."""
        it = self._actors[actor]
        fragment = it.handle.collect.remote([weights], version)
        self._owners[fragment] = actor
        if not it.asked:
            it.since = self._context.clock()
        it.asked.append(fragment)
        return fragment

    def ready(self) -> list[Any]:
        """Return the fragments that are there, of each actor the oldest at most; one that will never come is ready."""
        return self._done([actor.asked[0] for actor in self._actors if actor.asked])

    def wait(self, seconds: float) -> None:
        """Wait until something more is ready, or for so long."""
        there = set(self.ready())
        refs = [actor.asked[0] for actor in self._actors if actor.asked and actor.asked[0] not in there]
        refs += [actor.greeting for actor in self._actors if actor.greeting is not None]
        if refs:
            ray.wait(refs, num_returns=1, timeout=seconds)

    def owner(self, fragment: Any) -> int:
        """Return the actor that a fragment was asked of."""
        return self._owners[fragment]

    def take(self, fragment: Any) -> Answer | None:
        """Return what came, None where the actor is gone. Raises `RunError` where its environment or policy failed."""
        number = self._owners[fragment]
        answer: Answer | None = self._get(number, fragment)
        if answer is not None:
            actor = self._actors[number]
            actor.asked.popleft()
            actor.since, actor.in_vain = self._context.clock(), 0
            del self._owners[fragment]
        return answer

    def overdue(self) -> list[int]:
        """Return the actors that have not answered for too long.

        Raises:
            RunError: no actor plays, and none could be started in that time.
        """
        there, now = {self._owners[fragment] for fragment in self.ready()}, self._context.clock()
        late = [
            number
            for number, actor in enumerate(self._actors)
            if actor.asked and number not in there and now - actor.since > self._options.patience
        ]
        for number in late:
            self._say(number, f"did not answer for {self._options.patience:g} seconds")
        starting = [actor.since for actor in self._actors if actor.greeting is not None]
        if not self.playing and starting and now - max(starting) > self._options.patience:
            raise RunError(
                f"no actor could be started in {self._options.patience:g} seconds: the cluster has {_cpus_left():g} "
                f"CPUs left, and an actor takes {self._options.cpus:g}."
            )
        return late

    def replace(self, actor: int, incarnation: int) -> list[Any]:
        """Start another actor in place of one; return the fragments that will never come.

        Raises:
            RunError: it died too often.
        """
        it = self._actors[actor]
        it.in_vain += 1
        if it.in_vain >= _IN_VAIN:
            raise RunError(
                f"actor {actor} died {_IN_VAIN} times before it sent anything: memory may be short, or an environment "
                f"ends its process."
            )
        self._kill(it)
        lost = list(it.asked)
        for fragment in lost:
            del self._owners[fragment]
        it.asked.clear()
        self._begin(actor, incarnation)
        return lost

    def close(self) -> None:
        """Kill every actor, and end a Ray that was started."""
        self._owners.clear()
        for actor in self._actors:
            self._kill(actor)
        self._connection.close()

    # Helpers ----------------------------------------------------------------------------------------------------------

    def _begin(self, number: int, incarnation: int) -> None:
        actor, cpus = self._actors[number], self._options.cpus
        player_class: Any = ray.remote(Player).options(
            num_cpus=cpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        epsilons = [self._epsilons[lane] for lane in actor.lanes]
        steps, threads = self._options.fragment, max(1, int(cpus))
        actor.handle = player_class.remote(self._context.config, actor.lanes, incarnation, epsilons, steps, threads)
        actor.greeting = actor.handle.open.remote()
        actor.since = self._context.clock()

    def _get(self, number: int, ref: Any) -> Any:
        """Return what a reference stands for, None where the actor that should have sent it is gone."""
        try:
            return ray.get(ref, timeout=_REACH_SECONDS)
        except ray.exceptions.RayTaskError as error:
            raise RunError(f"actor {number}{self._place(number)}: {_cause_text(error)}") from error
        except ray.exceptions.GetTimeoutError:
            self._say(number, "is out of reach")
        except ray.exceptions.RayError as error:
            self._say(number, f"died ({type(error).__name__})")
        return None

    def _say(self, number: int, what: str) -> None:
        lanes = self._actors[number].lanes
        which = f"lane {lanes[0]}" if len(lanes) == 1 else f"lanes {lanes[0]} to {lanes[-1]}"
        self._context.warn(
            f"actor {number}{self._place(number)} {what}; another takes its place, and new episodes begin in {which}."
        )

    def _place(self, number: int) -> str:
        node = self._actors[number].node
        return f" on {node}" if node else ""

    def _compare(self, number: int, greeting: Greeting) -> None:
        """Refuse an actor of another cartpole-dqn, and say once what else differs."""
        if why := mismatch(greeting.versions, self._here):
            raise RunError(f"actor {number}{self._place(number)} cannot be used: {why}")
        other = differences(greeting.versions, self._here)
        warning = f"actors{self._place(number)} have other versions: {other}."
        if other and warning not in self._warned:
            self._warned.add(warning)
            self._context.warn(warning)

    def _require_room(self) -> None:
        listed: Any = ray.nodes  # Ray gives these no types
        resources: Any = ray.cluster_resources
        most = max((node["Resources"].get("CPU", 0.0) for node in listed() if node["Alive"]), default=0.0)
        if most < self._options.cpus:
            raise UserError(
                f"collector ray: an actor takes {self._options.cpus:g} CPUs, and no node of the cluster has more than "
                f"{most:g}: set a smaller collector.cpus."
            )
        room = int(resources().get("CPU", 0.0) / self._options.cpus + 1e-9)
        if room < len(self._actors):
            self._context.warn(
                f"collector ray: the cluster has CPUs for {room} of {len(self._actors)} actors: the others wait, and "
                f"nothing is collected in their lanes."
            )

    def _done(self, refs: list[Any]) -> list[Any]:
        return ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []

    def _kill(self, actor: _Actor) -> None:
        if actor.handle is not None:
            with contextlib.suppress(Exception):
                ray.kill(actor.handle, no_restart=True)
        actor.handle = actor.greeting = None


def _cause_text(error: Any) -> str:
    """Return an actor's exception in words: a sentence of ours as it is, else its type and what it says."""
    cause = error.cause
    if isinstance(cause, CartpoleDqnError):
        return str(cause)
    if isinstance(cause, ModuleNotFoundError):
        return f"{cause}. Install there what the run has here."
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text[-500:]}"


def _cpus_left() -> float:
    return float(ray.available_resources().get("CPU", 0.0))
