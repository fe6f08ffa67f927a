"""What a newer ComfyUI does at --enable-manager, before its packs' own scripts: in hosts that do not know it, a pack does it."""

from comfy.cli_args import args

args.enable_manager = args.enable_manager_legacy_ui = True

import comfyui_manager  # noqa: E402

comfyui_manager.prestartup()
