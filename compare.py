"""Put runs beside each other: ``python compare.py outputs/ sort=ap_hard``."""

if __name__ == "__main__":
    from secateur.workflows.cli import run_command

    run_command("compare")
