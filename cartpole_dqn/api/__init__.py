"""Use runs from scripts and notebooks.

* `runs`: `train` configures a run and trains, `load` opens a run folder, and a `Run` is used.
* `studies`: `sweep` trains settings times seeds, `compare` compares runs. Both return a `Study`.
* `calls`: what every call of them does.

In a notebook the display is below the cell, and interrupting the kernel stops the run cleanly. After each call torch
has as many threads as before.
"""

from cartpole_dqn.api.runs import Run, load, train
from cartpole_dqn.api.studies import Study, compare, sweep

__all__ = ["Run", "Study", "compare", "load", "sweep", "train"]
