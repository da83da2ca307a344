"""Explanations of a prediction, bar by bar."""
