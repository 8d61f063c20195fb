"""Time networks and backends in turn: ``python benchmark.py run=latest``."""

if __name__ == "__main__":
    from secateur.workflows.cli import run_command

    run_command("benchmark")
