"""Raw files to checked tables."""

from .engine import Engine

__all__ = ["Engine"]
