"""The report of real runs, whole and broken; what a browser makes of it is in `test_in_browser`."""

from __future__ import annotations

import io
import json
import re
import shutil
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cartpole_dqn.api import Run, load
from cartpole_dqn.views.report import gather as module
from cartpole_dqn.views.report.content import Report
from cartpole_dqn.views.report.gather import write_report

Trained = Callable[..., Run]
WriteRun = Callable[..., Path]
METRICS = [{"name": "metrics"}]
PIXELS = {"agent": {"learning_starts": 30}, "evaluation": {"every": 60, "episodes": 2}, "observer": METRICS}


RECORDING = ("recording", "recording how it learned")


class Page(HTMLParser):
    """A page's elements, its text, and the pictures in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.source = path.read_text(encoding="utf-8")
        self._open = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words += "" if self._open == "style" else f"{data} "

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def pictures(self) -> list[tuple[str, bytes]]:
        addresses = [table[name] for _, table in self.elements for name in ("src", "srcset") if name in table]
        return [(a.split(";")[0].removeprefix("data:"), b64decode(a.split(",")[1])) for a in addresses]

    def sections(self) -> list[str]:
        return re.findall(r"<h2>(.*?)</h2>", self.source)


def written(run: Run, out: Path, **options: Any) -> tuple[Report, Page]:
    options = {"episodes": 0, "animation": False, **options}
    report = write_report(run.folder, run, out, now=1e9, **options)
    return report, Page(out)


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Callable[..., Run]:
    """A run in a folder of this test's own."""

    def copy(name: str = "mine", **options: Any) -> Run:
        run = trained(**{"steps": 130, "evaluation": {"every": 60, "episodes": 3}, "observer": METRICS, **options})
        shutil.copytree(run.path, tmp_path / name)
        return load(tmp_path / name)

    return copy


@pytest.fixture(scope="module")
def whole(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Report, Page, list[str]]:
    """A run from pixels, its report with all there can be, the page, and the status texts on the way."""
    run, texts = trained(obs="pixels", steps=130, **PIXELS), list[str]()
    out = tmp_path_factory.mktemp("whole") / "x.html"
    return run, *written(run, out, episodes=5, seed=3, animation=True, on_status=texts.append), texts


def test_everything_there_is_stands_on_the_page(whole: tuple[Run, Report, Page, list[str]]) -> None:
    run, report, page, texts = whole
    assert report.missing == []
    played = [text for text in texts if text.startswith("evaluating ")]
    assert [text.split()[1].rstrip(",") for text in played] == [f"{done}/5" for done in range(6)]
    steps = [text.rpartition(": step ")[0] for text in texts if ": step " in text]
    recorded = [f"{doing}, for {theme} pages" for doing in RECORDING for theme in ("light", "dark")]
    assert list(dict.fromkeys(steps)) == recorded, "it takes a minute, so it says how far it is"
    assert [text for text in texts if ": step " not in text] == [
        *("drawing the curves", "looking at what the agent sees", *played, *RECORDING, "finding out what it looks at")
    ]
    assert report.look is not None
    assert page.sections() == [
        "How it learned", "At play", "Curves", "What the agent sees", "What it looks at", "How good it is",
        "Evaluations during training", "Episodes",
        "Configuration", "Made with", "Again",
    ]  # fmt: skip
    evaluation = run.evaluate(5, seed=3)
    assert report.evaluation is not None
    assert report.evaluation.returns == evaluation.returns
    assert report.play is not None
    assert report.play.recording.returns[0] == evaluation.returns[0]
    assert f"{evaluation.mean:,.1f}" in page.words
    for words in ("dqn on CartPole-v1", "Not solved: no model was confirmed to reach a mean of 475", "130 steps"):
        assert words in page.words
    assert "2001-09-09 01:46 UTC" in page.words
    # Kinds: two animations and their stills, the six stages with eight pictures, and what it looks at.
    kinds = [kind for kind, _ in page.pictures()]
    assert kinds.count("image/gif") == 4, "light and dark"
    assert kinds.count("image/svg+xml") == 4, "light and dark, wide and narrow"
    assert kinds.count("image/png") == 4 + 8 + 2
    least, most = min(evaluation.returns), max(evaluation.returns)
    places = {min(24, int(25 * (value - least) / (most - least))) for value in evaluation.returns}
    bars = [attributes for name, attributes in page.elements if name == "rect" and attributes["height"] != "0"]
    assert {int(float(bar["x"])) for bar in bars} == places
    for kind, data in page.pictures():
        if kind != "image/svg+xml":
            Image.open(io.BytesIO(data)).verify()


def test_a_page_asks_for_nothing_and_runs_nothing(whole: tuple[Run, Report, Page, list[str]]) -> None:
    page = whole[2]
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for name, attributes in page.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), name
            if key in ("src", "srcset", "href", "data", "poster"):
                assert value.startswith("data:"), f"<{name} {key}={value[:60]}>"
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert not re.search(r"url\(|@import|expression", style)
    (policy,) = (a["content"] for n, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_the_configuration_can_be_taken_from_the_page(copied: Callable[..., Run], tmp_path: Path) -> None:
    run = copied()
    report, page = written(run, tmp_path / "x.html")
    (link,) = (attributes for name, attributes in page.elements if name == "a")
    assert link["download"] == "config.toml"
    assert b64decode(link["href"].split(",")[1]).decode() == run.folder.config.read_text()
    assert report.differences is not None
    assert {key: (here, preset) for key, here, preset in report.differences}["evaluation.every"] == (60, 1000)
    assert "agent.gamma" not in {key for key, *_ in report.differences}


def test_where_it_lay_is_nobodys_business(copied: Callable[..., Run], tmp_path: Path) -> None:
    run = copied("my run")
    run.folder.metrics_jsonl.write_text("x\n")
    shutil.rmtree(run.folder.best)
    (run.folder.checkpoint / "state.json").write_text("x")
    report, page = written(run, tmp_path / "x.html", episodes=1, animation=True)
    assert len(report.missing) == 3
    assert str(tmp_path) not in page.source
    assert "cartpole-dqn resume 'my run'" in page.words


def test_names_in_files_cannot_write_html(copied: Callable[..., Run], tmp_path: Path) -> None:
    run = copied("<img src=x onerror=alert(1)>")
    evil = "</pre><script>alert(1)</script>{{ 7 * 7 }}"
    text = run.folder.config.read_text().replace("[env]", f"# {evil}\n[env]", 1)
    run.folder.config.write_text(text)
    described = json.loads(run.folder.environment.read_text())
    described |= {"cpu": evil, "python": evil, "memory_bytes": evil, "versions": {evil: evil}}
    described["plugins"] = [{"distribution": evil, "version": evil, "state": evil, "components": [evil]}, evil, 3]
    run.folder.environment.write_text(json.dumps(described))
    event = {"event": "run_started", "name": evil}
    lines = run.folder.metrics_jsonl.read_text()
    run.folder.metrics_jsonl.write_text(json.dumps(event) + "\n" + lines)
    report, page = written(run, tmp_path / "x.html")
    assert report.missing == []
    assert "script" not in {name for name, _ in page.elements}
    assert [a["src"][:10] for n, a in page.elements if n == "img"] == ["data:image"]
    assert page.words.count("alert(1)") >= 6
    assert "49" not in page.words.split()
    assert page.words.count("{{ 7 * 7 }}") >= 2


def test_an_agent_that_sees_numbers_has_them_by_name(copied: Callable[..., Run], tmp_path: Path) -> None:
    _, page = written(copied(), tmp_path / "x.html")
    assert "angular velocity" in page.words
    frozen = copied("frozen", env="FrozenLake-v1", agent={"learning_starts": 1000})
    report, page = written(frozen, tmp_path / "y.html", episodes=2, animation=True)
    assert report.missing == []
    assert "[0]" in page.words


# What is missing ------------------------------------------------------------------------------------------------------


def test_what_a_run_lacks_is_said_and_the_rest_is_there(write_run: WriteRun, tmp_path: Path) -> None:
    bare = load(write_run("bare", returns=[], ended=False))
    report, page = written(bare, tmp_path / "x.html", episodes=3, animation=True)
    assert report.missing == [
        "What it was made with: environment.json is missing or damaged.",
        "Its evaluation and animation: it holds no model yet, neither best/ nor checkpoint/.",
    ]
    assert "No episode has ended." in page.words
    (bare.path / "metrics.jsonl").unlink()
    report, page = written(bare, tmp_path / "x.html")
    assert report.missing[0].startswith("The curves, evaluations and episodes: bare/metrics.jsonl is missing")
    assert page.sections() == ["What is missing on this page", "What the agent sees", "Configuration", "Again"]


DAMAGED = {
    "metrics.jsonl": ("x\n", "The curves, evaluations and episodes: mine/metrics.jsonl is not what"),
    "environment.json": ("[1]", "What it was made with: environment.json is missing or damaged."),
    "best/state.json": ("{", "Its evaluation on held-out seeds: "),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_costs_only_what_was_in_it(copied: Callable[..., Run], tmp_path: Path, name: str) -> None:
    text, words = DAMAGED[name]
    run = copied()
    (run.path / name).write_text(text)
    report, page = written(run, tmp_path / "x.html", episodes=1)
    assert len(report.missing) == 1
    assert report.missing[0].startswith(words)
    assert report.missing[0] in page.words
    assert "Configuration" in page.sections()


def test_a_damaged_line_of_the_metrics_is_said(copied: Callable[..., Run], tmp_path: Path) -> None:
    run = copied()
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run.path / "metrics.jsonl").write_text("".join([lines[0], "x\n", *lines[2:]]))
    report, page = written(run, tmp_path / "x.html")
    assert report.missing == ["mine/metrics.jsonl: line 2 is damaged and left out."]
    assert "Curves" in page.sections()


def test_an_environment_that_fails_costs_only_what_needs_it(
    copied: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied()

    def reset(self: Any, *, seed: int | None = None, options: Any = None) -> Any:
        return 1 / 0

    monkeypatch.setattr("gymnasium.envs.classic_control.CartPoleEnv.reset", reset)
    report, page = written(run, tmp_path / "x.html", episodes=1, animation=True)
    assert len(report.missing) == 3
    assert all("division by zero" in sentence for sentence in report.missing)
    assert "Curves" in page.sections()


# Sizes ----------------------------------------------------------------------------------------------------------------


def test_an_animation_is_cut_where_it_would_be_large(
    copied: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied()
    report, _ = written(run, tmp_path / "x.html", animation=True)
    assert report.play is not None
    shown, whole = report.play
    assert (whole.lengths[0], whole.cut) == (int(whole.returns[0]), False)
    frames = [Image.open(io.BytesIO(film)) for film in (shown.data, shown.others[-1][1])]
    corners = [frame.convert("RGB").getpixel((0, 0)) for frame in frames]
    assert corners == [(255, 255, 255), (21, 25, 30)]
    assert frames[0].n_frames == frames[1].n_frames <= (whole.lengths[0] + 1) // 2 + 2, "25 pictures a second"
    monkeypatch.setattr(module, "_SHORTEST_PLAY", 3)
    monkeypatch.setattr(module, "MOST_ANIMATION_BYTES", len(shown.data) * 2 // 3)
    report, page = written(run, tmp_path / "x.html", animation=True)
    assert report.play is not None
    shown, cut = report.play
    assert cut.cut
    assert 3 <= cut.lengths[0] < whole.lengths[0]
    assert len(shown.data) <= module.MOST_ANIMATION_BYTES
    assert "The recording stops before the episode ends." in page.words


def test_curves_of_very_many_episodes_are_pixels(write_run: WriteRun, tmp_path: Path, monkeypatch: Any) -> None:
    run = load(write_run("long", returns=range(40), evaluations={500: [1, 2]}, best=[500]))
    monkeypatch.setattr(module, "_LARGEST_SVG", 1000)
    report, _ = written(run, tmp_path / "x.html")
    assert report.curves is not None
    assert report.curves.kind == "image/png"
    drawn = (report.curves.data, report.curves.others[-1][1])
    shades = [Image.open(io.BytesIO(data)).convert("L").getpixel((0, 0)) for data in drawn]
    assert shades[0] == 255
    assert shades[1] < 50  # type: ignore[operator]
