"""Which nodes a cluster has, which of them trials can run on, and why not on others.

* `Nodes`: looks at the nodes, asks each once for its versions and for what it sees, and counts places.
* `Node`: what is known of one.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cartpole_dqn import UserError
from cartpole_dqn_ray.versions import boot_id, breaking, differing, versions_here

Storage = Literal["auto", "shared", "object-store"]

_PROBE_SECONDS = 120.0
"""How long the nodes may take to answer at first: each starts a Python for that."""
_FRESH = 0.5
"""Seconds for which the list of nodes is believed."""


@dataclass(frozen=True)
class Node:
    """A node that was asked."""

    id: str
    name: str
    """Of the machine; with the beginning of the id where several nodes are on one."""
    refused: str
    """Why no trial runs there, as a sentence; "" where they do."""
    direct: bool
    """Whether its trials write into the sweep's folder themselves."""


class Nodes:
    """The nodes of the cluster that this process is connected to.

    Args:
        folder: the sweep's folder, in which a mark is left for nodes to see; made where it is missing.
        storage: as in the options of the engine.
        resources: what a trial takes: "CPU" and "GPU".
        alone: whether the cluster is this machine, started by this program: then there is nothing to ask.
        say: told, once each, of nodes that are not used and of versions that differ.
    """

    def __init__(
        self,
        folder: Path,
        storage: Storage,
        resources: Mapping[str, float],
        *,
        alone: bool,
        say: Callable[[str], None],
    ) -> None:
        self.known: dict[str, Node] = {}
        """The nodes that answered, by id; those that are gone included."""
        self._alone = alone
        self._storage = storage
        self._resources = {name: amount for name, amount in resources.items() if amount}
        self._say = say
        self._here = versions_here()
        self._boot = boot_id()
        self._token = secrets.token_hex(16)
        self._mark = folder / "ray" / "mark"
        self._folder = folder
        self._asking: dict[str, Any] = {}
        self._alive: dict[str, dict[str, Any]] = {}
        self._looked = -math.inf
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        self._mark.write_text(self._token, encoding="ascii")

    def refresh(self) -> None:
        """Look which nodes are alive, ask new ones, and hear who answered; at most twice a second."""
        import ray

        if time.monotonic() - self._looked < _FRESH:
            return
        self._looked = time.monotonic()
        listed: Any = ray.nodes  # Ray gives it no types
        self._alive = {str(node["NodeID"]): node for node in listed() if node["Alive"]}
        for node_id, node in self._alive.items():
            if node_id in self.known or node_id in self._asking or not self._places_on(node):
                continue
            if self._alone:
                self.known[node_id] = self._judge(node, {"versions": self._here, "boot": self._boot, "sees": True})
            else:
                self._asking[node_id] = self._ask(node_id)
        for node_id, asked in list(self._asking.items()):
            if node_id not in self._alive:
                del self._asking[node_id]
            elif ray.wait([asked], timeout=0)[0]:
                self.known[node_id] = self._judge(self._alive[node_id], self._answer(asked))
                del self._asking[node_id]

    def is_alive(self, node: Node) -> bool:
        """Whether a node was alive at the last look."""
        return node.id in self._alive

    @property
    def places(self) -> int:
        """How many trials the usable nodes take at once, were they free of other work."""
        self.refresh()
        usable = [node for node_id, node in self._alive.items() if self._is_usable(node_id)]
        return sum(self._places_on(node) for node in usable)

    @property
    def selector(self) -> dict[str, str]:
        """Ray's label selector that leaves out the nodes that are not used."""
        refused = [node.id for node in self.known.values() if node.refused and node.id in self._alive]
        return {"ray.io/node-id": f"!in({','.join(refused)})"} if refused else {}

    def require_one(self) -> None:
        """Wait for the nodes' answers, and raise a `UserError` that says why where no node can be used."""
        until = time.monotonic() + _PROBE_SECONDS
        self.refresh()
        while self._asking and time.monotonic() < until:
            time.sleep(_FRESH)
            self.refresh()
        if self.places:
            return
        if self._asking:
            raise UserError(f"no node of the cluster answered within {_PROBE_SECONDS:g} seconds. See `ray status`.")
        asked = " and ".join(f"{amount:g} {name}" for name, amount in self._resources.items())
        refused = [node.refused for node in self.known.values() if node.refused]
        if refused:
            raise UserError(f"no node of the cluster can be used. {' '.join(refused)}")
        most = {
            name: max((n["Resources"].get(name, 0) for n in self._alive.values()), default=0)
            for name in self._resources
        }
        there = " and ".join(f"{amount:g} {name}" for name, amount in most.items())
        raise UserError(f"no node of the cluster has {asked} for a trial: the most that one has is {there}.")

    def forget_mark(self) -> None:
        """Remove the mark."""
        self._mark.unlink(missing_ok=True)

    def _is_usable(self, node_id: str) -> bool:
        known = self.known.get(node_id)
        return known is not None and not known.refused

    def _places_on(self, node: Mapping[str, Any]) -> int:
        have, wanted = node["Resources"], self._resources.items()
        return min(math.floor(float(have.get(name, 0)) / amount + 1e-9) for name, amount in wanted)

    def _ask(self, node_id: str) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        probe: Any = ray.remote(_portable_probe())
        asked = probe.options(num_cpus=0, max_retries=1, scheduling_strategy=there)
        return asked.remote(str(self._mark), self._token)

    def _answer(self, asked: Any) -> dict[str, Any]:
        import ray

        try:
            found: dict[str, Any] = ray.get(asked)
            return found
        except ray.exceptions.RayError as error:
            return {"error": " ".join(str(error).split())[-300:]}

    def _judge(self, node: Mapping[str, Any], answer: Mapping[str, Any]) -> Node:
        node_id = str(node["NodeID"])
        name = self._name(node)
        if "error" in answer:
            refused = f"{name} is not used: cartpole-dqn and this plugin cannot be imported there ({answer['error']})."
            versions = self._here
        else:
            versions = answer["versions"]
            refused = breaking(name, versions, self._here)
        same_machine = bool(self._boot) and answer.get("boot") == self._boot
        sees = bool(answer.get("sees"))
        if not refused and self._storage == "shared" and not sees:
            refused = (
                f"{name} is not used: it does not see the sweep's folder {self._folder}. Mount it there at the same "
                f"path, or let files be brought back with --engine-set storage=object-store."
            )
        if refused:
            self._say(refused)
        elif other := differing(name, versions, self._here):
            self._say(other)
        direct = self._storage == "shared" or (self._storage == "auto" and (same_machine or self._alone) and sees)
        return Node(node_id, name, refused, direct)

    def _name(self, node: Mapping[str, Any]) -> str:
        host = str(node["NodeManagerHostname"])
        alike = sum(other["NodeManagerHostname"] == host for other in self._alive.values())
        return host if alike == 1 else f"{host}/{node['NodeID'][:4]}"


def _portable_probe() -> Callable[[str, str], dict[str, Any]]:
    """Return a function that Ray sends as code, so that a node that lacks this plugin can still say so."""

    def probe(mark: str, token: str) -> dict[str, Any]:
        import json
        import os
        import pathlib
        import subprocess
        import sys

        # As a run is started: Ray puts the current folder of the sweep on the path of its own workers.
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        command = [sys.executable, "-P", "-m", "cartpole_dqn_ray.versions"]
        told = subprocess.run(command, capture_output=True, text=True, env=own, stdin=subprocess.DEVNULL, check=False)
        if told.returncode:
            return {"error": (told.stderr.strip().splitlines() or ["nothing was said"])[-1][:300]}
        try:
            sees = pathlib.Path(mark).read_text(encoding="ascii") == token
        except (OSError, UnicodeDecodeError):
            sees = False
        return {**json.loads(told.stdout), "sees": sees}

    return probe
