"""`frozen_copy` and `load_weights`: copy a network, and load saved weights into one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(network: Module) -> Module:
    """Return a copy of `network` in evaluation mode and without gradients, for a target network or a policy."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load a `state_dict` into `network`.

    Raises:
        ValueError: names or shapes do not fit, or a value is not finite. The message is one line.
    """
    bad = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ValueError(f"the weights of {', '.join(bad)} are not finite.")
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit {type(network).__name__}: {' '.join(str(error).split())}") from None
