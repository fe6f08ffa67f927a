"""The workflow that the painter's tests paint in."""

import pytest
from editor import saved, set_values, show


@pytest.fixture
def region(client):
    """The region workflow without its painting, small; afterwards no painter is open."""
    show(client, saved("freescale_region_detail"))
    set_values(client, regions="", steps=6)
    yield client
    client.evaluate("document.querySelectorAll('.freescale-painter').forEach(dialog => dialog.close())")
    assert client.faults == []
