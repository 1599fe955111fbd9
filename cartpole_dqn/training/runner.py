"""The training loop.

* `Runner`: collects steps, lets the agent learn, calls the observers, evaluates and saves.
* `Hooks`: the functions that evaluate and save.

This module uses interfaces and events only: no plugins, displays or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.collector import Collector, Ending
from cartpole_dqn.contracts.events import (
    Checkpoint,
    Episode,
    Evaluation,
    Glimpse,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
)
from cartpole_dqn.contracts.parts import Agent, Policy, State, Transition
from cartpole_dqn.contracts.seeding import Stream
from cartpole_dqn.envs.guard import EnvTimeoutError
from cartpole_dqn.errors import DivergedError, RunError, error_line, place_of
from cartpole_dqn.runs.state_tree import bytes_of, find_not_finite
from cartpole_dqn.system import require_memory
from cartpole_dqn.training.observer_group import ObserverGroup
from cartpole_dqn.training.selection import Selection


@dataclass(kw_only=True)
class Hooks:
    """The functions that evaluate and save; each may be missing."""

    evaluate: Callable[[Policy, Stream, int], Evaluation | None] | None = None
    """(policy, kind of held-out seeds, step) -> evaluation, or None if it was stopped."""
    keep_best: Callable[[Policy, Evaluation], None] | None = None
    save: Callable[[State, State], Checkpoint] | None = None
    """(state, replay state) -> the checkpoint."""
    glimpse: Callable[[int, Transition, Policy], Glimpse] | None = None
    """(step, a transition of the first lane, policy) -> what the agent saw."""


_GLIMPSE_SECONDS = 0.5


class Runner:
    """Trains an agent until the schedule ends, a stop is requested or an exception is raised.

    Args:
        config: says when to evaluate, save and stop.
        agent: acts and learns.
        collector: steps the environments.
        hooks: the functions that evaluate and save.
        observers: receive the events.
        clock: seconds, monotonic.
        solved_at: the mean return that counts as solved; None for none.
        folder: the run's folder, for observers.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        agent: Agent,
        collector: Collector,
        hooks: Hooks,
        observers: ObserverGroup,
        clock: Callable[[], float],
        solved_at: float | None = None,
        folder: str | None = None,
    ) -> None:
        self._config = config
        self._agent = agent
        self._collector = collector
        self._hooks = hooks
        confirmations = None if config.evaluation.until_solved else config.evaluation.confirmations
        self._selection = Selection(solved_at=solved_at, confirmations=confirmations)
        self._observers = observers
        self._clock = clock
        self._solved_at = solved_at
        self._folder = folder
        self._step = 0
        self._episode = 0
        self._collected = config.env.num_envs  # steps of the last collection
        self._learned = False  # whether an update was made
        self._closed = False
        self._figures: Mapping[str, float | str] = {}
        self._metrics: dict[str, float] = {}
        self._evaluated_at = -1
        self._seconds = {"training": 0.0, "evaluation": 0.0, "checkpoint": 0.0}
        self._saved_at = (-1, 0.0)  # step, and seconds of training
        self._resumed = False
        self._stop_reason = ""
        self._last_transition: Transition | None = None  # the last step of the first lane
        self._next_glimpse = 0.0

    @property
    def step(self) -> int:
        """Environment steps so far, over all lanes."""
        return self._step

    @property
    def stop_reason(self) -> str:
        """Why the run is stopping; "" if it is not."""
        return self._stop_reason

    def request_stop(self, reason: str) -> None:
        """Stop cleanly after the current step, which now has a time limit. Safe in a signal handler."""
        self._stop_reason = self._stop_reason or reason
        self._collector.hurry()

    def run(self) -> RunEnded:
        """Train to the end.

        Raises:
            RunError: the agent or an environment failed. The last checkpoint remains.
        """
        config = self._config
        started = RunStarted(
            name=f"{config.agent['name']} on {config.env.id}, {config.obs}, seed {config.seed}",
            folder=self._folder,
            steps=config.steps,
            episodes=config.episodes,
            step=self._step,
            episode=self._episode,
            num_envs=config.env.num_envs,
            replay_bytes=self._agent.nbytes,
            solved_at=self._solved_at,
            evaluate_every=config.evaluation.every,
        )
        self._observers.tell("run_started", started)
        try:
            run_ended = self._run()
        except BaseException as error:
            self._observers.tell("run_failed", RunFailed(self._step, error))
            is_failure = isinstance(error, Exception | SystemExit)  # a part may call sys.exit
            self.close(at_once=not is_failure)
            if not is_failure:
                raise
            problem = error_line(error)
            if isinstance(error, SystemExit):
                problem = f"{place_of(error) or 'a part'} called sys.exit({error.code!r})"
            text = f"the run failed at step {self._step}: {problem.rstrip('.')}. {self._last_checkpoint()}"
            raise RunError(text.rstrip()) from error
        self.close()
        self._observers.tell("run_ended", run_ended)
        if not self._learned and run_ended.reason in ("done", "solved"):
            self._observers.warn(f"no update was made in {self._step:,} steps: the agent has learned nothing.")
        return run_ended

    def close(self, *, at_once: bool = False) -> None:
        """Close the collector; `run` does so itself. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._collector.close(at_once=at_once)
        except Exception as error:
            self._observers.warn(f"the environments could not be closed: {error_line(error)}")

    def state_dict(self) -> State:
        """Return the state of the run without stored transitions. Calling it has no effect on the run."""
        return {
            "step": self._step,
            "collected": self._collected,
            "episode": self._episode,
            "learned": self._learned,
            "metrics": dict(self._metrics),
            "evaluated_at": self._evaluated_at,
            "selection": self._selection.state_dict(),
            "seconds": dict(self._seconds),
            "lanes": self._collector.state_dict(),
            "agent": self._agent.state_dict(),
            "observers": self._observers.state_dict(),
        }

    def load_state_dict(self, state: State, replay: State | None) -> list[int]:
        """Restore a saved state.

        Args:
            state: from `state_dict`.
            replay: from the agent's `replay_state_dict`; None if it was not saved.

        Returns:
            The lanes whose episode could not be restored.
        """
        try:
            return self._load(state, replay)
        except BaseException:
            self.close(at_once=True)
            raise

    def _load(self, state: State, replay: State | None) -> list[int]:
        self._step = int(state["step"])
        self._collected = int(state["collected"])
        self._episode = int(state["episode"])
        self._learned = bool(state["learned"])
        self._metrics = {str(k): float(v) for k, v in state["metrics"].items()}
        self._evaluated_at = int(state["evaluated_at"])
        self._selection.load_state_dict(state["selection"])
        if self._config.evaluation.until_solved and self._selection.solved_step is not None:
            self._stop_reason = "solved"  # The earlier session was killed before it could end so.
        self._seconds = {k: float(v) for k, v in state["seconds"].items()}
        self._saved_at = (self._step, self._seconds["training"])
        self._agent.load_state_dict(state["agent"])
        if replay is not None:
            require_memory(
                bytes_of(replay),
                who="the saved replay, which is copied into the agent's,",
                mend="Close other programs, or resume on a machine with more memory.",
            )
            self._agent.load_replay_state_dict(replay)
        lost = self._collector.load_state_dict(state["lanes"])
        for env in lost:
            self._agent.break_lane(env)
        self._observers.load_state_dict(state["observers"])
        self._resumed = True
        return lost

    # The loop ---------------------------------------------------------------------------------------------------------

    def _run(self) -> RunEnded:
        try:
            if not self._resumed:
                self._collector.start()
            self._loop()
        except EnvTimeoutError as silence:
            if not self._stop_reason:
                raise
            # The current step does not finish in time, and half a step cannot be saved.
            self._observers.warn(f"{silence} {self._last_checkpoint()}")
            return self._run_ended()
        return self._finish()

    def _loop(self) -> None:
        if self._resumed and self._evaluated_at != self._step and self._crossed(self._config.evaluation.every):
            # The earlier session stopped before it finished this evaluation.
            self._evaluate()
        while not self._stop_reason and not self._done():
            began = self._clock()
            endings = self._advance()
            self._seconds["training"] += self._clock() - began
            progress = self._progress()
            self._observers.tell("updated", progress)
            self._tell_glimpse()
            for ending in endings:
                self._tell_ending(ending, progress)
            if endings:
                began = self._clock()
                self._collector.begin([ending.env for ending in endings])
                self._seconds["training"] += self._clock() - began
            if self._crossed(self._config.evaluation.every):
                self._evaluate()
            if self._save_is_due():
                self._save()

    def _advance(self) -> Sequence[Ending]:
        collected = self._collector.collect(self._agent)
        self._collected = len(collected.transitions)
        self._figures = collected.figures
        for env in collected.broken:
            self._agent.break_lane(env)
        if not collected.transitions:
            return ()
        self._last_transition = next((t for t in reversed(collected.transitions) if t.env == 0), None)
        self._agent.observe(collected.transitions)
        figures = self._agent.learn()
        if figures is not None:
            self._learned = True
            self._metrics = dict(figures)
            for name, value in figures.items():
                if name.endswith("loss") and not math.isfinite(value):
                    raise DivergedError(f"the agent's {name} became {value}.")
        self._step += self._collected
        return collected.endings

    def _finish(self) -> RunEnded:
        evaluates = not self._stop_reason and bool(self._config.evaluation.every) and self._evaluated_at != self._step
        if evaluates:
            self._evaluate()
        # A checkpoint of the last step would have the state before this evaluation.
        if evaluates or self._saved_at[0] != self._step:
            self._save()
        return self._run_ended()

    def _run_ended(self) -> RunEnded:
        return RunEnded(
            reason=self._stop_reason or "done",
            progress=self._progress(),
            best=self._selection.best,
            evaluation_seconds=self._seconds["evaluation"],
            checkpoint_seconds=self._seconds["checkpoint"],
            folder=self._folder,
            solved_step=self._selection.solved_step,
        )

    def _evaluate(self) -> None:
        if self._hooks.evaluate is None:
            return
        policy = self._agent.policy()
        evaluation = self._play(policy, stream=Stream.SELECT)
        if evaluation is None:
            return
        confirmation = None
        if self._selection.wants_confirmation(evaluation):
            confirmation = self._play(policy, stream=Stream.CONFIRM)
            if confirmation is None:
                return
        self._evaluated_at = self._step
        verdict = self._selection.decide(evaluation, confirmation)
        evaluation = replace(evaluation, best=verdict.best)
        if verdict.best and self._hooks.keep_best is not None:
            _require_finite("policy", policy.state_dict())
            self._hooks.keep_best(policy, evaluation)
        self._observers.tell("evaluated", evaluation)
        if confirmation is not None:
            self._observers.tell("evaluated", replace(confirmation, best=verdict.solved and verdict.best))
        if verdict.solved and self._config.evaluation.until_solved:
            self.request_stop("solved")

    def _play(self, policy: Policy, *, stream: Stream) -> Evaluation | None:
        assert self._hooks.evaluate is not None
        began = self._clock()
        try:
            evaluation = self._hooks.evaluate(policy, stream, self._step)
        except Exception as error:
            raise RunError(f"in an evaluation: {error_line(error)}").with_traceback(error.__traceback__) from error
        self._seconds["evaluation"] += self._clock() - began
        return evaluation

    def _save(self) -> None:
        if self._hooks.save is None:
            return
        began = self._clock()
        state = self.state_dict()
        _require_finite("agent", state["agent"])
        checkpoint = self._hooks.save(state, self._agent.replay_state_dict())
        self._seconds["checkpoint"] += self._clock() - began
        self._saved_at = (self._step, self._seconds["training"])
        self._observers.tell("checkpoint_written", checkpoint)

    def _save_is_due(self) -> bool:
        if self._saved_at[0] == self._step:
            return False
        seconds = self._config.checkpoint.every_seconds
        by_time = seconds > 0 and self._seconds["training"] - self._saved_at[1] >= seconds
        return by_time or self._crossed(self._config.checkpoint.every_steps)

    def _crossed(self, every: int) -> bool:
        """Return whether the last collection reached a multiple of `every`."""
        return every > 0 and self._step // every > (self._step - self._collected) // every

    def _done(self) -> bool:
        steps, episodes = self._config.steps, self._config.episodes
        return (steps is not None and self._step >= steps) or (episodes is not None and self._episode >= episodes)

    # Ends -------------------------------------------------------------------------------------------------------------

    def _last_checkpoint(self) -> str:
        if self._hooks.save is None:
            return ""
        step = self._saved_at[0]
        return "No checkpoint was written yet." if step < 0 else f"The last checkpoint is of step {step}."

    # Events -----------------------------------------------------------------------------------------------------------

    def _progress(self) -> Progress:
        status = {**self._agent.status(), **self._figures}
        return Progress(self._step, self._episode, self._seconds["training"], self._metrics, status)

    def _tell_glimpse(self) -> None:
        now = self._clock()
        if now < self._next_glimpse or self._hooks.glimpse is None or self._last_transition is None:
            return
        self._next_glimpse = now + _GLIMPSE_SECONDS
        if self._observers.want_glimpses:
            # The policy is a copy, so that looking changes nothing in the agent.
            self._observers.tell(
                "glimpsed", self._hooks.glimpse(self._step, self._last_transition, self._agent.policy())
            )

    def _tell_ending(self, ending: Ending, progress: Progress) -> None:
        self._episode += 1
        episode = Episode(
            episode=self._episode,
            step=self._step,
            env=ending.env,
            seed=ending.seed,
            episode_return=ending.episode_return,
            length=ending.length,
            terminated=ending.terminated,
            progress=replace(progress, episode=self._episode),
        )
        self._observers.tell("episode_ended", episode)


def _require_finite(what: str, state: State) -> None:
    """Raise `DivergedError` rather than overwrite good weights with some that are not finite."""
    place = find_not_finite(state)
    if place is not None:
        raise DivergedError(
            f"the {what}'s {place} holds numbers that are not finite, so it was not saved: the learning rate may be "
            f"too high."
        )
