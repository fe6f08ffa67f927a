"""Fixtures: ComfyUI's real web client in a headless Chromium, once with the classic canvas and, if it has it, once with Nodes 2.0."""

import os
from pathlib import Path

import pytest
from editor import RENDERERS, furnish, open_client

from tools.server import Server


@pytest.fixture(scope="session")
def server(chromium, host, tmp_path_factory):
    """A real ComfyUI with the pack."""
    workdir = tmp_path_factory.mktemp("comfyui")
    furnish(workdir)
    with Server(host, workdir) as server:
        yield server


@pytest.fixture(scope="module", params=RENDERERS)
def client(request, server, browser):
    """The web client, open and idle; `client.nodes_2` says which renderer it uses."""
    page = open_client(server, browser, request.param)
    yield page
    page.close()


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Where screenshots go."""
    folder = Path(os.environ.get("FREESCALE_ARTIFACTS") or tmp_path_factory.mktemp("artifacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
