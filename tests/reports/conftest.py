"""What users of this pack's neighbours have reported, tried on this one: a file for each kind, each test says who met it where."""

from host_models import *  # noqa: F403
from web_client import *  # noqa: F403
