"""Find faces on pictures or a video: ``python detect.py run=latest source=FOLDER``."""

if __name__ == "__main__":
    from secateur.workflows.cli import run_command
    from secateur.workflows.deploy.detect import detect

    run_command("detect", detect)
