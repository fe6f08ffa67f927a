"""Packages of a few bytes, cache folders that are one test's own, and trainings that are interrupted."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _make_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    info = f"{name}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


@pytest.fixture(scope="session")
def make_wheel():
    """make_wheel(folder, name, files): a real wheel that pip installs without any network."""
    return _make_wheel


def _forget_host(patch: pytest.MonkeyPatch) -> None:
    for name in ("COMFYUI_PATH", "COMFYUI_VERSION", "COMFYUI_FRONTEND"):
        patch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def elsewhere():
    """elsewhere(patch, folder): a cache folder there, for no host in particular."""

    def move(patch: pytest.MonkeyPatch, folder: Path) -> Path:
        patch.setenv("FREESCALE_CACHE", str(folder))
        _forget_host(patch)
        return folder / "comfyui-freescale"

    return move


@pytest.fixture
def cache(tmp_path, monkeypatch, elsewhere):
    """An empty cache folder for one test."""
    return elsewhere(monkeypatch, tmp_path)


@contextmanager
def _interrupted(optimizer: type, after: int) -> Iterator[None]:
    steps = iter(range(after))

    def step(*args, step=optimizer.step):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return step(*args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optimizer, "step", step)
        yield


@pytest.fixture
def interrupted():
    """with interrupted(optimizer, after): a training in which somebody presses Ctrl-C after so many of its steps."""
    return _interrupted
