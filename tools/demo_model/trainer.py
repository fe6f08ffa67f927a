"""Training to the end of a number of steps or minutes."""

import math
import time

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Trainer:
    """AdamW with warm-up, cosine decay (over the steps, or over the minutes if given) and averaged weights."""

    def __init__(self, module: torch.nn.Module, lr: float, steps: int, minutes: float = 0):
        self.module, self.lr, self.steps, self.minutes = module, lr, steps, minutes
        self.count, self.began = 0, time.time()
        self.device = next(module.parameters()).device
        self.rate = torch.tensor(lr / 200, device=self.device)
        gpu = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=self.rate, weight_decay=1e-3, fused=gpu, foreach=False, capturable=gpu
        )
        self.average = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self.losses: list[float] = []
        self.running = torch.zeros(2, device=self.device)

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

    def run(self, loss_of, save=None, graph: bool = False) -> None:
        """Train to the end; `graph` records one step as a CUDA graph and replays it, which needs a loss made on the GPU."""
        step = self._recorded(loss_of) if graph else lambda: self._update(loss_of)
        saved = time.time()
        while (done := self.progress()) < 1:
            self.rate.fill_(self.lr * min((self.count + 1) / 200, 1) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2))
            step()
            self.count += 1
            if self.count % 8 == 0:
                state = self.module.state_dict()
                decay = min(0.996, self.count / (self.count + 100))
                get_ema_multi_avg_fn(decay)(list(self.average.values()), [state[k] for k in self.average], None)
            if self.count % 500 == 0:
                total, number = self.running.tolist()
                self.losses.append(total / number)
                self.running.zero_()
                print(f"  step {self.count}  loss {self.losses[-1]:.5f}  {time.time() - self.began:.0f} s", flush=True)
            if save and time.time() - saved > 90:
                save(self.average)
                saved = time.time()
        self.module.load_state_dict(self.average)
        self.module.eval().requires_grad_(False)

    def _update(self, loss_of) -> None:
        self.optimizer.zero_grad(set_to_none=False)
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
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
