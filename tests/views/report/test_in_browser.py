"""The report in a real browser without a network: it opens in silence, in light and dark, and fits a phone."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cartpole_dqn.api import Run

Trained = Callable[..., Run]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [pytest.mark.process, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"agent": {"learning_starts": 30}, "evaluation": {"every": 60, "episodes": 2}}
    run = trained(obs="pixels", steps=130, observer=[{"name": "metrics"}], **settings)
    return run.report(tmp_path_factory.mktemp("page") / "report.html", episodes=2)


def browse(page: Path, tmp_path: Path, *options: str) -> tuple[str, str]:
    """What the browser wrote, and what it complained of."""
    assert BROWSER is not None
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def asked_by_a_page(log: Path) -> list[str]:
    """What a page asked the network for; what the browser asks for by itself has no page's origin."""
    asked = [
        event["params"] for event in json.loads(log.read_text())["events"] if "initiator" in event.get("params", {})
    ]
    return [request["url"] for request in asked if request["initiator"] != "not an origin"]


def test_it_opens_without_a_word_and_asks_for_nothing(page: Path, tmp_path: Path) -> None:
    dom, complaints = browse(page, tmp_path, "--dump-dom", f"--log-net-log={tmp_path / 'net.json'}")
    assert "CONSOLE" not in complaints, complaints
    assert "<h2>What the agent sees</h2>" in dom
    assert dom.rstrip().endswith("</html>")
    assert asked_by_a_page(tmp_path / "net.json") == []


def shot(page: Path, tmp_path: Path, width: int, *options: str) -> Image.Image:
    out = tmp_path / "shot.png"
    browse(page, tmp_path, f"--screenshot={out}", f"--window-size={width},3000", *options)
    with Image.open(io.BytesIO(out.read_bytes())) as image:
        return image.convert("RGB")


def test_it_follows_the_readers_choice_of_light_and_dark(page: Path, tmp_path: Path) -> None:
    light = shot(page, tmp_path, 1000)
    dark = shot(page, tmp_path, 1000, "--blink-settings=preferredColorScheme=0")
    assert light.getpixel((3, 3)) == (0xF5, 0xF6, 0xF8)
    assert dark.getpixel((3, 3)) == (0x0E, 0x11, 0x15)
    colours = dark.getcolors(1 << 24)
    assert colours is not None
    assert (0x15, 0x19, 0x1E) in {colour for _, colour in colours}, "the curves for a dark page have its paper"


def test_it_fits_a_phone(page: Path, tmp_path: Path) -> None:
    """Nothing reaches beyond the edge: what is wider scrolls in a frame of its own."""
    image = shot(page, tmp_path, 500)
    edge = {image.getpixel((x, y)) for x in (497, 498, 499) for y in range(0, 3000, 7)}
    assert edge == {(0xF5, 0xF6, 0xF8)}
