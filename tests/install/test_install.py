"""Installing by ComfyUI-Manager, which clones, and by zip, under another folder name; and what is left after uninstalling."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
from beginner import draw_and_find_sdxl
from freescale.nodes import NODES
from PIL import Image

from tools.server import Server

NODE_IDS = {node.define_schema().node_id for node in NODES}
INTERNAL = {"FreeScaleCascadeStage", "FreeScaleStagePictures"}


def fetched(server: Server, path: str, data: bytes | None = None) -> bytes:
    request = urllib.request.Request(server.url + urllib.parse.quote(path), data)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def traces(server: Server) -> dict:
    """Everything that ComfyUI knows from its packs."""
    lists = ("/extensions", "/api/workflow_templates", "/i18n", "/global_subgraphs")
    return {"nodes": sorted(server.object_info), **{path: server.get(path) for path in lists}}


def require_all_of_it(server: Server, folder: str) -> None:
    """The pack in that folder has its nodes, scripts, help pages, templates, blueprints and languages, and no trouble."""
    root = server.workdir / "custom_nodes" / folder
    known = traces(server)
    assert set(server.node_ids(folder)) == NODE_IDS
    scripts = {path.relative_to(root / "js").as_posix() for path in root.glob("js/**/*.js")}
    listed = {urllib.parse.unquote(path) for path in known["/extensions"]}
    assert {f"/extensions/{folder}/{name}" for name in scripts} <= listed and scripts
    for path in root.glob("js/**/*.*"):
        assert fetched(server, f"/extensions/{folder}/{path.relative_to(root / 'js').as_posix()}") == path.read_bytes()
    assert {f"{name}.md" for name in NODE_IDS - INTERNAL} <= {path.name for path in root.glob("js/docs/*.md")}
    templates = {path.stem for path in root.glob("workflows/*.json")}
    assert set(known["/api/workflow_templates"][folder]) == templates
    for name in templates:
        assert json.loads(fetched(server, f"/api/workflow_templates/{folder}/{name}.json"))["nodes"]
    blueprints = [entry["name"] for entry in known["/global_subgraphs"].values() if folder in entry["info"]["node_pack"]]
    assert sorted(blueprints) == sorted(path.stem for path in root.glob("subgraphs/*.json"))
    for path in root.glob("locales/*/main.json"):
        assert json.loads(path.read_text("utf-8")).items() <= known["/i18n"][path.parent.name].items()
    assert not complaints(server)


def complaints(server: Server) -> list[str]:
    """The lines of the log that speak of trouble."""
    return [line for line in server.log.read_text("utf-8").splitlines() if re.search("error|traceback|fail|warn", line, re.I)]


def remove_by_the_manager(server: Server, folder: str) -> None:
    """Its Uninstall button."""
    server.post(
        "/v2/manager/queue/batch", {"uninstall": [{"id": folder, "ui_id": folder, "version": "unknown", "files": [folder]}]}
    )
    for _ in range(300):
        if not (server.workdir / "custom_nodes" / folder).exists():
            return
        time.sleep(0.1)
    raise AssertionError(server.log_tail())


def test_the_manager_installs_it_a_beginner_draws_and_nothing_of_it_is_left(computer, address, browser):
    folder = Path(address).stem
    with computer.start() as server:
        before, files, packages = traces(server), computer.files(), computer.pip("freeze")
        fetched(server, "/v2/customnode/install/git_url", address.encode())
    with computer.start() as server:
        require_all_of_it(server, folder)
        draw_and_find_sdxl(server, folder, browser)
        remove_by_the_manager(server, folder)
    with computer.start() as server:
        assert traces(server) == before
    assert computer.pip("freeze") == packages
    # What the person saved and set stays, and the Manager keeps a history.
    kept = ("output/freescale", "user/default", "user/__manager/")
    assert not [name for name in computer.files() - files if not name.startswith(kept)]


def test_a_zip_in_a_folder_of_another_name(computer, archive):
    folder = "my.nodes(2)"  # no spaces: ComfyUI lists the scripts of such a folder, but its server does not find them
    computer.unpack(archive, folder)
    try:
        with computer.start() as server:
            require_all_of_it(server, folder)
    finally:
        shutil.rmtree(computer.packs / folder)


def test_it_asks_for_no_package_that_comfyui_lacks(computer, repository):
    wanted = computer.pip("install", "--dry-run", "--requirement", repository / "requirements.txt")
    assert "einops" in wanted and "Would install" not in wanted


def test_the_archive_holds_what_people_need_and_no_more(archive, repository):
    with zipfile.ZipFile(archive) as content:
        names = set(content.namelist())
    folders = ("freescale_core", "js", "locales", "nodes", "subgraphs", "workflows")
    files = {"__init__.py", "pyproject.toml", "requirements.txt", "README.md", "CHANGELOG.md", "LICENSE"}
    inside = (path.relative_to(repository).as_posix() for folder in folders for path in (repository / folder).rglob("*.*"))
    assert names == {*inside, *files}
    assert archive.stat().st_size < 24e6


def test_icon_and_banner_are_as_the_registry_wants_them_and_as_the_script_draws_them(repository):
    settings = (repository / "pyproject.toml").read_text("utf-8")
    paths = [
        repository / path
        for path in re.findall(r'^(?:Icon|Banner) = "https://raw.githubusercontent.com/.+?/main/(.+)"$', settings, re.M)
    ]

    def pictures() -> list[np.ndarray]:
        return [np.asarray(Image.open(path).convert("RGBA"), np.float32) for path in paths]

    icon, banner = pictures()
    assert icon.shape == (400, 400, 4) and banner.shape[0] * 21 == banner.shape[1] * 9
    subprocess.run([sys.executable, "docs/registry/draw.py"], cwd=repository, check=True)
    assert [float(np.abs(new - old).mean()) < 0.5 for new, old in zip(pictures(), (icon, banner))] == [True, True]
