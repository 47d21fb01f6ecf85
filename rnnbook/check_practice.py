"""Checks of the exercises on practice: text to tensors, training, evaluation."""

from __future__ import annotations
