"""Checks of the exercises on layers: environment, core module, fast cells."""

from __future__ import annotations
