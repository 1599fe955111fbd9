from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.observers.display.panel import RunPanel, _cell
from cartpole_dqn.observers.wording import (
    describe_checkpoint,
    describe_evaluation,
    evaluation_line,
    figures_of,
    plain_line,
    summary_lines,
    verdict,
)

Make = Callable[..., Any]


def shown(snapshot: Any, width: int, height: int, **console: Any) -> list[str]:
    out = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None, **console)
    out.print(RunPanel(snapshot))
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return text.rstrip("\n").split("\n")


def test_everything_is_shown_where_there_is_room(snapshot: Make) -> None:
    lines = shown(snapshot(solved_at=475.0, evaluate_every=500), 100, 40)
    text = "\n".join(" ".join(line.split()) for line in lines)
    for words in (
        "dqn on CartPole-v1, pixels",
        "600 / 1,000 steps 60%",
        "0:30 gone · 0:1",
        "steps/s",
        "episode",
        "last return",
        "mean of 20",
        "mean of 100",
        "best return",
        "epsilon 0.75",
        "loss 0.0123",
        "mean Q 4.5",
        "learning rate 0.0005",
        "evaluation 60.0 ± 10.0, needs 475 ▼ 90.0 since step 300 next at 1,000",
        "best 150 of 475 over 2 episodes at step 300",
        "replay 600 / 5k",
        "memory 19.2 MB",  # used, not reserved
        "saved at 500",
        "runs/x",
        "◆ evaluation",
        "needs 475",
    ):
        assert words in text, words
    assert any(0x2801 <= ord(c) <= 0x28FF for c in text)
    before = "\n".join(shown(snapshot(played=0, evaluated=False, solved_at=475.0, evaluate_every=500), 80, 24))
    for words in ("starting", "0 / 1,000 steps  0%", "first evaluation at 500, needs 475"):
        assert words in before


@pytest.mark.parametrize("width", [40, 60, 80, 120, 160])
def test_no_width_cuts_digits(snapshot: Make, events: Any, width: int) -> None:
    status = {"epsilon": 0.0213, "lr": 0.000912, "replay_size": 28_345, "replay_capacity": 50_000, "updates": 126_554}
    view = snapshot(status=status, solved_at=475.0, evaluate_every=500)
    lines = shown(view, width, 34)
    text = "\n".join(lines)
    figures = dict(figures_of(view))
    for label in ("last return", "mean of 20", "mean of 100", "epsilon", "loss", "mean Q"):
        assert re.search(rf"[a-zQ0-9] +{re.escape(figures[label])}\b", text), label
    for words in ("60%", "60.0 ± 10.0", "0:30 gone", "mean of 100" if width >= 50 else "mean"):
        assert words in text, words
    assert "…" not in text
    assert lines[0].startswith("╭─ dqn on CartPole-v1, pixels ─")


def test_a_label_gives_way_to_its_number_by_whole_words() -> None:
    assert _cell(("meta replay size", "1,062"), 20).plain == "meta replay    1,062"
    assert _cell(("unbreakable_label", "1,062"), 20).plain == "unbreakable_la 1,062"


def test_a_confirmation_has_a_bar_of_its_own(snapshot: Make, events: Any) -> None:
    for width, words in ((100, "73/100, mean 473.9, needs 475"), (40, "73/100")):
        text = "\n".join(
            shown(snapshot(solved_at=475.0, confirming=Evaluating(600, "confirm", 73, 100, 473.9)), width, 30)
        )
        assert re.search(rf"confirming ━+.* {re.escape(words)}", text)
        assert "evaluation 480.0, needs 475" in text, "that of the model which is confirmed, not the one before"


def test_solved_is_said(snapshot: Make, events: Any) -> None:
    confirmed = Evaluation(500, (498.0, 500.0), (1, 1), "confirm", 3.0, True)
    ended = events.ended(600, reason="solved", solved_step=500)
    view = snapshot(solved_at=475.0, confirmed=confirmed, ended=ended)
    text = "\n".join(shown(view, 100, 30))
    assert " SOLVED  499.0 ± 1.0 over 2 greedy episodes on held-out seeds, at step 500" in text
    assert "took 0:30" in text
    assert re.search(r"━{40,}  1,000 steps|━{40,}  600 steps", text), "the bar is full"
    assert "Ctrl-C" not in text
    assert summary_lines(view)[0] == "SOLVED: 499.0 ± 1.0 over 2 episodes at step 500"
    assert summary_lines(snapshot(solved_at=475.0, ended=events.ended()))[0] == (
        "best: 150.0 ± 50.0 over 2 episodes at step 500, needs 475"
    )
    worst = Evaluation(300, (-200.0, -100.0), (1, 1), "select", 3.0, True)
    negative = "\n".join(shown(replace(snapshot(solved_at=-100.0), best=worst), 100, 30))
    assert "best -150.0, needs -100 over 2 episodes" in negative
    assert verdict(480.0, 100, 475.0, 100) == "SOLVED"
    assert verdict(480.0, 10, 475.0, 100) == "needs 475 over 100 episodes"
    assert verdict(470.0, 100, 475.0, 100) == "needs 475"
    assert verdict(470.0, 100, None, 100) == ""


def test_a_failed_run_announces_nothing_more(snapshot: Make) -> None:
    view = replace(snapshot(solved_at=475.0, evaluate_every=500), failed="failed")
    text = "\n".join(shown(view, 100, 30))
    assert "failed · runs/x" in text
    for words in ("left", "steps/s", "next at"):
        assert words not in text
        assert words in "\n".join(shown(replace(view, failed=""), 100, 30))


def test_without_colours_the_bar_keeps_its_place(snapshot: Make) -> None:
    bars = [re.sub(r"\x1b\[[\d;]*m", "", drawn(snapshot(), no_color=plain)).splitlines()[1] for plain in (False, True)]
    assert bars[0].index("600 / 1,000") == bars[1].index("600 / 1,000")
    assert "─" in bars[1]


def test_the_last_line_says_what_ctrl_c_does_and_what_it_did(snapshot: Make, events: Any) -> None:
    def last(view: Any, width: int = 80, stopping: bool | None = None) -> str:
        out = Console(file=io.StringIO(), width=width, height=24, force_terminal=True, color_system=None)
        out.print(RunPanel(view, stopping=stopping))
        return out.file.getvalue().splitlines()[-1].strip("╰╯─ ")  # type: ignore[attr-defined, no-any-return]

    assert last(snapshot()) == "runs/x"
    assert last(snapshot(), stopping=False) == "Ctrl-C: saves and stops · runs/x"
    waiting = replace(snapshot(), idle=9.0)
    assert last(waiting, stopping=False) == "saving, or waiting for the environment: 9 s since the last step"
    assert last(waiting, stopping=True) == "stopping and saving, Ctrl-C again: stops at once · runs/x"
    stopped = snapshot(ended=events.ended(600, reason="SIGINT"))
    assert last(stopped, stopping=True) == "stopped (Ctrl-C), saved at step 500 · runs/x"
    assert last(stopped, 50) == "stopped (Ctrl-C), saved at step 500"
    assert last(stopped, 40) == "stopped (Ctrl-C)", "half a number is none"
    assert last(snapshot(ended=events.ended(600))) == "runs/x"
    assert last(replace(snapshot(), failed="stopped at once (Ctrl-C)")) == "stopped at once (Ctrl-C) · runs/x"


@given(st.integers(1, 180), st.integers(1, 50), st.integers(0, 40), st.booleans(), st.booleans())
def test_never_wider_or_higher_than_the_console(
    snapshot: Make, width: int, height: int, played: int, evaluated: bool, wide: bool
) -> None:
    name = "長い名前の環境" if wide else "dqn on CartPole-v1"
    needed = 475.0 if evaluated else None
    view = snapshot(played=played, evaluated=evaluated, name=name, solved_at=needed, glimpsed=wide)
    lines = shown(view, width, height)
    assert len(lines) <= max(1, height - 1)
    assert max(cell_len(line) for line in lines) <= width


def test_narrow_and_low_keeps_what_matters_most(snapshot: Make) -> None:
    lines = shown(snapshot(), 40, 10)
    assert len(lines) == 9
    text = "\n".join(lines)
    for words in ("60%", "0:30 gone", "evaluation 60.0 ± 10.0", "last return", "mean of 20"):
        assert words in text
    assert not any(0x2800 <= ord(c) <= 0x28FF for c in text)  # no chart
    tiny = shown(snapshot(), 12, 3)
    assert "60%" in tiny[0]
    assert len(tiny) == 2


def test_what_an_agent_tells_of_its_own_is_listed(snapshot: Make) -> None:
    status = {"epsilon": 0.5, "goal": "s6\x1b[2J", "meta_epsilon": 0.25, "option_count": 3}
    long = {"a_very_long_name_of_some_figure_indeed": 123456, "goal": "x" * 90}
    assert "123,456" in "\n".join(shown(snapshot(status=long), 60, 30)), "a label gives way to its number"
    figures = dict(figures_of(snapshot(status=status)))
    assert figures["goal"] == "s6 [2J"
    assert figures["meta epsilon"] == "0.25"
    assert figures["option count"] == "3"
    assert "goal s6 [2J" in plain_line(snapshot(status=status))
    text = "\n".join(shown(snapshot(status=status), 80, 30))
    assert "meta epsilon" in text
    assert "\x1b[2J" not in text


def test_without_a_budget_and_with_one_in_episodes(snapshot: Make) -> None:
    free = "\n".join(shown(snapshot(steps=None), 80, 24))
    assert "600 steps" in free
    assert "%" not in free
    counted = snapshot(steps=None, episodes=60)
    assert "30 / 60 episodes  50%" in "\n".join(shown(counted, 80, 24))
    assert plain_line(counted).startswith("0:30  step 600, episode 30 of 60 (50%), last return")


def test_a_console_that_knows_only_ascii(snapshot: Make) -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    Console(file=file, width=80, height=30, force_terminal=True).print(RunPanel(snapshot()))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "60.0 +- 10.0" in text
    assert "=====" in text, "the part of the bar that is done"
    assert "-----" in text


def drawn(snapshot: Any, **options: Any) -> str:
    """What a terminal of 80 columns gets, codes and all."""
    out = Console(file=io.StringIO(), width=80, height=30, force_terminal=True, color_system="standard", **options)
    out.print(RunPanel(snapshot))
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_labels_are_dim_and_figures_are_not(snapshot: Make) -> None:
    """As a terminal reads it: 2 begins dim, 0 ends it. What is not of the frame, a label or a mark stands out."""
    codes = drawn(snapshot())
    assert "\x1b[32m" in codes
    assert "\x1b[32m" not in drawn(snapshot(), no_color=True)
    faint, plain = "", ""
    for code, text in re.findall(r"(?:\x1b\[([\d;]*)m)?([^\x1b]+)", codes):
        dim = "2" in code.split(";")
        faint, plain = faint + (text if dim else " " * len(text)), plain + (" " * len(text) if dim else text)
    figures = [value for _, value in figures_of(snapshot())][:12]
    for words in (*figures, "600 / 1,000 steps  60%", "60.0 ± 10.0", "dqn on CartPole-v1, pixels", "0:30 gone"):
        assert words in plain, words
    for label in ("last return", "mean of 100", "epsilon", "evaluation", "replay", "runs/x"):
        assert label in faint, label
    assert any(0x2801 <= ord(c) <= 0x28FF for c in plain), "the mean's line"


def test_plain_line(snapshot: Make) -> None:
    line = plain_line(snapshot())
    assert line.startswith("0:30  step 600 of 1,000 (60%), last return ")
    for words in ("episode 30", "mean of 100", "epsilon 0.75", "loss 0.0123", "steps/s", " left"):
        assert words in line
    assert "\n" not in line
    first = plain_line(snapshot(played=0, evaluated=False))
    assert first == "0:00  step 0 of 1,000 (0%), episode 0"


def test_events_in_words(events: Any) -> None:
    assert (
        describe_evaluation(events.evaluation(best=True))
        == "evaluation at step 500: mean 150.0 ± 50.0 over 2 episodes, 3.2 s, the best so far"
    )
    assert describe_checkpoint(events.checkpoint()) == "checkpoint at step 500: 34 MB, 0.4 s"
    small = describe_evaluation(events.evaluation(returns=(0.01, 0.406)))
    assert small.startswith("evaluation at step 500: mean 0.208 ± 0.198 over 2 episodes")


def test_summary_says_training_and_evaluation_apart(snapshot: Make, events: Any) -> None:
    counts = "1,000 steps, 40 episodes; training 0:20 at 50 steps/s, evaluation 1:05, checkpoints 0:02"
    best = "best: 150.0 ± 50.0 over 2 episodes at step 500"
    assert summary_lines(snapshot(ended=events.ended())) == [best, counts]
    stopped = "stopped (Ctrl-C), saved at step 500"
    assert summary_lines(snapshot(ended=events.ended(reason="SIGINT"))) == [best, stopped, counts]
    assert summary_lines(snapshot(ended=events.ended(reason="SIGTERM")))[1] == "stopped (SIGTERM), saved at step 500"
    ended = events.ended(best=None, progress=events.progress(0, episode=0, seconds=0.0))
    lines = summary_lines(snapshot(played=0, evaluated=False, ended=ended))
    assert lines == ["0 steps, 0 episodes; training 0:00, evaluation 1:05, checkpoints 0:02"]


def test_an_evaluation_shows_the_time_left_once_it_can_tell() -> None:
    # Ten long episodes side by side: for their first seconds none has ended.
    assert evaluation_line(Evaluating(4_000, "report", 0, 5_000, None), 3.0) == (
        "evaluating 0/5,000, the first episodes are running"
    )
    assert evaluation_line(Evaluating(4_000, "report", 50, 5_000, 499.5), 17.0) == (
        "evaluating 50/5,000, mean 499.5, 28:03 left"
    )
