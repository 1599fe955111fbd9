"""Follows one trial from its start to its end, across workers and nodes that are lost.

* `Follower`: a thread of its own for each trial: it has a worker run it, and brings back what the run leaves.
* `Rules`: what all followers of a sweep go by.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn import CartpoleDqnError, RunError, Trial, TrialEnd
from cartpole_dqn_ray.run_files import FileEntry, Receiver, Snapshot
from cartpole_dqn_ray.seats import ClosingError, Seat, Seats
from cartpole_dqn_ray.worker import Report

PIECE = 8 << 20
"""Bytes of a file that pass through the object store at once."""

_LOOK = 1.0
"""Seconds for which a worker waits for news before it answers."""
_OUT_OF_REACH = 60.0
"""Seconds after which a worker that does not answer, and is not known to be dead, is given up."""
_LOCKED = 90.0
"""Seconds for which a trial that was moved may meet its former process at work in the same folder."""


class _LostError(Exception):
    """The process of the run is gone; neither the worker nor the trial is."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What all followers of a sweep go by."""

    folder: Path
    """The engine's own, for files on their way and for what failed runs said."""
    current: str
    """The current folder of the sweep's process."""
    max_moves: int
    stop_seconds: float
    say: Callable[[str], None]


class Follower(threading.Thread):
    """Has a trial run, and tells `ended` how that went.

    Args:
        trial: its folder absolute.
        seats: where workers come from.
        rules: of the sweep.
        ended: called from this thread, once; not where the engine closes first.
    """

    def __init__(self, trial: Trial, seats: Seats, rules: Rules, ended: Callable[[TrialEnd], None]) -> None:
        super().__init__(name=f"follow-{trial.name}", daemon=True)
        self.place = ""
        self._trial = trial
        self._seats = seats
        self._rules = rules
        self._ended = ended
        self._moves = 0
        self._moved_at = 0.0

    def run(self) -> None:
        """Follow the trial; whatever is raised is the trial's failure, not the sweep's."""
        try:
            end = self._follow()
        except ClosingError:
            return
        except CartpoleDqnError as error:
            end = self._failed(str(error))
        except OSError as error:
            end = self._failed(f"its files could not be kept: {error.strerror or error}.")
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            end = self._failed(f"the sweep engine ray failed: {type(error).__name__}: {said}")
        self.place = ""
        self._ended(end)

    def _follow(self) -> TrialEnd:
        import ray

        while True:
            seat = self._seats.take()
            if seat is None:
                return TrialEnd(self._trial.name, "interrupted")
            self.place = seat.node.name
            try:
                end = self._on(seat)
                self._seats.put_back(seat)
                if end is not None:
                    return end
                self._seats.closing.wait(2)
                continue
            except _LostError as error:
                self._seats.put_back(seat)
                what = str(error)
            except (CartpoleDqnError, OSError):  # the trial's failure: nothing is wrong with the worker
                self._ask(seat.actor.finish.remote())
                self._seats.put_back(seat)
                raise
            except ray.exceptions.RayTaskError:
                self._seats.drop(seat)
                raise
            except ray.exceptions.RayError:
                self._seats.drop(seat)
                what = f"its worker on {seat.node.name} is gone"
            if self._seats.stopping.is_set():
                return TrialEnd(self._trial.name, "interrupted", f"{what}: it goes on from its last checkpoint.")
            self._move(what)

    def _move(self, what: str) -> None:
        self._moves += 1
        self._moved_at = time.monotonic()
        self.place = ""
        if self._moves > self._rules.max_moves:
            raise RunError(
                f"{what}, and it was moved {self._rules.max_moves} times before, which is the most that the option "
                f"max_moves allows. `cartpole-dqn sweep --resume` goes on with it."
            )
        # The nodes are looked at anew, so that the trial is not sent where it came from.
        self._seats.nodes.refresh(at_once=True)
        self._rules.say(f"{self._trial.name}: {what}; it goes on from its last checkpoint.")

    def _on(self, seat: Seat) -> TrialEnd | None:
        """Run the trial, or what is left of it, on a worker; None where the folder is still another process's."""
        direct, name = seat.node.direct, self._trial.name
        self._ask(seat.actor.prepare.remote(name, str(self._trial.folder) if direct else None))
        if not direct:
            self._send(seat)
        clear = self._moves > 0
        self._ask(seat.actor.begin.remote(self._trial, clear=clear, beside=self._rules.current))
        report, killed = self._until_ended(seat, direct)
        assert report.ended is not None
        self._ask(seat.actor.finish.remote())
        stopping = self._seats.stopping.is_set()
        if killed and report.ended != 0:
            late = f"it did not end within {self._rules.stop_seconds:g} seconds and was killed"
            return TrialEnd(name, "interrupted", f"{late}: it goes on from its last checkpoint.")
        end = TrialEnd.of_process(name, report.ended, report.said)
        if end.state == "interrupted" and not stopping:
            raise _LostError(f"its process on {seat.node.name} was asked to end, and not by the sweep")
        if end.state == "failed" and report.ended < 0:
            raise _LostError(f"on {seat.node.name}, {end.error.rstrip('.')}")
        if end.state == "failed" and report.ended == 2 and self._moves and time.monotonic() - self._moved_at < _LOCKED:
            return None
        if end.state == "failed":
            self._keep(report.said)
        return end

    def _until_ended(self, seat: Seat, direct: bool) -> tuple[Report, bool]:
        """Return the last report, and whether the run was killed because it did not end when it was asked to."""
        confirmed, asked, killed = True, 0.0, False
        while True:
            report = self._ask_again(seat, confirmed)
            confirmed = direct or not report.entries or self._bring_back(seat, report)
            if report.ended is not None:
                return report, killed
            if self._seats.stopping.is_set() and not asked:
                asked = time.monotonic()
                self._ask(seat.actor.stop.remote())
            elif asked and not killed and time.monotonic() - asked > self._rules.stop_seconds:
                killed = True
                self._ask(seat.actor.kill.remote())

    def _ask(self, reference: Any) -> Any:
        return self._seats.ask(reference)

    def _ask_again(self, seat: Seat, confirmed: bool) -> Report:
        """Return the worker's next report; one that is out of reach for a moment is asked again."""
        import ray

        until = time.monotonic() + _OUT_OF_REACH
        while True:
            try:
                report: Report = self._ask(seat.actor.report.remote(_LOOK, confirmed))
                return report
            except ray.exceptions.ActorUnavailableError:
                # What it answered may be lost: then its files are not in place.
                confirmed = False
                if time.monotonic() > until:
                    raise
                self._seats.closing.wait(0.5)

    # Files

    def _send(self, seat: Seat) -> None:
        """Send the worker what there is of the run."""
        if not (self._trial.folder / "config.toml").is_file():
            return
        with Snapshot(self._trial.folder, {}) as snapshot:
            self._ask(seat.actor.expect.remote(snapshot.entries, snapshot.names))
            for index, entry in enumerate(snapshot.entries):
                for offset in range(0, entry.size, PIECE):
                    self._ask(seat.actor.take.remote(index, snapshot.read(index, offset, PIECE)))

    def _bring_back(self, seat: Seat, report: Report) -> bool:
        """Put a report's files in place; return False where they changed while they were read."""
        staging = self._rules.folder / "incoming" / self._trial.name
        receiver = Receiver(self._trial.folder, staging, report.entries, report.names)
        try:
            for index, entry in enumerate(report.entries):
                for piece in self._pieces(seat, index, entry):
                    receiver.append(index, piece)
            receiver.install()
        except CartpoleDqnError:
            if report.ended is not None:
                raise
            return False
        return True

    def _pieces(self, seat: Seat, index: int, entry: FileEntry) -> Iterator[bytes]:
        """Yield a file's pieces, the next one on its way while one is written."""
        coming = None
        for offset in range(0, entry.size, PIECE):
            here = coming or seat.actor.read.remote(index, offset, PIECE)
            coming = seat.actor.read.remote(index, offset + PIECE, PIECE) if offset + PIECE < entry.size else None
            yield self._ask(here)

    # Ends

    def _failed(self, error: str) -> TrialEnd:
        return TrialEnd(self._trial.name, "failed", error)

    def _keep(self, said: str) -> None:
        """Keep what a failed run said; a log that cannot be written must not hide what it is about."""
        try:
            (self._rules.folder / f"{self._trial.name}.log").write_text(said, encoding="utf-8")
        except OSError as error:
            self._rules.say(f"{self._trial.name}: what it said could not be kept: {error.strerror or error}.")
