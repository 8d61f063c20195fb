"""The page: what it embeds, that it asks for nothing, and that it works in a browser."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from secateur.reports.comparison.page import page_data, write_page
from secateur.reports.comparison.plots import draw_comparison
from secateur.reports.comparison.runs import Run, collect_runs
from tests.reports.comparison.folders import write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Four trainings that differ, with their evaluations."""
    for i in range(4):
        write_run(
            tmp_path / "sweep" / str(i),
            rate=0.1 * i,
            criterion=("fpgm", "l1")[i % 2],
            ap_hard=0.9 - 0.05 * i,
            params_slim=90_000 - 10_000 * i,
        )
    return collect_runs([tmp_path / "sweep"]).runs


def test_the_page_asks_nothing_of_the_network_and_holds_its_data(
    tmp_path: Path, runs: list[Run]
) -> None:
    runs[0].name = "</script><script>alert(1)</script> @PLOTLY@"
    text = write_page(tmp_path / "page.html", runs, title="a < b").read_text()
    assert "<title>a &lt; b</title>" in text
    own = text[: text.index('id="data"')]
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", own)
    assert "connect-src 'none'" in own
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert data["runs"][0]["name"] == runs[0].name
    assert data["quality"] == "ap_hard"


def test_labels_beside_each_other_are_short_and_differ(runs: list[Run]) -> None:
    for i, run in enumerate(runs):
        run.name = f"outputs/multirun/train-model-pruning-rate-9462ddd3/{i}"
        run.settings["phases.prune_epochs"] = i
    data = page_data(runs)
    ticks = [run["tick"] for run in data["runs"]]
    assert len(set(ticks)) == 8  # trainings and evaluations
    assert max(map(len, ticks)) <= 30
    assert data["axis_labels"]["phases.prune_epochs"] == "prune_epochs"


def test_what_was_measured_over_epochs_is_shown_first(tmp_path: Path, runs: list[Run]) -> None:
    assert page_data(runs)["curve"] == "val/ap_hard"
    for run in runs:
        run.curves = {
            "val/ap_hard": ([0.0], [0.9]),
            "holdout/ap_hard": ([0.0, 1.0], [0.8, 0.9]),
        }
    assert page_data(runs)["curve"] == "holdout/ap_hard"
    written = {path.name for path in draw_comparison(tmp_path, runs, page_data(runs))}
    assert "curves_holdout_ap_hard.png" in written
    assert "curves_val_ap_hard.png" not in written  # a point of each run is no curve


def test_every_plot_lies_beside_the_page_with_its_numbers(tmp_path: Path, runs: list[Run]) -> None:
    written = draw_comparison(tmp_path / "plots", runs, page_data(runs))
    names = {path.stem for path in written}
    assert {"front_params_slim", "parallel", "precision_recall_hard"} <= names
    assert {"curves_val_ap_hard", "kept_filters_eresfd"} <= names
    assert all(path.stat().st_size > 1000 for path in written)
    assert all(path.with_suffix(".csv").is_file() for path in written)


# without a screen, a graphics card, or a network to look for updates in
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize(("width", "scheme"), [(1600, "light"), (420, "dark")])
def test_the_page_in_a_browser(tmp_path: Path, runs: list[Run], width: int, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    references = [{"name": "YuNet", "data": "widerface", "params_slim": 75856.0, "ap_hard": 0.7}]
    runs[3].name = "3/train-model-pruning-rate-9462ddd3/eresfd-l1-0.3"
    path = write_page(tmp_path / "page.html", runs, title="sweep", references=references)
    errors: list[str] = []
    requests: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=300_000)
        page = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        ).new_page()
        page.set_default_timeout(300_000)  # the machine may be busy
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        page.wait_for_selector("#table tbody tr")
        # a long name stands in a few lines and not one letter above the other
        rows = page.locator("#table tbody tr")
        assert max(rows.nth(i).bounding_box()["height"] for i in range(rows.count())) < 120
        sorting_and_filtering(page)
        page.locator("#front").scroll_into_view_if_needed()
        page.wait_for_selector("#front .points path.point")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert "compare sizes with them, not quality" in page.inner_text("#front-foreign")
        stepping_by_keyboard(page)
        pointing_by_mouse(page)
        page.click("#unpick")  # a single run leaves nothing to lay side by side
        page.check("#front-log")
        with page.expect_download() as download:
            page.click('[data-csv="front"]')
        lines = Path(download.value.path()).read_text().splitlines()
        assert len(lines) == 1 + 4 + 1
        for part in ("parallel", "curves", "quality", "layers"):
            page.locator(f"#{part}").scroll_into_view_if_needed()
            page.wait_for_selector(f"#{part} .main-svg")
        keeping_looks(page)
        page.click("#theme")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def sorting_and_filtering(page: Any) -> None:
    first = "#table tbody tr td:first-child span"
    page.locator("#table th button", has_text="AP hard").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(first).all_inner_texts()[0].startswith("0")
    page.keyboard.press("Enter")
    assert page.locator(first).all_inner_texts()[0].startswith("3")
    page.fill("#filter", "l1 params_slim<70k training")
    assert page.locator("#table tbody tr").count() == 1
    page.fill("#filter", "nonsense<3")
    assert "nonsense" in page.inner_text("#filter-problem")
    page.fill("#filter", "training")
    assert page.inner_text("#filter-problem") == ""
    assert page.locator("#table tbody tr").count() == 4


def keeping_looks(page: Any) -> None:
    """A series has the same color whichever runs are left."""
    look = "[...front.data].filter((t) => t.name.includes('l1')).map((t) => t.marker.color)[0]"
    before = page.evaluate(look)
    page.fill("#filter", "l1")
    page.locator("#front").scroll_into_view_if_needed()
    assert page.evaluate(look) == before
    page.fill("#filter", "")


def stepping_by_keyboard(page: Any) -> None:
    page.focus("#front")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#front-point").startswith("1 of 5")
    page.wait_for_selector("#front .hovertext")
    page.keyboard.press("Enter")
    assert page.locator("#table tr.picked").count() == 1


def pointing_by_mouse(page: Any) -> None:
    page.focus("#front-log")  # away from the plot, what the keys showed goes
    page.wait_for_selector("#front .hovertext", state="detached")
    # the second point of a trace lies in the middle of the plot
    box = page.locator("#front .points path.point").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.wait_for_selector("#front .hovertext")
    assert "AP hard" in page.locator("#front .hovertext").first.text_content()
