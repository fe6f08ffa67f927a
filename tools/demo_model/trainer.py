"""Training to the end of a number of steps or minutes, also after a cut, and the command line of the scripts that do so."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

AVERAGE_EVERY, REPORT_EVERY = 8, 250  # steps
SAVE_EVERY = 90  # seconds


def adamw(parameters: Iterable[torch.nn.Parameter], rate: float, **options) -> torch.optim.AdamW:
    """AdamW whose learning rate is a tensor, which a recorded CUDA graph reads anew at each replay."""
    parameters = list(parameters)
    gpu = parameters[0].is_cuda
    lr = torch.tensor(rate, device=parameters[0].device)
    return torch.optim.AdamW(parameters, lr, fused=gpu, foreach=False, capturable=gpu, **options)


def alphas(device: torch.device) -> torch.Tensor:
    """The signal's share of the power, ᾱ, at each of SDXL's 1000 timesteps."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float().to(device)


def last_twelfth(count: int) -> float:
    """The decay of an average over about the last twelfth of all steps, however many they are."""
    return (1 - AVERAGE_EVERY / count) ** 12


class Trainer:
    """Runs optimizers by a schedule over the steps (or over the minutes if given), and averages the weights.

    `rate` gives the share of the highest learning rates, which are tensors, by the number of steps done and by how much of the
    training is done; `decay` gives the average's by the number of steps.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        optimizers: list[torch.optim.Optimizer],
        rate: Callable[[int, float], float],
        decay: Callable[[int], float],
        steps: int,
        minutes: float = 0,
    ):
        self.module, self.optimizers, self.rate, self.decay = module, optimizers, rate, decay
        self.steps, self.minutes = steps, minutes
        self.highest = [group["lr"].item() for group in self._groups()]
        self.count, self.began = 0, time.time()
        self.device = next(module.parameters()).device
        self.average = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self.losses: list[float] = []
        self.running = torch.zeros(2, device=self.device)  # sum and number of the losses since the last report

    def _groups(self) -> list[dict]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def state_dict(self) -> dict:
        """All that going on needs."""
        return {
            "module": self.module.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict()["state"] for optimizer in self.optimizers],
            "count": self.count,
            "seconds": time.time() - self.began,
            "losses": self.losses,
            "running": self.running,
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from there."""
        self.module.load_state_dict(state["module"])
        for optimizer, its in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(optimizer.state_dict() | {"state": its})
        self.began = time.time() - state["seconds"]
        self.average, self.count, self.losses, self.running = (state[k] for k in ("average", "count", "losses", "running"))

    def summary(self) -> dict:
        """What is recorded of a training run."""
        return {
            "steps": self.count,
            "minutes": round((time.time() - self.began) / 60, 1),
            "loss": round((self.losses or [0])[-1], 5),
        }

    def progress(self) -> float:
        """How much of the training is done, 0 … 1."""
        return min(1, max(self.count / self.steps, self.minutes and (time.time() - self.began) / (60 * self.minutes)))

    def run(self, loss_of: Callable, save: Callable | None = None, graph: bool = False) -> None:
        """Train to the end; `graph` records one step as a CUDA graph and replays it, which needs a loss made on the GPU."""
        step = self._recorded(loss_of) if graph else lambda: self._update(loss_of)
        saved = time.time()
        while (done := self.progress()) < 1:
            for group, highest in zip(self._groups(), self.highest):
                group["lr"].fill_(highest * self.rate(self.count, done))
            step()
            self.count += 1
            if self.count % AVERAGE_EVERY == 0:
                state = self.module.state_dict()
                get_ema_multi_avg_fn(self.decay(self.count))(list(self.average.values()), [state[k] for k in self.average], None)
            if self.count % REPORT_EVERY == 0:
                self._report()
            if save and time.time() - saved >= SAVE_EVERY:
                save()
                saved = time.time()
        if self.running[1]:
            self._report()
        self.module.load_state_dict(self.average)
        self.module.eval().requires_grad_(False)

    def run_resumable(self, loss_of: Callable, generator: torch.Generator, folder: Path, resume: bool) -> None:
        """`run`, keeping all that going on needs in the folder: this, and what the loss draws from; and go on from it to `resume`."""
        checkpoint = folder / "checkpoint.pt"

        def save() -> None:
            part = checkpoint.with_suffix(".part")  # what was saved before is kept until this is whole
            torch.save({"trainer": self.state_dict(), "generator": generator.get_state()}, part)
            os.replace(part, checkpoint)

        if resume:
            state = torch.load(checkpoint, map_location=self.device, weights_only=True)
            self.load_state_dict(state["trainer"])
            generator.set_state(state["generator"].cpu())
        self.run(loss_of, save)

    def _report(self) -> None:
        total, number = self.running.tolist()
        self.losses.append(total / number)
        self.running.zero_()
        print(f"  step {self.count}  loss {self.losses[-1]:.5f}  {time.time() - self.began:.0f} s", flush=True)

    def _update(self, loss_of) -> None:
        self.module.zero_grad(set_to_none=False)
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.running += torch.stack([loss.detach().float(), torch.ones_like(self.running[0])])

    def _recorded(self, loss_of):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):
                self._update(loss_of)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._update(loss_of)
        return graph.replay


def command_line(about: str | None, comfyui: str) -> argparse.ArgumentParser:
    """What every resumable training is told; `comfyui` says which one it needs."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--comfyui", type=Path, required=True, help=comfyui)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to; the pack carries what is in nodes/demo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=2412)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    return parser


def prepare(args: argparse.Namespace) -> None:
    """A ComfyUI to import from, and the folder to write to."""
    sys.path.insert(0, str(args.comfyui))
    from comfy.cli_args import args as host

    host.cpu, host.use_pytorch_cross_attention = args.device == "cpu", True
    torch.set_flush_denormal(True)
    args.out.mkdir(parents=True, exist_ok=True)
