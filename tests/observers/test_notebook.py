"""The observer in a kernel of Jupyter's, and outside of one."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cartpole_dqn.contracts.events import ObserverContext
from cartpole_dqn.observers.display.display import Display, DisplayOptions
from cartpole_dqn.observers.notebook import Notebook, NotebookOptions, in_kernel
from cartpole_dqn.testing import check_observer

CELLS = {
    "count": """
        from cartpole_dqn import train
        from cartpole_dqn.observers.notebook import Notebook
        from cartpole_dqn.runs.folder import run_state

        drawn, own = [], Notebook._draw
        Notebook._draw = lambda self, *state: (drawn.append(state), own(self, *state))
        quick = {"evaluation": {"every": 200, "confirmations": 0}}
        never = {"evaluation": {"every": 0}}
    """,
    "live": "run = train(obs='state', steps=400, seed=1, out='run', settings=quick)",
    "counted": "print(len(drawn), (run.path / 'config.toml').read_text().count('notebook'))",
    "again": "run = run.resume(600)",
    "plain": "train(obs='state', steps=400, seed=1, out='plain', settings=quick, plain=True).path",
    "chosen": "train(obs='state', steps=60, out='chosen', settings=never, observers=['notebook']).path",
    "interrupted": """
        import os, signal

        class Impatient(Notebook):
            def updated(self, event):
                super().updated(event)
                if event.step == 150:
                    os.kill(os.getpid(), signal.SIGINT)

        import cartpole_dqn.observers.notebook as module

        module.Notebook = Impatient
        run = train(obs="state", steps=100_000, out="interrupted", settings=never)
        module.Notebook = Notebook
    """,
    "left": "print(run_state(run.path), signal.getsignal(signal.SIGINT) is signal.default_int_handler)",
}
"""Cells by name, all run by one kernel."""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Each cell's outputs."""
    nbformat = pytest.importorskip("nbformat", reason="the extra test brings it")
    nbclient = pytest.importorskip("nbclient", reason="the extra test brings it")
    pytest.importorskip("ipykernel", reason="the extra test brings it")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(dedent(text)) for text in CELLS.values()])
    place = str(tmp_path_factory.mktemp("notebook"))
    nbclient.NotebookClient(book, timeout=170, kernel_name="python3", resources={"metadata": {"path": place}}).execute()
    return {name: cell.outputs for name, cell in zip(CELLS, book.cells, strict=True)}


def cards(outputs: list[Any]) -> list[Any]:
    """The displays among the outputs. What a run says beside its display is a <pre>."""
    pages = [(output, output.get("data", {}).get("text/html", "")) for output in outputs]
    return [output.data for output, page in pages if "steps" in page and "<pre" not in page]


def words(outputs: list[Any]) -> str:
    return " ".join(str(output.get("text") or output.data.get("text/plain")) for output in outputs)


@pytest.mark.process
def test_a_run_is_shown_in_one_output_that_is_replaced(outputs: dict[str, list[Any]]) -> None:
    (card,) = cards(outputs["live"])
    assert "400 of 400 steps" in card["text/html"]
    assert "<svg" in card["text/html"]
    assert "step 400 of 400" in card["text/plain"]
    draws, named = map(int, outputs["counted"][0].text.split())
    # At the start, after two evaluations, at the end, and once a second: not at every step.
    assert 4 <= draws < 100
    assert named == 0, "config.toml says what was asked for, not where it was shown"


@pytest.mark.process
def test_a_run_that_goes_on_has_its_curves_from_the_beginning(outputs: dict[str, list[Any]]) -> None:
    (card,) = cards(outputs["again"])
    assert "600 of 600 steps" in card["text/html"]
    places = [float(x) for x in re.findall(r"([\d.]+),[\d.]+", card["text/html"].split('points="')[1].split('"')[0])]
    assert places[0] < 100
    assert places[-1] > 600


@pytest.mark.process
def test_plain_means_lines(outputs: dict[str, list[Any]]) -> None:
    assert not any("<svg" in card["text/html"] for card in cards(outputs["plain"]))
    assert "400 steps, " in words(outputs["plain"])


@pytest.mark.process
def test_who_chose_it_gets_it_once(outputs: dict[str, list[Any]]) -> None:
    assert len(cards(outputs["chosen"])) == 1


@pytest.mark.process
def test_interrupting_the_kernel_ends_a_run_in_order(outputs: dict[str, list[Any]]) -> None:
    assert "stopped (Ctrl-C)" in cards(outputs["interrupted"])[0]["text/plain"]
    assert outputs["left"][0].text == "RunStatus(state='interrupted', step=150) True\n"


# Outside --------------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_outside_a_notebook_it_is_silent_and_imports_nothing() -> None:
    code = (
        "import sys; from cartpole_dqn.observers.notebook import in_kernel\n"
        "print(in_kernel(), [m for m in ('IPython', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False []\n"


def test_a_kernel_is_known_by_its_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:
        pass

    class ColabShell(ZMQInteractiveShell):
        pass

    for shell, expected in ((ZMQInteractiveShell(), True), (ColabShell(), True), (object(), False), (None, False)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert in_kernel() is expected
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    assert in_kernel() is False


def test_it_keeps_the_contract_of_observers() -> None:
    check_observer(Notebook)


def test_the_terminals_display_goes_on_from_its_state_and_the_other_way_round(events: Any, clock: Any) -> None:
    context = ObserverContext(folder=None, console=Console(file=io.StringIO()), clock=clock, plain=True)
    book, terminal = Notebook(NotebookOptions(), context), Display(DisplayOptions(), context)
    for count, one, other in ((1, book, terminal), (2, terminal, book)):
        one.run_started(events.started())
        one.episode_ended(events.episode(1, 33.0))
        other.load_state_dict(one.state_dict())
        assert other.state_dict()["recent"] == one.state_dict()["recent"] == [[33.0, 20]] * count
