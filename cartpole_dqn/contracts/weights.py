"""Copying and loading the weights of networks.

* `frozen_copy`: a network's copy for a target or a policy.
* `load_weights`: puts saved weights into a network, or says why they do not fit.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(network: Module) -> Module:
    """Return a copy in evaluation mode that takes no gradients, for a target network or a policy."""
    clone = copy.deepcopy(network).eval()
    return clone.requires_grad_(False)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put `weights`, a `state_dict`, into `network`.

    Raises:
        ValueError: names or shapes do not fit, or a value is not finite; the message is one line.
    """
    bad = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ValueError(f"the weights of {', '.join(bad)} are not finite.")
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit {type(network).__name__}: {' '.join(str(error).split())}") from None
