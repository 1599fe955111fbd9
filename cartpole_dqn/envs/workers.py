"""Environments in processes of their own, none of which outlives the run.

* `WorkerEnvs`: a Gymnasium vector environment without autoreset. Every wait in it is bounded.
* `end_with_parent`, `kill`: for other processes that should not outlive this one.

A worker exits when asked to, or when its pipe closes. A busy one is killed after `GRACE` seconds. Workers also end
with the main process, however it ends. They ignore signals to the process group (Ctrl-C): the main process decides when
the run stops. Observations are passed through shared memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import CloudpickleWrapper, batch_space
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Obs
from cartpole_dqn.envs.guard import EnvError, EnvTimeoutError, Guard, describe

MakeEnv = Callable[[], Guard]

GRACE = 5.0
"""Seconds that workers have to finish once the run stops."""
_AT_ONCE = 0.5
"""The same after a second Ctrl-C."""
_SLICE = 0.25
"""Seconds of one slice of waiting. A slice counts as no longer, even if Ctrl-Z suspended the process."""
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_PR_SET_PDEATHSIG = 1


class WorkerEnvs(VectorEnv[Any, Any, Any]):
    """Steps each environment in its own process.

    `step` and `reset` (with `reset_mask`) follow `gymnasium.vector.VectorEnv`. An environment's error is an `EnvError`,
    raised after all have answered. If a process is gone or does not answer, only `close` may follow.

    Args:
        env_fns: make one guarded environment each, all with the same spaces: `Box` observations, `Discrete` actions.
        step_timeout: seconds that a step or a reset may take; 0 for no limit.

    Raises:
        EnvError: one could not be made, broke its contract, or its process died.
        EnvTimeoutError: one did not answer within `step_timeout` seconds, or within `GRACE` after `hurry`.
    """

    def __init__(self, env_fns: Sequence[MakeEnv], *, step_timeout: float = 0.0) -> None:
        first = env_fns[0]()
        try:
            self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.DISABLED}
            self.render_mode = first.render_mode
            self.num_envs = len(env_fns)
            self.single_observation_space = first.observation_space
            self.single_action_space = first.action_space
            self.observation_space = batch_space(self.single_observation_space, self.num_envs)
            self.action_space = batch_space(self.single_action_space, self.num_envs)
        finally:
            first.close()
        self._timeout = step_timeout or math.inf
        self._hurried = False
        self._silent: set[int] = set()
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        # If nobody calls `close`, the interpreter would wait for the workers at exit, and they for it.
        self._end = Finalize(self, kill, args=(self._processes,), exitpriority=10)
        try:
            self._start(env_fns)
        except BaseException:
            self.close(at_once=True)
            raise

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Reset the environments in `options["reset_mask"]` [N], by default all."""
        options = dict(options or {})
        mask = options.pop("reset_mask", np.ones(self.num_envs, dtype=np.bool_))
        lanes = [int(lane) for lane in np.flatnonzero(mask)]
        seeds = seed if isinstance(seed, list) else [None if seed is None else seed + i for i in range(self.num_envs)]
        for lane in lanes:
            self._send(lane, ("reset", seeds[lane], options))
        infos: dict[str, Any] = {}
        for lane, info in self._answers(lanes, self._timeout):
            infos = self._add_info(infos, info, lane)
        return self._shared.copy(), infos

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Obs, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        for lane, action in enumerate(actions.tolist()):
            self._send(lane, ("step", action, None))
        rewards = np.zeros(self.num_envs)
        terminated, truncated = (np.zeros(self.num_envs, dtype=np.bool_) for _ in range(2))
        infos: dict[str, Any] = {}
        for lane, answer in self._answers(range(self.num_envs), self._timeout):
            rewards[lane], terminated[lane], truncated[lane], info = answer
            infos = self._add_info(infos, info, lane)
        return self._shared.copy(), rewards, terminated, truncated, infos

    def hurry(self) -> None:
        """Limit the current and all later calls to `GRACE` seconds. Safe to call from a signal handler."""
        self._hurried = True

    def close_extras(self, *, at_once: bool = False) -> None:
        """End the workers. Idle ones exit by themselves; a busy one is killed after its grace period."""
        try:
            for pipe in self._pipes:
                with contextlib.suppress(OSError):
                    pipe.send(("close", None, None))
                pipe.close()
            end = time.monotonic() + (_AT_ONCE if at_once else GRACE)
            for lane, process in enumerate(self._processes):
                if lane not in self._silent:
                    process.join(max(0.0, end - time.monotonic()))
        finally:
            self._end()

    def _start(self, env_fns: Sequence[MakeEnv]) -> None:
        context = multiprocessing.get_context()
        space = self.single_observation_space
        buffer = context.RawArray(ctypes.c_char, max(1, self.num_envs * _nbytes(space)))
        self._shared = _view(buffer, space, 0, self.num_envs)
        for lane, make in enumerate(env_fns):
            pipe, child_pipe = context.Pipe()
            self._pipes.append(pipe)
            # A forked worker inherits the run's ends of all pipes so far. Left open there, they would never close.
            inherited = list(self._pipes) if context.get_start_method() == "fork" else []
            process = context.Process(
                target=_work,
                name=f"environment-{lane}",
                args=(lane, CloudpickleWrapper(make), child_pipe, inherited, buffer, space),
                daemon=True,
            )
            process.start()
            self._processes.append(process)
            child_pipe.close()
        self._answers(range(self.num_envs), math.inf)

    def _send(self, lane: int, message: tuple[str, Any, Any]) -> None:
        try:
            self._pipes[lane].send(message)
        except OSError:
            raise self._death(lane) from None

    def _answers(self, lanes: Iterable[int], seconds: float) -> list[tuple[int, Any]]:
        """Return (lane, answer) for each of the `lanes`, in lane order."""
        waiting: dict[Any, int] = {self._pipes[lane]: lane for lane in lanes}
        answers: dict[int, Any] = {}
        faults: list[EnvError] = []
        remaining = seconds
        while waiting:
            ready = connection.wait(list(waiting), min(remaining, _SLICE))
            for lane in sorted(waiting[pipe] for pipe in ready):
                del waiting[self._pipes[lane]]
                try:
                    answers[lane] = self._receive(lane)
                except EnvError as fault:
                    faults.append(fault)
            if not ready:
                remaining = min(remaining - _SLICE, GRACE if self._hurried else math.inf)
            if remaining <= 0 and waiting:
                self._silent = set(waiting.values())
                bound = min(seconds, GRACE) if self._hurried else seconds
                raise EnvTimeoutError(min(self._silent), f"did not answer within {bound:g} seconds.")
        if faults:
            raise min(faults, key=lambda fault: fault.env)
        return sorted(answers.items())

    def _receive(self, lane: int) -> Any:
        try:
            is_fault, answer = self._pipes[lane].recv()
        except (EOFError, OSError):
            raise self._death(lane) from None
        if is_fault:
            raise EnvError(lane, answer)
        return answer

    def _death(self, lane: int) -> EnvError:
        process = self._processes[lane]
        process.join(1.0)
        code = process.exitcode
        if code is None:
            cause = "closed its pipe"
        elif code < 0:
            names = {int(number): number.name for number in signal.Signals}
            cause = f"was ended by {names.get(-code, f'signal {-code}')}"
        else:
            cause = f"ended with exit code {code}"
        return EnvError(lane, f"is gone: its process {cause}.")


def _nbytes(space: gymnasium.Space[Any]) -> int:
    return math.prod(space.shape or ()) * np.dtype(space.dtype).itemsize


def _view(buffer: Any, space: gymnasium.Space[Any], first: int, lanes: int) -> Obs:
    """Return the observations [lanes, ...] from lane `first` on, as a view of the buffer."""
    start, nbytes = first * _nbytes(space), lanes * _nbytes(space)
    shared = np.frombuffer(memoryview(buffer), np.uint8, nbytes, start)
    return shared.view(np.dtype(space.dtype)).reshape(lanes, *(space.shape or ()))


def kill(processes: Sequence[BaseProcess]) -> None:
    """Kill those that still run, and wait for their end."""
    for process in processes:
        if process.is_alive():
            process.kill()
    for process in processes:
        process.join(1.0)


# In a worker ----------------------------------------------------------------------------------------------------------


def _work(
    lane: int,
    make: CloudpickleWrapper,
    pipe: Connection,
    inherited: Sequence[Connection],
    buffer: Any,
    space: gymnasium.Space[Any],
) -> None:
    """Run lane number `lane` until its pipe closes."""
    end_with_parent()
    for end in inherited:
        end.close()
    try:
        env = make.fn()
        if env.observation_space != space:
            raise EnvError(lane, f"observes {env.observation_space}, and the first environment {space}.")
    except EnvError as fault:
        _answer(pipe, fault.problem, is_fault=True)
        return
    except (Exception, SystemExit) as error:
        _answer(pipe, f"could not be made: {describe(error)}", is_fault=True)
        return
    if "torch" in sys.modules:
        # torch's threads do not survive a fork, and a worker has at most one core.
        sys.modules["torch"].set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        _answer(pipe, None)
        _serve(env, lane, pipe, buffer)
    with contextlib.suppress(Exception):
        env.close()


def _serve(env: gymnasium.Env[Any, Any], lane: int, pipe: Connection, buffer: Any) -> None:
    own = _view(buffer, env.observation_space, lane, 1)
    answer: Any
    while True:
        command, argument, options = pipe.recv()
        try:
            if command == "close":
                return
            if command == "reset":
                own[0], answer = env.reset(seed=argument, options=options)
            else:
                own[0], *answer = env.step(np.int64(argument))
        except EnvError as fault:
            _answer(pipe, fault.problem, is_fault=True)
        else:
            _answer(pipe, answer)


def _answer(pipe: Connection, answer: Any, *, is_fault: bool = False) -> None:
    try:
        pipe.send((is_fault, answer))
    except OSError:
        raise
    except Exception as error:
        pipe.send((True, f"gave an info that cannot be sent to another process: {describe(error)}"))


def end_with_parent() -> None:
    """Let this process end when the one that forked it ends, however that ends, and leave signals to that one."""
    for name in _SIGNALS:
        if hasattr(signal, name):
            # Not SIG_IGN: programs started by the environment would inherit it.
            signal.signal(getattr(signal, name), lambda number, frame: None)
    if sys.platform == "linux":
        # Works even while an environment blocks Python's other threads.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_follow_parent, name="follow-parent", daemon=True).start()


def _follow_parent() -> None:
    """End this process when the main one ends, even if its environment hangs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
