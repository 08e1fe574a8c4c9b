from .parameters import SimulationSettings
from .worlds import World, draw_world

__all__ = ["SimulationSettings", "World", "draw_world"]
