"""`Nodes`: the nodes of a cluster, whether trials can run on each, and why not. `Node`: what is known of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn import UserError
from cartpole_dqn_ray.connection import on_node, ray
from cartpole_dqn_ray.versions import differences, mismatch, versions_here

_PROBE_SECONDS, _LOOK = 120.0, 0.5
"""How long nodes may take to answer at first, as each starts a Python for that; and how often to look."""


@dataclass(frozen=True)
class Node:
    """A node that has answered."""

    id: str
    name: str
    """Of the machine, with the start of the id if several nodes are on it."""
    places: int
    """How many trials it runs at once, if it does nothing else; 0 if it is not used."""
    refused: str = ""
    """Why it is not used, as a sentence."""
    direct: bool = True
    """Whether its trials write into the sweep's folder themselves."""


class Nodes:
    """The nodes of the cluster that this process is connected to.

    Args:
        mark: a file in the sweep's folder, for nodes to see.
        takes: what a trial takes of Ray's resources, by name.
        storage: as in the options of the engine.
        say: called once for each node that is not used or has other versions.

    Raises:
        UserError: no node can be used; the message says why.
    """

    def __init__(self, mark: Path, takes: Mapping[str, float], storage: str, say: Callable[[str], None]) -> None:
        self.known: dict[str, Node] = {}
        """Nodes that are alive and have answered, by id."""
        self._mark, self._takes, self._storage, self._say = mark, takes, storage, say
        self._alive: dict[str, Mapping[str, Any]] = {}
        self._asked: dict[Any, str] = {}
        """The id of the node that each pending answer comes from."""
        until = time.monotonic() + _PROBE_SECONDS
        self.refresh(_PROBE_SECONDS)
        while self._unknown() and not self.places and time.monotonic() < until:
            time.sleep(_LOOK)
            self.refresh()
        if not self.places:
            raise UserError(self._why_none())

    def refresh(self, wait: float = 0) -> None:
        """Look which nodes are alive, ask new ones, and take answers, for which to wait `wait` seconds at most."""
        self._alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        self.known = {node_id: node for node_id, node in self.known.items() if node_id in self._alive}
        for node_id in self._unknown() - set(self._asked.values()):
            probe = ray.remote(num_cpus=0, max_retries=1, scheduling_strategy=on_node(node_id))(_probe)
            self._asked[probe.remote(self._mark)] = node_id
        if self._asked:
            for answer in ray.wait(list(self._asked), num_returns=len(self._asked), timeout=wait)[0]:
                node_id = self._asked.pop(answer)
                if node_id in self._alive and (node := self._judge(node_id, answer)):
                    self.known[node_id] = node

    @property
    def places(self) -> int:
        """How many trials the nodes run at once, if they do nothing else."""
        return sum(node.places for node in self.known.values())

    def _unknown(self) -> set[str]:
        """The nodes with room for a trial that have not answered."""
        return {node_id for node_id in self._alive.keys() - self.known.keys() if self._places_on(node_id)}

    def _why_none(self) -> str:
        if self._unknown():
            return f"no node of the cluster answered within {_PROBE_SECONDS:g} seconds. See `ray status`."
        if self.known:
            return " ".join(["no node of the cluster can be used.", *(node.refused for node in self.known.values())])
        asked = " and ".join(f"{amount:g} {name}" for name, amount in self._takes.items())
        resources = [node["Resources"] for node in self._alive.values()]
        most = {name: max((one.get(name, 0) for one in resources), default=0) for name in self._takes}
        there = " and ".join(f"{amount:g} {name}" for name, amount in most.items())
        return f"no node of the cluster has {asked} for a trial: the most that one has is {there}."

    def _places_on(self, node_id: str) -> int:
        have = self._alive[node_id]["Resources"]
        return min(int(have.get(name, 0) / amount + 1e-9) for name, amount in self._takes.items())

    def _judge(self, node_id: str, answer: Any) -> Node | None:
        """Return what is known of a node with its answer; None if it has just joined or left, to be asked again."""
        node, here = self._alive[node_id], self._alive[ray.get_runtime_context().get_node_id()]
        name, versions, sees, why = node["NodeManagerHostname"], versions_here(), False, ""
        if sum(other["NodeManagerHostname"] == name for other in self._alive.values()) > 1:
            name = f"{name}/{node_id[:4]}"
        try:
            there, sees = ray.get(answer)
            why = mismatch(there, versions)
            if not why and self._storage == "shared" and not sees:
                why = (
                    f"it does not see the sweep's folder {self._mark.parent}. Mount it there at the same path, "
                    f"or let files be brought back with --engine-set storage=object-store."
                )
            elif not why and (other := differences(there, versions)):
                self._say(f"{name} has other versions: {other}. Its trials may take another course.")
        except ray.exceptions.TaskUnschedulableError:
            return None
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[-300:]
            why = f"cartpole-dqn and this plugin cannot be imported there ({reason})."
        if why:
            why = f"{name} is not used: {why}"
            self._say(why)
            return Node(node_id, name, 0, why)
        is_here = node["NodeManagerAddress"] == here["NodeManagerAddress"]
        direct = sees and self._storage != "object-store" and (self._storage == "shared" or is_here)
        return Node(node_id, name, self._places_on(node_id), "", direct)


def _probe(mark: Path) -> tuple[dict[str, str], bool]:
    """Return this node's versions, and whether it sees the sweep's folder."""
    return versions_here(), mark.exists()
