"""Evaluate published weights one after the other and print the tables of experiments/README.md.

    python experiments/evaluate_published.py WEIGHTS_FOLDER WIDER_ROOT [--match eresfd]
        [--protocol single] [--only listed]

Every evaluation is kept in outputs/published and done once, so an interrupted run goes on. Without
the two folders only the tables are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from secateur.reports.evaluation_files import RECORD, read_record
from secateur.weights.detector_weights import identify, read_weights
from secateur.workflows.evaluate.faces import evaluate

HOME = Path(__file__).resolve().parents[1]
RESULTS = HOME / "outputs" / "published"
SETTINGS = ("easy", "medium", "hard", "unlisted", "all")


def main() -> None:
    """Evaluate what is not there yet, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", type=Path)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("--match", default="", help="only files with this in their name")
    parser.add_argument("--protocol", default="single")
    parser.add_argument("--only", default="all", help="all | listed | unlisted")
    options = parser.parse_args()
    if options.root is not None:
        files = sorted(options.weights.glob("*.safetensors")) + sorted(
            options.weights.glob("**/*.onnx")
        )
        for file in files:
            if options.match in file.name:
                evaluate_file(file, options.root.resolve(), options.protocol, options.only)
    print_tables()


def evaluate_file(file: Path, root: Path, protocol: str, only: str) -> None:
    """Evaluate one file, unless that was done before with the same or more pictures."""
    folder = RESULTS / protocol / only / file.stem
    if (folder / RECORD).is_file() or (RESULTS / protocol / "all" / file.stem / RECORD).is_file():
        return
    started = time.perf_counter()
    with initialize_config_dir(str(HOME / "conf"), version_base="1.3"):
        config = compose(
            "evaluate",
            [
                f"model={model_of(file)}",
                f"weights={file}",
                f"data.root={root}",
                f"protocol={protocol}",
                f"only={only}",
                f"output_dir={folder}",
                "trainer.enable_progress_bar=false",
                "page_pictures=0",
            ],
        )
    evaluate(config)
    print(f"{file.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def model_of(file: Path) -> str:
    """The configuration that a file belongs to."""
    if file.suffix == ".onnx":
        return "yunet"
    found = identify(read_weights(file))
    if found is None:
        raise SystemExit(f"{file} belongs to no detector")
    return f"extd_{found.arguments['width']}" if found.model == "extd" else found.model


def print_tables() -> None:
    """Print one table per protocol."""
    for protocol in ("single", "vga", "multiscale"):
        records: dict[str, dict[str, Any]] = {}
        for only in ("listed", "unlisted", "all"):
            for path in sorted((RESULTS / protocol / only).glob(f"*/{RECORD}")):
                record = read_record(path.parent)
                known = records.setdefault(path.parent.name, record)
                known["ap"] = {**known["ap"], **record["ap"]}
        if records:
            print(f"\nprotocol={protocol}\n")
            print("\n".join(table(list(records.values()))))


def table(records: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of one table in Markdown, sorted by network and sparsity."""
    present = [name for name in SETTINGS if any(name in record["ap"] for record in records)]
    heads = ["weights", "parameters", "sparsity", *(f"AP {name}" for name in present)]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (len(heads) - 1)}"
    records = sorted(records, key=lambda r: (r["model"], origin(r)[1], r.get("sparsity") or 0.0))
    for record in records:
        sparsity = record.get("sparsity")
        cells = [
            " of ".join(origin(record)),
            f"{record['parameters']:,}" if record.get("parameters") else "",
            "" if sparsity is None else f"{100 * sparsity:.2f} %",
            *(f"{record['ap'][name]:.4f}" if name in record["ap"] else "" for name in present),
        ]
        yield f"| {' | '.join(cells)} |"


def origin(record: dict[str, Any]) -> tuple[str, str]:
    """File and repository."""
    name, _, repository = record.get("origin", "").partition(" of ")
    return (name or Path(record["path"]).stem), (repository or record["model"])


if __name__ == "__main__":
    main()
