"""Checks of the exercises on application: failures, explanations, Chinese."""

from __future__ import annotations
