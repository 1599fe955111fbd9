"""Every random choice of a run, derived from its one seed.

* `derive`: an integer from a seed and a path of names, by hashing; equal paths give equal integers, on any machine.
* `SeedTree`: a seed and a path; hands out NumPy and torch generators, and branches for parts.
* `Stream` and `episode_seed`: the seeds that environments are reset with. The four streams share no seed.
* `seeded_torch`: a block in which torch's global generator is seeded, and restored afterwards.
* `generator_state`, `restore_generator`: what a checkpoint keeps of a generator.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


class Stream(enum.IntEnum):
    """What an environment's episode is for; each stream has reset seeds of its own."""

    TRAIN = 0
    SELECT = 1
    CONFIRM = 2
    REPORT = 3


def derive(seed: int, *path: str | int) -> int:
    """Return a 63-bit integer that depends on `seed` and every element of `path`, and on nothing else."""
    text = json.dumps([int(seed), *path])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def episode_seed(stream: Stream, seed: int, env: int, episode: int) -> int:
    """Return the reset seed of episode `episode` of lane `env`: 31 bits, since some environments take no more.

    The two highest bits name the stream, so that training, selecting, confirming and reporting can never meet.
    """
    return int(stream) << 29 | derive(seed, "episode", int(stream), env, episode) & (1 << 29) - 1


@dataclass(frozen=True)
class SeedTree:
    """A node in the tree of a run's randomness: `seed` and the names that lead here.

    >>> SeedTree(0).child("agent").numpy("sample").integers(0, 100, 3).tolist()
    [42, 1, 89]
    """

    seed: int
    path: tuple[str, ...] = ()

    def child(self, name: str) -> SeedTree:
        """Return the branch `name`."""
        return SeedTree(self.seed, (*self.path, name))

    def integer(self, name: str) -> int:
        """Return the 63-bit integer of the leaf `name`."""
        return derive(self.seed, *self.path, name)

    def numpy(self, name: str) -> np.random.Generator:
        """Return a new NumPy generator for the leaf `name`."""
        return np.random.Generator(np.random.PCG64(self.integer(name)))

    def torch(self, name: str) -> torch.Generator:
        """Return a new torch generator (on the CPU) for the leaf `name`."""
        import torch

        generator = torch.Generator()
        generator.manual_seed(self.integer(name))
        return generator


@contextlib.contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and put back what they were: for initialising modules."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def generator_state(generator: np.random.Generator | torch.Generator) -> Any:
    """Return what a checkpoint keeps of a generator: a nested dict of integers (NumPy) or a uint8 tensor (torch)."""
    if isinstance(generator, np.random.Generator):
        return dict(generator.bit_generator.state)
    return generator.get_state()


def restore_generator(generator: np.random.Generator | torch.Generator, state: Any) -> None:
    """Put `generator` back into a state that `generator_state` returned."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)
