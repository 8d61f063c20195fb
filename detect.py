"""Find faces on pictures or a video: ``python detect.py run=latest source=FOLDER``."""

if __name__ == "__main__":
    from secateur.workflows.cli import run_command

    run_command("detect")
