from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from cartpole_dqn.observers.display.panel import (
    MOST_COLUMNS,
    RunPanel,
    describe_checkpoint,
    describe_evaluation,
    figures_of,
    panel_lines,
    plain_line,
    summary_lines,
)

Make = Callable[..., Any]


def shown(snapshot: Any, width: int, height: int, **console: Any) -> list[str]:
    out = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None, **console)
    out.print(RunPanel(snapshot))
    text: str = out.file.getvalue()  # type: ignore[attr-defined]
    return text.rstrip("\n").split("\n")


def test_everything_is_shown_where_there_is_room(snapshot: Make) -> None:
    text = "\n".join(shown(snapshot(), 100, 40))
    for words in (
        "dqn on CartPole-v1, pixels",
        "600 / 1,000 steps  60%",
        "elapsed 0:00:30",
        "remaining 0:0",
        "steps/s",
        "episode",
        "last return",
        "mean of 20",
        "mean of 100",
        "best return",
        "epsilon                 0.75",
        "loss                  0.0123",
        "mean Q                   4.5",
        "learning rate         0.0005",
        "evaluation 60.0 ± 10.0 at step 500   best 150.0 ± 50.0 at step 300",
        "replay 600 / 5,000   12%   160 MB   saved at step 500",
        "runs/x",
    ):
        assert words in text
    assert any(0x2801 <= ord(c) <= 0x28FF for c in text)
    assert len(panel_lines(snapshot(), 80, 30, curve=False)) < len(panel_lines(snapshot(), 80, 30))
    before = "\n".join(shown(snapshot(played=0, evaluated=False), 80, 24))
    assert "starting" in before
    assert "0 / 1,000 steps  0%" in before


@given(st.integers(1, 140), st.integers(1, 50), st.integers(0, 40), st.booleans(), st.booleans())
def test_never_wider_or_higher_than_the_console(
    snapshot: Make, width: int, height: int, played: int, evaluated: bool, wide: bool
) -> None:
    name = "長い名前の環境" if wide else "dqn on CartPole-v1"
    lines = shown(snapshot(played=played, evaluated=evaluated, name=name), width, height)
    assert len(lines) <= max(1, height - 1)
    assert max(cell_len(line) for line in lines) <= min(width, MOST_COLUMNS)


def test_narrow_and_low_keeps_what_matters_most(snapshot: Make) -> None:
    lines = shown(snapshot(), 40, 10)
    assert len(lines) == 9
    text = "\n".join(lines)
    for words in ("60%", "left 0:0", "last return", "mean of 20", "eval 60.0 ± 10.0", "replay 600 / 5,000   12%"):
        assert words in text
    assert not any(0x2800 <= ord(c) <= 0x28FF for c in text)  # no curve
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
    assert "%" not in free.split("replay")[0]
    counted = snapshot(steps=None, episodes=60)
    assert "30 / 60 episodes  50%" in "\n".join(shown(counted, 80, 24))
    assert plain_line(counted).startswith("0:00:30  step 600, episode 30 of 60 (50%), last return")


def test_a_console_that_knows_only_ascii(snapshot: Make) -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    Console(file=file, width=80, height=30, force_terminal=True).print(RunPanel(snapshot()))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "60.0 +- 10.0" in text
    assert "#" in text


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
    figures = ("600 / 1,000 steps  60%", "0.75", "0.0123", "0.0005", "60.0 ± 10.0 at step 500", "600 / 5,000")
    for words in (*figures, "dqn on CartPole-v1, pixels", "elapsed 0:00:30"):
        assert words in plain, words
    for label in ("last return", "mean of 100", "epsilon", "evaluation", "replay", "runs/x"):
        assert label in faint, label
    assert any(0x2801 <= ord(c) <= 0x28FF for c in plain), "the mean's line"


def test_plain_line(snapshot: Make) -> None:
    line = plain_line(snapshot())
    assert line.startswith("0:00:30  step 600 of 1,000 (60%), episode 30, last return ")
    for words in ("mean of 100", "epsilon 0.75", "loss 0.0123", "steps/s", " left"):
        assert words in line
    assert "\n" not in line
    first = plain_line(snapshot(played=0, evaluated=False))
    assert first == "0:00:00  step 0 of 1,000 (0%), episode 0"


def test_events_in_words(events: Any) -> None:
    assert (
        describe_evaluation(events.evaluation(best=True))
        == "evaluation at step 500: mean 150.0 ± 50.0 over 2 episodes, 3.2 s, the best so far"
    )
    assert describe_checkpoint(events.checkpoint()) == "checkpoint at step 500: 34 MB, 0.4 s"
    small = describe_evaluation(events.evaluation(returns=(0.01, 0.406)))
    assert small.startswith("evaluation at step 500: mean 0.208 ± 0.198 over 2 episodes")


def test_summary_says_training_and_evaluation_apart(snapshot: Make, events: Any) -> None:
    for reason, words in (("solved", "solved: "), ("SIGINT", "ended by SIGINT: "), ("done", "done: ")):
        lines = summary_lines(snapshot(), events.ended(reason=reason))
        assert lines[0] == f"{words}1,000 steps, 40 episodes"
    assert lines[1:3] == [
        "training 0:00:20, 50 steps/s; evaluation 0:01:05; checkpoints 0:00:02",
        "best evaluation: 150.0 ± 50.0 over 2 episodes, at step 500",
    ]
    assert lines[3].startswith("mean of the last 40 training returns: ")
    ended = events.ended(best=None, progress=events.progress(0, episode=0, seconds=0.0))
    lines = summary_lines(snapshot(played=0, evaluated=False), ended)
    assert lines == ["done: 0 steps, 0 episodes", "training 0:00:00; evaluation 0:01:05; checkpoints 0:00:02"]
