"""Export a run's model as one file, which turns what the environment shows into action values and an action.

* `export_run`: writes an ONNX model or a `torch.export` program, and checks that it acts as the agent does.
* `Exported`, `Parity`: what came out.
* `FORMATS`: the formats and their suffixes.

The observation wrappers are inside, as far as they can be computed by torch (`cartpole_dqn.wrappers.moments`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cartpole_dqn.contracts.events import Evaluating
from cartpole_dqn.contracts.parts import Policy
from cartpole_dqn.contracts.seeding import Stream, episode_seed
from cartpole_dqn.errors import RunError, UserError, bad, error_line
from cartpole_dqn.files import replace_file, writing
from cartpole_dqn.runs.saved import choose_model
from cartpole_dqn.system import __version__
from cartpole_dqn.training.models import SavedRun, Which, load_policy
from cartpole_dqn.wrappers.moments import TorchForm

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
METADATA_FILE = "cartpole_dqn.json"
"""The file in a `torch.export` archive that holds the metadata."""
LEAST_PARITY = 0.999
"""Least fraction of steps in which the file must take the agent's action."""

Inputs = Mapping[str, NDArray[Any]]
Play = Callable[[Inputs], tuple[NDArray[np.float32], int]]
"""Inputs by name -> action values [A] and an action."""


@dataclass(frozen=True)
class Parity:
    """Greedy episodes of the agent and of the exported file, on the same held-out seeds.

    The file is asked at each step of the agent's episodes. If one of its actions differs, it plays that episode too.
    """

    episodes: int
    steps: int
    """Steps of the agent in all episodes."""
    equal_actions: int
    """Steps in which the file's action is the agent's."""
    largest_difference: float
    """Between two values of an action, relative to the largest value of the step."""
    score: float
    """Mean return of the agent."""
    exported_score: float
    """Mean return of the file."""

    @property
    def fraction(self) -> float:
        """The fraction of steps with equal actions."""
        return self.equal_actions / self.steps


@dataclass(frozen=True)
class Exported:
    """An exported file, usable as a path."""

    path: Path
    inputs: Mapping[str, list[int]]
    """Name -> the values that the file needs: [0, 4] is the value of now and that of four steps ago."""
    stops: Mapping[str, str]
    """Wrapper that is not in the file -> why."""
    parity: Parity

    def __fspath__(self) -> str:
        return str(self.path)


def export_run(
    run: SavedRun,
    out: Path | None = None,
    *,
    form: str | None = None,
    episodes: int = 100,
    seed: int = 0,
    which: Which = "best",
    on_progress: Callable[[Evaluating], None] = lambda event: None,
) -> Exported:
    """Write a run's model to `out`, after `episodes` greedy episodes in which it acts as the agent does.

    The arguments are those of `Run.export`; `on_progress` is called after each episode.

    Raises:
        UserError: the model or the policy is unsuitable, a package is missing, or `out` cannot be written.
        RunError: torch cannot trace the network, or the file acts otherwise in more than 0.1 % of the steps.
    """
    if episodes < 1:
        raise UserError(f"episodes: expected 1 or more, got {bad(episodes)}.")
    form = _format_of(out, form)
    if form == "onnx":
        _require_onnx()
    out = out or run.folder.path / f"policy{FORMATS[form]}"
    if not out.parent.is_dir():  # Said before minutes of playing.
        raise UserError(f"{out} cannot be written: there is no folder {out.parent}.")
    policy, factory, step = load_policy(run, which)
    values = policy.module()
    if values is None:
        raise UserError(
            f"agent {run.config.agent['name']} cannot be exported: its policy does not act by the values of one "
            f"network alone, or does not define Policy.module()."
        )
    env = factory.make(evaluating=True)
    try:
        env.reset(seed=episode_seed(Stream.REPORT, seed, 0, 0))
        chain = TorchForm(env)
        program = _trace(_Program(chain, values, env.first_action), chain)
        model = _OnnxModel(program, chain) if form == "onnx" else _TorchModel(program, chain)
        parity = _compare(policy, model.play, chain, env.first_action, episodes, seed, step, on_progress)
    finally:
        env.close()
    if parity.fraction < LEAST_PARITY:
        raise RunError(
            f"the exported model takes the agent's action in {parity.equal_actions:,} of {parity.steps:,} steps, "
            f"expected {LEAST_PARITY:.1%} or more (scores {parity.score:.6g} and {parity.exported_score:.6g}). "
            f"{out} was not written."
        )
    inputs = {source.name: source.ago for source in chain.inputs}
    metadata = {
        "cartpole_dqn": __version__,
        "env": run.config.env.id,
        "inputs": inputs,
        "read_by": {source.name: source.source for source in chain.inputs},
        "observation": run.config.observation,
        "not_expressed": chain.stops,
        "run": run.folder.path.name,
        "model": choose_model(run.folder, which),
        "trained_steps": step,
        "parity": dataclasses.asdict(parity),
    }
    with writing(out):
        replace_file(out, model.to_bytes(metadata))
    return Exported(out, inputs, chain.stops, parity)


def _format_of(out: Path | None, form: str | None) -> str:
    """Return the format, by default that of the file's suffix. Raises `UserError` if they do not fit together."""
    suffix = None if out is None else out.suffix.lower()
    if form is None:
        form = next((name for name, its in FORMATS.items() if suffix in (None, its)), "")
    if suffix not in (None, FORMATS.get(form)):
        known = " or ".join(f"{its} (format {name})" for name, its in FORMATS.items() if form in ("", name))
        raise UserError(f"{out}: expected a file name that ends in {known}.")
    return form


class _Program(nn.Module):
    """Inputs, each [len(ago), ...] -> values [A] float32, and the environment's number of the best action, int64 []."""

    def __init__(self, chain: TorchForm, values: nn.Module, first_action: int) -> None:
        super().__init__()
        self._chain = chain
        self._first_action = first_action
        self.values = values

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        names = [source.name for source in self._chain.inputs]
        observation = self._chain.observation(dict(zip(names, tensors, strict=True)))
        values: Tensor = self.values(observation[None])[0]
        return values, values.argmax(0) + self._first_action


def _trace(program: _Program, chain: TorchForm) -> torch.export.ExportedProgram:
    examples = tuple(torch.from_numpy(np.stack([source.value()] * len(source.ago))) for source in chain.inputs)
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(program.eval(), examples, strict=False)
    except Exception as error:  # Networks may be anybody's.
        raise RunError(f"torch.export cannot trace this model: {error_line(error)[:500]}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch says about its own tracing."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


class _OnnxModel:
    """A traced program as an ONNX model, run by onnxruntime in one thread."""

    def __init__(self, program: torch.export.ExportedProgram, chain: TorchForm) -> None:
        names = [source.name for source in chain.inputs]
        with _quiet():
            onnx_program: Any = torch.onnx.export(
                program, input_names=names, output_names=["values", "action"], dynamo=True, verbose=False
            )
        self._proto = onnx_program.model_proto
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        data = self._proto.SerializeToString()
        self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def play(self, inputs: Inputs) -> tuple[NDArray[np.float32], int]:
        values, action = self._session.run(["values", "action"], dict(inputs))
        return values, int(action)

    def to_bytes(self, metadata: Mapping[str, Any]) -> bytes:
        onnx: Any = importlib.import_module("onnx")
        self._proto.producer_name, self._proto.producer_version = "cartpole-dqn", __version__
        onnx.helper.set_model_props(self._proto, {key: json.dumps(value) for key, value in metadata.items()})
        data: bytes = self._proto.SerializeToString()
        return data


class _TorchModel:
    """A traced program, run by torch."""

    def __init__(self, program: torch.export.ExportedProgram, chain: TorchForm) -> None:
        self._program = program
        self._module = program.module()
        self._names = [source.name for source in chain.inputs]

    def play(self, inputs: Inputs) -> tuple[NDArray[np.float32], int]:
        with torch.inference_mode():
            values, action = self._module(*(torch.from_numpy(inputs[name]) for name in self._names))
        return values.numpy(), int(action)

    def to_bytes(self, metadata: Mapping[str, Any]) -> bytes:
        file = io.BytesIO()
        with _quiet():
            torch.export.save(self._program, file, extra_files={METADATA_FILE: json.dumps(metadata)})
        return file.getvalue()


def _compare(
    policy: Policy,
    play: Play,
    chain: TorchForm,
    first_action: int,
    episodes: int,
    seed: int,
    step: int,
    on_progress: Callable[[Evaluating], None],
) -> Parity:
    """Play the same episodes by the agent and by the exported model."""
    steps = equal = 0
    largest = 0.0
    scores, exported = [], []

    def by_agent(obs: Any, mask: Any) -> int:
        nonlocal steps, equal, largest
        values = policy.q_values(obs[None])
        action = int(policy.act(obs[None], None if mask is None else mask[None])[0])
        exported_values, best = _masked(play(chain.look()), mask, first_action)
        steps += 1
        equal += action == best
        if values is not None:
            largest = max(largest, float(np.abs(values[0] - exported_values).max() / max(np.abs(values).max(), 1e-30)))
        return action

    def by_file(obs: Any, mask: Any) -> int:
        return _masked(play(chain.look()), mask, first_action)[1]

    for episode in range(episodes):
        start = episode_seed(Stream.REPORT, seed, 0, episode)
        before = steps - equal
        policy.reset(np.ones(1, dtype=np.bool_))
        scores.append(_episode(chain, start, by_agent))
        is_same = steps - equal == before
        exported.append(scores[-1] if is_same else _episode(chain, start, by_file))
        on_progress(Evaluating(step, "report", episode + 1, episodes, float(np.mean(scores))))
    return Parity(episodes, steps, equal, largest, float(np.mean(scores)), float(np.mean(exported)))


def _masked(outputs: tuple[NDArray[np.float32], int], mask: Any, first_action: int) -> tuple[NDArray[np.float32], int]:
    """Return values and the action from 0: the best one that the mask allows."""
    values, action = outputs
    return values, action - first_action if mask is None else int(np.where(mask, values, -np.inf).argmax())


def _episode(chain: TorchForm, seed: int, act: Callable[[Any, Any], int]) -> float:
    """Play an episode and return its undiscounted return."""
    chain.begin_episode()
    obs, info = chain.env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action = act(obs, info.get("action_mask"))
        obs, reward, terminated, truncated, info = chain.env.step(action)
        total += float(reward)
        over = terminated or truncated
    return total


def _require_onnx() -> None:
    """Raise `UserError` where a package of the extra `export` is missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"an ONNX model needs {name}, which cannot be imported ({error}): pip install 'cartpole-dqn[export]', "
                f"or write a torch.export program with --format torch."
            ) from error
