"""A sweep's table and its lines: nothing higher or wider than the terminal, and nobody forgotten."""

from __future__ import annotations

import io
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cartpole_dqn.contracts.sweep_engine import Trial
from cartpole_dqn.runs.metrics import RunFigures
from cartpole_dqn.studies.sweep import SweepView
from cartpole_dqn.studies.sweep_plan import SweepTrial
from cartpole_dqn.studies.sweep_space import Setting
from cartpole_dqn.views.sweep_table import PlainSweep, sweep_table, watching


def trial(name: str, state: str, step: int = 0, **changes: object) -> SweepTrial:
    fields = {
        "run": Trial(name=name, config="", folder=Path(name)),
        "setting": Setting(),
        "seed": 0,
        "state": state,
        "progress": RunFigures(step=step, episode=step // 10, last=step / 3 if step else None, best=None),
        "steps": 3000,
        "episodes": None,
        "seconds": step / 100,
    }
    return SweepTrial(**{**fields, **changes})  # type: ignore[arg-type]


def drawn(view: SweepView, width: int, height: int, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(sweep_table(view, 75.0, console.options))
    return captured.get().splitlines()


STATES = ("waiting", "running", "done", "failed", "interrupted")
views = st.builds(
    lambda states, names, more: SweepView(
        tuple(trial(f"{i}-{name}", state, i * 7) for i, (state, name) in enumerate(zip(states, names, strict=True))),
        len(states) + more,
    ),
    *[
        st.shared(st.integers(0, 30), key="n").flatmap(
            lambda n: st.lists(st.sampled_from(STATES), min_size=n, max_size=n)
        )
    ],
    st.shared(st.integers(0, 30), key="n").flatmap(lambda n: st.lists(st.text(max_size=40), min_size=n, max_size=n)),
    st.integers(0, 5),
)


@given(views, st.integers(40, 160), st.integers(5, 40))
def test_it_fits_the_terminal_and_counts_everybody(view: SweepView, width: int, height: int) -> None:
    lines = drawn(view, width, height)
    assert len(lines) < height, "the last line stays free for the cursor"
    assert all(cell_len(line) <= width for line in lines), "in cells, of which a combining sign takes none"
    rest = re.search(r"^and (.*)$", "\n".join(lines), re.MULTILINE)
    counted = sum(int(n) for n in re.findall(r"(\d+) [a-z]", rest[1])) if rest and width > 70 else None
    shown = len(lines) - 2 - (rest is not None)
    if width > 70:
        assert shown + (counted or 0) == view.total
    assert f"{view.total} trial" in lines[-1]


def test_those_that_run_or_failed_are_shown_first() -> None:
    trials = [trial(f"d{i}", "done", 3000) for i in range(6)]
    trials += [trial("f", "failed", 10), trial("r", "running", 1500), *(trial(f"w{i}", "waiting") for i in range(6))]
    lines = drawn(SweepView(tuple(trials), 20), 90, 8)
    assert [line.split()[0] for line in lines[1:-2]] == ["d4", "d5", "f", "r"][-4:]
    assert lines[-2] == "and 4 done, 12 waiting"
    assert lines[-1] == "20 trials: 6 done, 1 running, 1 failed, 12 waiting   1:15"
    assert re.search(r"r +running +━+ +1,500 of 3,000 +500.0 +- +0:15", lines[4])


def test_columns_go_where_there_is_no_room_and_places_come_where_there_are_any() -> None:
    view = SweepView((trial("a", "running", 300, place="node-2"),), 1, stopping=True)
    assert drawn(view, 100, 9)[0].split() == ["trial", "state", "steps", "last", "best", "time", "place"]
    assert "node-2" in drawn(view, 100, 9)[1]
    assert drawn(view, 80, 9)[0].split() == ["trial", "state", "steps", "last", "best", "time"]
    assert drawn(view, 50, 9)[0].split() == ["trial", "state", "last", "best"]
    long = drawn(SweepView((trial("x" * 90, "interrupted", 2999),), 1), 80, 9)
    assert re.match(r"x{20,}… +interrupted +\S+ 2,999 of 3,000", long[1])
    assert drawn(view, 100, 9)[-1].endswith("stopping")
    assert all(line.isascii() for line in drawn(SweepView((trial("x" * 90, "waiting"),), 1), 50, 9, "ascii"))


def test_episodes_bound_a_run_too_and_no_name_moves_the_cursor() -> None:
    line = drawn(SweepView((trial("a\x1b[2J\nb[red]", "running", 300, steps=None, episodes=50),), 1), 100, 9)[1]
    assert "30 of 50 episodes" in line
    assert "a [2J b[red]" in line


def test_lines_say_what_begins_and_ends() -> None:
    file, now = io.StringIO(), [0.0]
    plain = PlainSweep(Console(file=file, width=40), lambda: now[0])
    plain(SweepView((trial("a", "done", 3000), trial("b", "running", 40), trial("c", "waiting")), 3))
    plain(SweepView((trial("a", "done", 3000), trial("b", "running", 50), trial("c", "waiting")), 3))
    ended = trial("b", "failed", 60, error="it\nbroke.")
    plain(SweepView((trial("a", "done", 3000), ended, trial("c", "running")), 3))
    now[0] = 31.0
    plain(SweepView((trial("a", "done", 3000), ended, trial("c", "running", 1000)), 3))
    assert file.getvalue().splitlines() == [
        "b: running, from step 40",
        "3 trials: 1 done, 1 running, 1 waiting",
        "b: failed after 0:00: it broke.",
        "c: running",
        "3 trials: 1 done, 1 running, 1 failed; c 1,000 of 3,000",
    ]


def test_lines_where_there_is_no_terminal_or_they_are_asked_for() -> None:
    for console, plain in (
        (Console(file=io.StringIO()), False),
        (Console(file=io.StringIO(), force_terminal=True), True),
    ):
        with watching(console, lambda: 0.0, plain=plain) as watch:
            assert isinstance(watch, PlainSweep)


def test_the_table_is_drawn_on_a_screen_of_its_own_and_its_last_state_stays() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=9)
    with watching(console, lambda: 0.0) as watch:
        watch(SweepView((trial("a", "running", 5),), 1))
        console.print("a warning")
        watch(SweepView((trial("a", "done", 3000),), 1))
    drawn, _, after = file.getvalue().rpartition("\x1b[?1049l")
    assert "1 running" in drawn
    assert re.fullmatch(
        r"a warning\ntrial.*\na +done .*\n1 trial: 1 done   0:00\n", re.sub(r"\x1b\[[\d;]*m", "", after)
    )
