"""Training steps per second of one and of two processes that share gradients through gloo.

    python -m benchmarks.process_steps [PROCESSES ...] [--steps 12] [--size 256] [--batch 8]

EResFD with its loss and Adam on fixed pictures, a thread per process: no data is read, so what two
processes take longer than one is what sharing gradients costs. Beside the wall time, which a busy
machine stretches, the processor time of a step is told.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from multiprocessing.queues import SimpleQueue

import torch
import torch.distributed
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from secateur.detectors.detection import batch_losses
from secateur.detectors.eresfd import EResFD


class Step(torch.nn.Module):
    """A network and its loss as one forward, which is what gradients are shared behind."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EResFD()

    def forward(self, images: Tensor, faces: list[Tensor]) -> Tensor:
        """Loss of a batch."""
        return torch.stack(list(batch_losses(self.network, images, faces).values())).sum()


def work(
    rank: int, processes: int, folder: str, options: argparse.Namespace, told: SimpleQueue[float]
) -> None:
    """One process: warm up, then time the steps."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes
    )
    step: torch.nn.Module = Step().to(memory_format=torch.channels_last)
    if processes > 1:
        step = DistributedDataParallel(step)
    optimizer = torch.optim.Adam(step.parameters())
    images = torch.rand(options.batch, 3, options.size, options.size)
    faces = [torch.tensor([[0.2, 0.2, 0.6, 0.7]])] * options.batch
    for number in range(options.steps + 2):
        if number == 2:
            torch.distributed.barrier()
            began, spent = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        step(images, faces).backward()
        optimizer.step()
    seconds, processor = time.perf_counter() - began, time.process_time() - spent
    if rank == 0:
        told.put(options.steps / seconds)
        told.put(1000 * processor / options.steps)
    torch.distributed.destroy_process_group()


def main() -> None:
    """Print a row for each number of processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("processes", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for processes in options.processes:
        told: SimpleQueue[float] = spawn.SimpleQueue()
        with tempfile.TemporaryDirectory() as folder:
            workers = [
                spawn.Process(target=work, args=(rank, processes, folder, options, told))
                for rank in range(processes)
            ]
            for worker in workers:
                worker.start()
            rate, processor = told.get(), told.get()
            for worker in workers:
                worker.join()
        print(
            f"{processes:3} processes: {rate:6.2f} steps/s of {processes} x {options.batch} "
            f"pictures, {processor:7.0f} ms of processor a step",
            flush=True,
        )


if __name__ == "__main__":
    main()
