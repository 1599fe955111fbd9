"""`WandBRecord`: a run at Weights & Biases, or in files for `wandb sync`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Where nothing is set, reports of W&B's own errors are not sent.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

from cartpole_dqn import CartpoleDqnError, PointRow, RemoteRecord, load


class WandBRecord(RemoteRecord):
    """A run at Weights & Biases.

    * History: a row for the points of a moment. `step`, the x axis, is the run's; W&B's own counts rows.
    * Configuration: nested as in `config.toml`, with dots.
    * Media: at the end `curve`, and as an option `recording`, which are in the summary.

    W&B itself keeps what it could not upload in the run's folder, for `wandb sync`.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        super().__init__(options, folder)
        self._run: Any = None
        self._rows = 0

    def open(self, key: str | None, config: Mapping[str, Any]) -> str:
        """Start the run, or resume it."""
        key = key or secrets.token_hex(4)
        self._run = wandb.init(
            project=self.options["project"],
            id=key,
            name=self.folder.name,
            dir=self.folder,
            mode=self.options["mode"] or None,
            resume="allow",
            settings=wandb.Settings(console="off", init_timeout=30, silent=True),
        )
        self._run.config.update(dict(config), allow_val_change=True)
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        return key

    def send(self, rows: Sequence[PointRow]) -> None:
        """Log rows."""
        for row in rows:
            if row.number >= self._rows:  # after an exception some are there
                self._run.log({"step": row.step, **dict(row.points)}, step=row.number)
                self._rows = row.number + 1

    def close(self, reason: str) -> None:
        """Send the curve, and the recording where that is wanted."""
        for name, path in _drawn(self.folder, self.folder / "wandb", self.options["record"]).items():
            self._run.summary[name] = wandb.Image(str(path)) if name == "curve" else wandb.Video(str(path))
        self._run.summary["ended"] = reason
        self._run.finish(exit_code=int(reason not in ("done", "solved")))


def _drawn(folder: Path, out: Path, record: bool) -> dict[str, Path]:
    """Return pictures of the run, drawn into `out`: the curve, and a recording of the best model."""
    try:
        run = load(folder)
        drawn = {"curve": Path(run.plot(out / "curve.png"))}
        return {**drawn, "recording": Path(run.record(out / "record.gif"))} if record else drawn
    except CartpoleDqnError as error:
        print(f"no pictures: {error}")
        return {}
