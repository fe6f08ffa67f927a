"""What users of this pack's neighbours have reported, tried on this one: a file for each kind, each test says who met it where."""

from comfy.model_patcher import ModelPatcher
from host_models import *  # noqa: F403
from web_client import *  # noqa: F403

# Hosts of 2025 make no copy of a model for a second device.
collect_ignore = [] if hasattr(ModelPatcher, "deepclone_multigpu") else ["test_cfg_split.py"]
