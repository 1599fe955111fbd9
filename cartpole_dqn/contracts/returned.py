"""Compares what parts return, and how their methods are named, with their contracts.

* `wrong_return`: a sentence about a method of a part that returned something else than expected.
* `output_fault`: what is wrong with the output of a network, if anything.
* `misspelled`: methods that look like misspelled ones of a contract.
* `described`: a value in a few words.
"""

from __future__ import annotations

import difflib
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cartpole_dqn.contracts.parts import Network
from cartpole_dqn.errors import bad

_HERE = PurePath(__file__).parents[1]
_ALIKE = 0.85
"""How similar a name must be, from 0 to 1, to be taken for a misspelled one."""


def wrong_return(part: object, method: str, value: object, expected: str) -> str:
    """Return "Net.forward returned None, expected ... (parts.py, line 3)." for the message of an error."""
    code = getattr(getattr(type(part), method, None), "__code__", None)
    path = PurePath("" if code is None else code.co_filename)
    place = "" if code is None or path.is_relative_to(_HERE) else f" ({path.name}, line {code.co_firstlineno})"
    return f"{type(part).__name__}.{method} returned {bad(described(value))}, expected {expected}{place}."


def output_fault(network: Network, obs: Tensor, actions: int) -> str:
    """Return what is wrong with the output and the action values of `network` for `obs` [B, ...], or ""."""
    wanted = (len(obs), actions)
    numbers = ", ".join(map(str, wanted))
    output: Any = network(obs)
    is_narrow = type(network).td_loss is Network.td_loss  # which does not convert it
    if not _is_float(output) or (is_narrow and output.dtype != torch.float32) or tuple(output.shape[:2]) != wanted:
        return wrong_return(network, "forward", output, f"a tensor float32 [{numbers}] or [{numbers}, ...]")
    values: Any = network.q_values(output)
    if not _is_float(values) or tuple(values.shape) != wanted:
        return wrong_return(network, "q_values", values, f"a tensor float32 [{numbers}]")
    return ""


def misspelled(cls: type, base: type) -> list[tuple[str, str]]:
    """Return the methods of an author's class whose names look misspelled, each with the method that was meant.

    A contract gives most methods a default, so a misspelled one would never be called, and nobody would notice.
    """
    names: dict[bool, set[str]] = {True: set(), False: set()}
    for part in (part for part in cls.__mro__ if issubclass(part, base)):
        is_ours = part.__module__.partition(".")[0] == _HERE.name
        names[is_ours].update(name for name, value in vars(part).items() if name[0] != "_" and callable(value))
    inherited = sorted(names[True] - names[False])
    own = sorted(names[False] - names[True])
    found = {name: difflib.get_close_matches(name, inherited, n=1, cutoff=_ALIKE) for name in own}
    return [(name, matches[0]) for name, matches in found.items() if matches]


def described(value: object) -> str:
    """Return a value in a few words, such as "a tensor float32 [32, 2]".

    >>> described((np.zeros(3), None))
    'a tuple (an array float64 [3], None)'
    """
    if isinstance(value, Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {list(value.shape)}"
    if isinstance(value, tuple) and len(value) <= 4:
        return f"a tuple ({', '.join(map(described, value))})"
    return "None" if value is None else f"an object of the class {type(value).__name__}"


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
