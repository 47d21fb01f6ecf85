"""Checks of the exercises on optimization: speed, long sequences, robustness."""
