"""Runs a model over data sets, and makes results of the scores."""
