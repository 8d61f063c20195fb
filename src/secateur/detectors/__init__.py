"""Face detectors: networks, anchors, matching, losses and post-processing."""
