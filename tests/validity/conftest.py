"""One small simulated register for the tests of this folder."""

import pytest

from missie_impact import build_panel, simulate_registers


@pytest.fixture(scope="session")
def panel():
    with simulate_registers(11, firms=8_000, progress=False) as registers:
        yield build_panel(registers)
