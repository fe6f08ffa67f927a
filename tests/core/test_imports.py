"""freescale_core stands alone: torch, einops, numpy and the standard library, and importing it changes nothing."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ALLOWED = {"torch", "einops", "numpy"}


def test_sources_name_nothing_else():
    core = ROOT / "freescale_core"
    for path in core.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level <= len(path.relative_to(core).parts), f"{path.name} reaches outside of its package"
                names = [node.module] if node.level == 0 else []
            tops = {name.split(".")[0] for name in names}
            assert tops <= ALLOWED | sys.stdlib_module_names, f"{path.name} imports {tops}"


def test_imports_without_a_host_and_touches_nothing():
    code = """
import sys, os, importlib, pkgutil, random
import torch, einops, numpy, torch.nn.functional
class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in {"torch", "einops", "numpy", "freescale_core"} | set(sys.stdlib_module_names):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
sys.path.insert(0, sys.argv[1])
def state():
    return (torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), torch.cuda.is_initialized(),
            torch.backends.cudnn.benchmark, numpy.random.get_state()[1].tolist(), random.getstate(), dict(os.environ), os.getcwd(), tuple(sys.path))
before, loaded = state(), set(sys.modules)
import freescale_core
names = [m.name for m in pkgutil.walk_packages(freescale_core.__path__, "freescale_core.")]
for name in names:
    importlib.import_module(name)
assert state() == before
new = {name.split(".")[0] for name in set(sys.modules) - loaded}
assert new <= {"freescale_core", "torch", "einops", "numpy"} | set(sys.stdlib_module_names), new
print(*names)
"""
    done = subprocess.run([sys.executable, "-B", "-c", code, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {"attention", "detail", "dilation", "geometry", "grammar.stages", "schedule", "rivals.demofusion"}
    assert {f"freescale_core.{name}" for name in names} <= set(done.stdout.split())
