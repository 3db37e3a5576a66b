"""Shared by training and test runs: checks before the start, run folders, logs."""
