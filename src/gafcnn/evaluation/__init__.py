"""Predictions, ensembles, trading, statistics and the judge."""
