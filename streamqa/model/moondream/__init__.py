"""moondream2 in plain PyTorch, from pixels to token ids."""
