"""``python -m secateur.wandb_workspace ENTITY/PROJECT``: a saved workspace and a report."""

import sys

from secateur.workflows.tracking.wandb_workspace import main

if __name__ == "__main__":
    sys.exit(main())
