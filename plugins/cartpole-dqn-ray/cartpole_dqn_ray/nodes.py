"""`Nodes`: the nodes of a cluster, whether trials can run on each, and why not. `Node`: what is known of one."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartpole_dqn import UserError
from cartpole_dqn_ray.versions import differences, mismatch, versions_here

if TYPE_CHECKING:
    from cartpole_dqn_ray.sweep import RaySweepOptions

_PROBE_SECONDS = 120.0
"""How long nodes may take to answer at first: each starts a Python for that."""
_LOOK = 0.2
"""Seconds between two looks for answers."""


@dataclass(frozen=True)
class Node:
    """A node that has answered."""

    id: str
    name: str
    """Of the machine, with the start of the id if several nodes are on it."""
    refused: str
    """Why no trial runs there, as a sentence; "" if they do."""
    direct: bool
    """Whether its trials write into the sweep's folder themselves."""


class Nodes:
    """The nodes of the cluster that this process is connected to.

    Args:
        folder: the sweep's folder, in which a hidden file is put for nodes to see.
        options: of the engine.
        say: called once for each node that is not used or has other versions.
    """

    def __init__(self, folder: Path, options: RaySweepOptions, say: Callable[[str], None]) -> None:
        self.known: dict[str, Node] = {}
        """Nodes that are alive and have answered, by id."""
        self._storage, self._say = options.storage, say
        self._takes = {"CPU": options.cpus, **({"GPU": options.gpus} if options.gpus else {})}
        self._here = versions_here()
        self._alive: dict[str, Mapping[str, Any]] = {}
        self._asked: dict[Any, str] = {}
        """The id of the node that each pending answer comes from."""
        self._folder = folder
        self._mark = tempfile.NamedTemporaryFile(prefix=".ray-", dir=folder)  # noqa: SIM115 (`close` closes it)

    def refresh(self) -> None:
        """Look which nodes are alive, ask new ones, and take answers."""
        import ray

        listed: Any = ray.nodes  # Ray gives it no types
        self._alive = {str(node["NodeID"]): node for node in listed() if node["Alive"]}
        self.known = {node_id: node for node_id, node in self.known.items() if node_id in self._alive}
        for node_id in self._alive.keys() - self.known.keys() - set(self._asked.values()):
            if self._places_on(self._alive[node_id]):
                self._asked[_ask(node_id, Path(self._mark.name))] = node_id
        answered = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)[0] if self._asked else []
        for answer in answered:
            node_id = self._asked.pop(answer)
            if node_id in self._alive:
                self.known[node_id] = self._judge(self._alive[node_id], answer)

    @property
    def places(self) -> int:
        """How many trials the usable nodes run at once, if they do nothing else."""
        usable = [self._alive[node_id] for node_id, node in self.known.items() if not node.refused]
        return sum(self._places_on(node) for node in usable)

    @property
    def selector(self) -> dict[str, str]:
        """Ray's label selector that leaves out the nodes that are not used."""
        refused = [node.id for node in self.known.values() if node.refused]
        return {"ray.io/node-id": f"!in({','.join(refused)})"} if refused else {}

    def require_one(self) -> None:
        """Wait for the nodes' answers. Raises a `UserError` with the reason if no node can be used."""
        until = time.monotonic() + _PROBE_SECONDS
        self.refresh()
        while self._asked and time.monotonic() < until:
            time.sleep(_LOOK)
            self.refresh()
        if self.places:
            return
        if self._asked:
            raise UserError(f"no node of the cluster answered within {_PROBE_SECONDS:g} seconds. See `ray status`.")
        if self.known:
            refused = " ".join(node.refused for node in self.known.values())
            raise UserError(f"no node of the cluster can be used. {refused}")
        asked, there = [], []
        for name, amount in self._takes.items():
            most = max((node["Resources"].get(name, 0) for node in self._alive.values()), default=0)
            asked.append(f"{amount:g} {name}")
            there.append(f"{most:g} {name}")
        raise UserError(
            f"no node of the cluster has {' and '.join(asked)} for a trial: the most that one has is "
            f"{' and '.join(there)}."
        )

    def close(self) -> None:
        """Remove the file that nodes look for."""
        self._mark.close()

    def _places_on(self, node: Mapping[str, Any]) -> int:
        have, wanted = node["Resources"], self._takes.items()
        return min(math.floor(float(have.get(name, 0)) / amount + 1e-9) for name, amount in wanted)

    def _judge(self, node: Mapping[str, Any], answer: Any) -> Node:
        import ray

        node_id, name, address = str(node["NodeID"]), str(node["NodeManagerHostname"]), node["NodeManagerAddress"]
        if sum(other["NodeManagerHostname"] == name for other in self._alive.values()) > 1:
            name = f"{name}/{node_id[:4]}"
        versions, sees, why = self._here, False, ""
        try:
            versions, sees = ray.get(answer)
            why = mismatch(versions, self._here)
            if not why and self._storage == "shared" and not sees:
                why = (
                    f"it does not see the sweep's folder {self._folder}. Mount it there at the same path, "
                    f"or let files be brought back with --engine-set storage=object-store."
                )
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[-300:]
            why = f"cartpole-dqn and this plugin cannot be imported there ({reason})."
        if why:
            self._say(f"{name} is not used: {why}")
        elif other := differences(versions, self._here):
            self._say(f"{name} has other versions: {other}. Its trials may take another course.")
        here = self._alive[ray.get_runtime_context().get_node_id()]["NodeManagerAddress"]
        direct = sees and self._storage != "object-store" and (self._storage == "shared" or address == here)
        return Node(node_id, name, f"{name} is not used: {why}" if why else "", direct)


def _ask(node_id: str, mark: Path) -> Any:
    """Return a reference to what a node answers."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    remote: Any = ray.remote(_probe)
    return remote.options(num_cpus=0, max_retries=1, scheduling_strategy=there).remote(mark)


def _probe(mark: Path) -> tuple[dict[str, str], bool]:
    """Return this node's versions, and whether it sees the sweep's folder."""
    return versions_here(), mark.exists()
