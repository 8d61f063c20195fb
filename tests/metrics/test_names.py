"""The table of figures."""

from __future__ import annotations

from secateur.metrics.names import FIGURES, QUALITY, STAGES, find_figure, ratios


def test_every_quality_is_found_under_all_its_names() -> None:
    for figure in QUALITY:
        for stage in STAGES:
            keyed = find_figure(f"{figure.name}{stage.suffix}")
            logged = find_figure(f"{stage.prefix}/{figure.name}")
            assert keyed is not None
            assert logged is not None
            assert keyed.goal == logged.goal == figure.goal


def test_labels_and_names_are_unique() -> None:
    assert len({figure.label for figure in FIGURES.values()}) == len(FIGURES)


def test_what_is_no_figure_is_not_found() -> None:
    assert find_figure("model") is None
    assert find_figure("latency_start") is None


def test_ratios_need_both_sides() -> None:
    assert ratios({"params_slim": 1}) == {}
    assert ratios({"eer": 0.3, "eer_start": 0.2}) == {"eer_rise": 0.1}
