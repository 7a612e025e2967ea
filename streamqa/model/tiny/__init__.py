"""The embedded model: moondream2's architecture in a few megabytes, trained on `streamqa.scenes`."""
