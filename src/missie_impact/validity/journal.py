"""Runs that can be stopped: what each seed gave is a line of its own, read again when the run goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm


def read_journal(journal: Path) -> dict[int, Any]:
    """Return what was found by seed; a later line of a seed adds to an earlier one, a line cut off does not count."""
    found: dict[int, Any] = {}
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        seed, old = int(record["seed"]), found.get(int(record["seed"]))
        found[seed] = old | record["found"] if isinstance(old, dict) else record["found"]
    return found


def add_to_journal(journal: Path, seed: int, found: Any) -> None:
    """Write what a seed gave on a line of its own."""
    whole = not journal.exists() or journal.read_text(encoding="utf-8").endswith("\n")
    with journal.open("a", encoding="utf-8") as lines:
        lines.write(("" if whole else "\n") + json.dumps({"seed": seed, "found": found}) + "\n")


def drawn(
    journal: Path, seeds: Sequence[int], once: Callable[[int], Any], label: str, *, progress: bool | None = None
) -> dict[int, Any]:
    """Return what each seed gave: read where the journal has it, made and written there where it has not.

    Parameters
    ----------
    journal : its folder is made if need be
    once : seed -> numbers that JSON can hold
    label : of the progress bar
    progress : None shows a bar in a terminal only
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    done = read_journal(journal)
    todo = [seed for seed in seeds if seed not in done]
    hide = None if progress is None else not progress
    for seed in tqdm(todo, desc=label, unit="draw", disable=hide, file=sys.stderr):
        done[seed] = once(seed)
        add_to_journal(journal, seed, done[seed])
    return {seed: done[seed] for seed in seeds}
