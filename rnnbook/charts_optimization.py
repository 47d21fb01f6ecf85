"""Figures of the chapters on optimization: one Axes in, labelled Axes out."""
