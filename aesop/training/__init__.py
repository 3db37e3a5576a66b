"""The training run: loop, checkpoints, random state."""
