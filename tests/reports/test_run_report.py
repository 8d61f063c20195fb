from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from secateur.reports.metrics_file import read_curves
from secateur.reports.plots import Span
from secateur.reports.run_report import closing_rows, closing_table, draw_plots
from secateur.reports.tables import NOTHING

SUMMARY = {
    "model": "eresfd",
    "criterion": "fpgm",
    "rate": 0.3,
    "data": "demo_faces",
    "params_dense": 92208,
    "params_nonzero": 64000,
    "params_slim": 69156,
    "sparsity": 0.306,
    "macs_dense": 393_000_000,
    "macs_slim": 196_500_000,
    "latency_ms_dense": 23.44,
    "latency_ms_slim": 9.876,
    "slim_max_abs_diff": 3.1e-6,
    "ap_hard_start": 0.8,
    "ap_hard_masked": 0.5,
    "ap_hard": 0.78,
}


def test_nominal_and_physical_figures_stand_apart() -> None:
    rows = {row[0]: row[1:] for row in closing_rows(SUMMARY)}
    assert rows["parameters"] == ["92,208", "92,208", "69,156", "-25.0 %"]
    assert rows["non-zero parameters"][1] == "64,000"
    assert rows["sparsity"][1] == "30.6 %"
    assert rows["MACs"] == ["393.0 M", "393.0 M", "196.5 M", "-50.0 %"]
    assert rows["latency on CPU"][::2] == ["23.4 ms", "9.88 ms"]
    assert rows["AP hard"] == ["0.8000", "0.5000", "0.7800", "-0.0200"]
    assert "AP easy" not in rows


def test_a_reconstructed_network_has_a_column_where_it_was_measured() -> None:
    out = io.StringIO()
    summary = {**SUMMARY, "ap_hard_reconstructed": 0.7}
    closing_table(summary, Console(file=out, width=120))
    assert "reconstructed" in out.getvalue()
    rows = {row[0]: row[1:] for row in closing_rows(summary)}
    assert {len(row) for row in rows.values()} == {5}
    assert rows["AP hard"] == ["0.8000", "0.5000", "0.7000", "0.7800", "-0.0200"]
    assert rows["parameters"] == ["92,208", "92,208", NOTHING, "69,156", "-25.0 %"]


def test_table_names_the_run_and_warns_of_drawn_faces() -> None:
    out = io.StringIO()
    closing_table(SUMMARY, Console(file=out, width=100))
    text = out.getvalue()
    assert "eresfd · fpgm · rate 0.3 · demo_faces" in text
    assert "3.1e-06" in text
    assert "say nothing about real pictures" in " ".join(text.split())


def test_a_record_with_holes_still_prints() -> None:
    closing_table({}, Console(file=io.StringIO()))
    assert all(len(row) == 5 for row in closing_rows({"ap_easy": 0.5}))


def test_plots_come_from_the_files_of_the_folder(tmp_path: Path) -> None:
    assert draw_plots(tmp_path) == []
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,name,value\n0,9,train/loss,2.5\n1,19,train/loss,1.5\n1,19,val/ap_hard,0.5\n"
        ",19,lr,0.1\n2,29,train/loss,"
    )
    layer = {"name": "conv", "filters": 8, "kept": 5, "slim": 6}
    (tmp_path / "pruning.json").write_text(json.dumps({"layers": [layer]}))
    written = draw_plots(tmp_path, [Span("soft", 0, 1)])
    assert [path.name for path in written] == ["loss.png", "quality.png", "kept_filters.png"]
    assert all(path.stat().st_size > 5000 for path in written)
    assert read_curves(tmp_path / "metrics.csv")["train/loss"] == ([0, 1], [2.5, 1.5])


def test_filters_that_grew_back_are_drawn_where_there_are_such_figures(tmp_path: Path) -> None:
    rows = [
        f"{epoch},{epoch},pruning/{name},{value}"
        for name, values in (("nonzero", (1.0, 1.0, 0.9)), ("regrown", (0.3, 0.1, 0.02)))
        for epoch, value in enumerate(values, 3)
    ]
    (tmp_path / "metrics.csv").write_text("\n".join(["epoch,step,name,value", *rows, ""]))
    spans = [Span("dense", 0, 2), Span("pruning", 3, 5), Span("fine-tuning", 6, 8)]
    (written,) = draw_plots(tmp_path, spans)
    assert written.name == "regrown.png"
    assert written.stat().st_size > 5000
