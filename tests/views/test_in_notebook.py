from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cartpole_dqn.api import Run, load
from cartpole_dqn.views import in_notebook as module
from cartpole_dqn.views.in_notebook import ShownFile, shown_as

Trained = Callable[..., Run]


def test_pictures_and_films_are_shown_themselves(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    bundle = shown_as(tmp_path / "x.png")
    assert bundle["text/plain"] == str(tmp_path / "x.png")
    assert bundle["text/html"].startswith('<img src="data:image/png;base64,iVBOR')
    (tmp_path / "x.mp4").write_bytes(b"film")
    assert shown_as(tmp_path / "x.mp4")["text/html"].startswith('<video src="data:video/mp4;base64,ZmlsbQ==" controls')


def test_anything_else_is_a_link_or_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a&b.html").write_text("x")
    assert 'href="' in shown_as(tmp_path / "a&b.html")["text/html"]
    assert "a&amp;b.html" in shown_as(tmp_path / "a&b.html")["text/html"]
    for missing in (tmp_path / "no.png", tmp_path, tmp_path / "no.html"):
        assert shown_as(missing) == {"text/plain": str(missing)}
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    monkeypatch.setattr(module, "_LARGEST", 10)
    assert shown_as(tmp_path / "x.png")["text/html"].startswith("<a ")


def test_a_shown_file_is_a_path(tmp_path: Path) -> None:
    file = ShownFile(tmp_path) / "x.txt"
    assert isinstance(file, Path)
    file.write_text("x")
    assert open(file).read() == "x"  # noqa: PTH123, SIM115
    assert file == tmp_path / "x.txt"
    assert file.parent == tmp_path
    assert file._repr_mimebundle_()["text/plain"] == str(file)


def test_a_run_shows_itself_and_what_it_makes(trained: Trained, tmp_path: Path) -> None:
    run = trained(steps=130, observer=[{"name": "metrics"}])
    words = run._repr_html_()
    assert "dqn on CartPole-v1, state, preset state, seed 1" in words
    assert "130 of 130" in words
    picture = run.plot(tmp_path / "curves.svg", theme="dark", x="episodes")
    assert "image/svg+xml" in picture._repr_mimebundle_()["text/html"]
    recording = run.record(tmp_path / "play.gif", max_steps=5, side_by_side=False)
    assert recording.lengths == (5,)
    assert Path(recording) == recording.path == tmp_path / "play.gif"
    assert "image/gif" in recording._repr_mimebundle_()["text/html"]
    page = run.report(tmp_path / "x.html", episodes=0, animation=False)
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert run.record(max_steps=2).path == run.path / "record.gif"


def test_a_folders_name_cannot_write_into_a_notebook(trained: Trained, tmp_path: Path) -> None:
    run = trained(steps=130, observer=[{"name": "metrics"}])
    place = tmp_path / "<b>run"
    place.mkdir()
    for name in ("config.toml", "metrics.jsonl"):
        (place / name).write_text((run.path / name).read_text())
    assert "&lt;b&gt;run" in load(place)._repr_html_()
