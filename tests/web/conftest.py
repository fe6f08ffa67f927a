"""ComfyUI's real web client, for every test in this folder."""

from web_client import *  # noqa: F403
