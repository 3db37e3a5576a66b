"""Evaluation of models on datasets, and its result files."""
