"""Machines in the world of a test."""

import pytest

from tests.support.machines import Machines
from tests.support.people import World


@pytest.fixture
def machines(world: World) -> Machines:
    return Machines(world)
