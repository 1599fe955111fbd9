"""What the displays say about a run, as text without styles.

* `plain_line`: the run in one line. `opening`, `summary_lines`: its beginning and its end. `figures_of`: its figures.
* `describe_evaluating`, `evaluation_line`, `describe_evaluation`, `describe_checkpoint`: an event in a few words.
* `pace`, `reached`, `needs`, `stopped`, `verdict`: parts of sentences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cartpole_dqn.contracts.events import Checkpoint, Evaluating, Evaluation, RunStarted
from cartpole_dqn.observers.display.tracker import Snapshot
from cartpole_dqn.text.figures import NOTHING, compact, count_of, duration, number, one_line, score, size, spread

Figure = tuple[str, str]
"""A label and a value, as texts."""

# Figures with a place of their own; others that the agent reports are listed by their keys.
_KNOWN_METRICS = ("loss", "q_mean")
_KNOWN_STATUS = ("epsilon", "lr", "replay_size", "replay_capacity", "updates")
_NOT_IN_LINES = {"learning rate", "updates", "best return", "replay", "memory", "saved at"}


def plain_line(snapshot: Snapshot) -> str:
    """Return the run's state as one line, without unknown figures."""
    step = (snapshot.progress or snapshot.started).step
    of_total = ""
    if snapshot.total is not None:
        of_total = f" of {snapshot.total:,} ({math.floor(100 * snapshot.done / max(1, snapshot.total))}%)"
    parts = [f"step {step:,}{of_total}"]
    hidden = _NOT_IN_LINES
    if snapshot.counts_episodes:
        parts = [f"step {step:,}", f"episode {snapshot.done:,}{of_total}"]
        hidden = hidden | {"episode"}
    figures = figures_of(snapshot)
    parts += [f"{label} {value}" for label, value in figures if value != NOTHING and label not in hidden]
    return f"{duration(snapshot.elapsed)}  {', '.join([*parts, *pace(snapshot)])}"


def opening(event: RunStarted) -> str:
    """Return what begins, in one line."""
    limits = ((event.steps, "steps"), (event.episodes, "episodes"))
    parts = [
        next((f"{count:,} {unit}" for count, unit in limits if count is not None), ""),
        f"replay {size(event.replay_bytes)}" if event.replay_bytes else "",
        f"{event.num_envs} environments" if event.num_envs > 1 else "",
        f"going on from step {event.step:,}" if event.step else "",
        f"in {event.folder}" if event.folder else "",
    ]
    return one_line(f"{event.name}: {', '.join(filter(None, parts))}")


def summary_lines(snapshot: Snapshot, *, scored: bool = False) -> list[str]:
    """Return the summary of a run that has ended: whether it is solved, or its best score, then counts and times.

    The score is left out if a panel above has it (`scored`).
    """
    run_ended = snapshot.ended
    assert run_ended is not None
    progress = run_ended.progress
    solved, best, needed = snapshot.solved, snapshot.best, snapshot.started.solved_at
    lines = []
    if solved is not None and not scored:
        lines.append(f"SOLVED: {reached(solved)}")
    elif best is not None and not scored:
        lines.append(f"best: {reached(best)}{needs(needed) if needed is not None and best.mean < needed else ''}")
    if not snapshot.over:
        lines.append(stopped(snapshot))
    rate = f" at {number(progress.step / progress.seconds, 3)} steps/s" if progress.seconds > 0 else ""
    return [
        *lines,
        f"{count_of(progress.step, 'step')}, {count_of(progress.episode, 'episode')}; training "
        f"{duration(progress.seconds)}{rate}, evaluation {duration(run_ended.evaluation_seconds)}, checkpoints "
        f"{duration(run_ended.checkpoint_seconds)}",
    ]


def figures_of(snapshot: Snapshot) -> list[Figure]:
    """Return labels and values by importance; the agent's own figures come last."""
    progress, returns = snapshot.progress, snapshot.returns
    metrics: Mapping[str, Any] = {} if progress is None else progress.metrics
    status: Mapping[str, Any] = {} if progress is None else progress.status
    figures = [
        ("last return", number(returns.last)),
        ("mean of 20", score(returns.mean_20)),
        ("mean of 100", score(returns.mean_100)),
        ("epsilon", number(status.get("epsilon"), 3)),
        ("loss", number(metrics.get("loss"), 3)),
        ("mean Q", number(metrics.get("q_mean"), 3)),
        ("episode", number((progress or snapshot.started).episode)),
        ("updates", number(status.get("updates"))),
        ("learning rate", number(status.get("lr"), 3)),
        ("best return", number(returns.best)),
        *_replay(snapshot, status),
        ("saved at", NOTHING if snapshot.checkpoint is None else f"{snapshot.checkpoint.step:,}"),
    ]
    extras = [(key, value) for key, value in status.items() if key not in _KNOWN_STATUS]
    extras += [(key, value) for key, value in metrics.items() if key not in _KNOWN_METRICS]
    return figures + [(one_line(str(key)).replace("_", " "), number(value, 3)) for key, value in extras]


def describe_evaluating(event: Evaluating, needed: float | None = None) -> str:
    """Return the progress of an evaluation: "confirming 34/100, mean 498.2, needs 475"."""
    doing = "confirming" if event.stream == "confirm" else "evaluating"
    mean = "" if event.mean is None else f", mean {score(event.mean)}"
    return f"{doing} {event.done:,}/{event.episodes:,}{mean}{needs(needed)}"


def evaluation_line(event: Evaluating, seconds: float) -> str:
    """Return the progress of an evaluation after so many seconds, with the time left once an episode has ended."""
    if not event.done:
        return f"{describe_evaluating(event)}, the first episodes are running"
    return f"{describe_evaluating(event)}, {duration(seconds * (event.episodes - event.done) / event.done)} left"


def describe_evaluation(event: Evaluation, needed: float | None = None) -> str:
    """Return an evaluation or a confirmation in one line."""
    kind = "confirmation" if event.stream == "confirm" else "evaluation"
    if needed is not None and event.stream == "confirm":
        end = ": SOLVED" if event.mean >= needed else needs(needed)
    else:
        end = ", the best so far" if event.best else ""
    return (
        f"{kind} at step {event.step:,}: mean {spread(event.mean, event.std)} over {len(event.returns)} episodes, "
        f"{event.seconds:.1f} s{end}"
    )


def describe_checkpoint(event: Checkpoint) -> str:
    """Return a checkpoint in one line."""
    return f"checkpoint at step {event.step:,}: {size(event.nbytes)}, {event.seconds:.1f} s"


def verdict(mean: float, episodes: int, needed: float | None, confirming: int) -> str:
    """Return "SOLVED", or what is needed: "needs 475", "needs 475 over 100 episodes"; "" without a threshold."""
    if needed is None:
        return ""
    if mean < needed:
        return f"needs {number(needed)}"
    return "SOLVED" if episodes >= confirming else f"needs {number(needed)} over {confirming:,} episodes"


def pace(snapshot: Snapshot) -> list[str]:
    """Return the time left and the steps per second, of those that are known, while the run goes on."""
    if not snapshot.running:
        return []
    left = [] if snapshot.remaining is None else [f"{duration(snapshot.remaining)} left"]
    return left + ([] if snapshot.rate is None else [f"{number(snapshot.rate, 3)} steps/s"])


def needs(needed: float | None) -> str:
    """Return ", needs 475"; "" without a threshold."""
    return "" if needed is None else f", needs {number(needed)}"


def reached(evaluation: Evaluation) -> str:
    """Return a score with where it was reached: "499.2 ± 7.6 over 100 episodes at step 5,000"."""
    return f"{spread(evaluation.mean, evaluation.std)}{episodes_at(evaluation)}"


def episodes_at(evaluation: Evaluation) -> str:
    """Return " over 100 episodes at step 5,000"."""
    return f" over {len(evaluation.returns)} episodes at step {evaluation.step:,}"


def stopped(snapshot: Snapshot) -> str:
    """Return why a run was stopped, and where it was saved: "stopped (Ctrl-C), saved at step 500"."""
    reason = "" if snapshot.ended is None else snapshot.ended.reason
    cause = "Ctrl-C" if reason == "SIGINT" else one_line(reason)
    return f"stopped ({cause})" + (f", saved at step {snapshot.checkpoint.step:,}" if snapshot.checkpoint else "")


def _replay(snapshot: Snapshot, status: Mapping[str, Any]) -> list[Figure]:
    """Return the transitions held, of how many, and the memory that they use."""
    count, capacity = status.get("replay_size"), status.get("replay_capacity")
    if not isinstance(count, int | float) or not isinstance(capacity, int | float) or capacity <= 0:
        return [("replay", NOTHING)]
    figures = [("replay", f"{compact(count)} / {compact(capacity)}")]
    nbytes = round(snapshot.started.replay_bytes * min(1.0, count / capacity))
    return figures + [("memory", size(nbytes))] * bool(snapshot.started.replay_bytes)
