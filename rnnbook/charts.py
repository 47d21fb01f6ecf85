"""Figures of the chapters on implementation: one Axes in, labelled Axes out."""

from __future__ import annotations
