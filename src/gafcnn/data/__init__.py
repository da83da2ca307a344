"""Bars, features, labels, splits and samples."""
