"""All randomness of a run, derived from its seed.

* `derive`: hashes a seed and a path of names to an integer, the same on every machine.
* `SeedTree`: a seed and a path, which gives NumPy and torch generators by name.
* `Stream` and `episode_seed`: the seeds that reset environments. The four streams share no seed.
* `seeded_torch`: seeds torch's generator of the CPU inside a block, in which modules are built on the CPU.
* `torch_put_back`: restores torch's number of threads after a block.
* `generator_state`, `restore_generator`: save and restore a generator.
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
    """What an episode is for. Each stream has its own reset seeds."""

    TRAIN = 0
    SELECT = 1
    CONFIRM = 2
    REPORT = 3


def derive(seed: int, *path: str | int) -> int:
    """Return a 63-bit integer that depends only on `seed` and `path`."""
    text = json.dumps([int(seed), *(step if isinstance(step, str) else int(step) for step in path)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def episode_seed(stream: Stream, seed: int, env: int, episode: int) -> int:
    """Return the reset seed of an episode of lane `env`. It has 31 bits, because some environments take no more.

    The two highest bits are the stream, so two streams never share a seed.
    """
    return int(stream) << 29 | derive(seed, "episode", int(stream), env, episode) & (1 << 29) - 1


@dataclass(frozen=True)
class SeedTree:
    """A seed and a path of names. Each name gives an independent generator.

    >>> SeedTree(0).child("agent").numpy("sample").integers(0, 100, 3).tolist()
    [42, 1, 89]
    """

    seed: int
    path: tuple[str, ...] = ()

    def child(self, name: str) -> SeedTree:
        """Return the subtree `name`."""
        return SeedTree(self.seed, (*self.path, name))

    def integer(self, name: str) -> int:
        """Return the 63-bit integer for `name`."""
        return derive(self.seed, *self.path, name)

    def numpy(self, name: str) -> np.random.Generator:
        """Return a new NumPy generator for `name`."""
        return np.random.Generator(np.random.PCG64(self.integer(name)))

    def torch(self, name: str) -> torch.Generator:
        """Return a new torch generator on the CPU for `name`."""
        import torch

        return torch.Generator().manual_seed(self.integer(name))


@contextlib.contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Seed torch's generator of the CPU inside the block and restore it afterwards, to initialise modules.

    Modules are built on the CPU, whatever torch's default device is. No other device is used or even initialised.
    """
    import torch

    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def torch_put_back(threads: int | None = None) -> Iterator[None]:
    """Restore torch's number of threads after the block, in which it is `threads` if that is given."""
    import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def generator_state(generator: np.random.Generator | torch.Generator) -> Any:
    """Return the state of a generator: a nested dict of integers (NumPy) or a uint8 tensor (torch)."""
    if isinstance(generator, np.random.Generator):
        return dict(generator.bit_generator.state)
    return generator.get_state()


def restore_generator(generator: np.random.Generator | torch.Generator, state: Any) -> None:
    """Restore a state that `generator_state` returned."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)
