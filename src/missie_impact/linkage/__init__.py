"""Participant list to firms: Chamber-of-Commerce numbers, and identities that change."""

from missie_impact.linkage.identity import Successors, resolve_successors
from missie_impact.linkage.participants import Linkage, link_participants

__all__ = ["Linkage", "Successors", "link_participants", "resolve_successors"]
