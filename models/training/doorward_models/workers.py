"""Several single-threaded training processes that share every gradient.

Owns the process group. One process with two threads loses most of its time at barriers when other
programs use the same cores; single-threaded processes that exchange gradients once a step do not.
"""

import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run(count: int, function, *arguments) -> None:
    """Calls `function(rank, *arguments)` in `count` processes, each with one thread; one needs no process."""
    if count == 1:
        return function(0, *arguments)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_enter, (count, f"file://{folder}/rendezvous", function, arguments), count)


def _enter(rank: int, count: int, rendezvous: str, function, arguments) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=count)
    try:
        function(rank, *arguments)
    finally:
        dist.destroy_process_group()


def share_gradients(parameters, seconds: float) -> float:
    """Replaces each gradient by its mean over all processes; returns the mean of `seconds`.

    The time travels with the gradients so that every process agrees on the schedule.
    """
    if not dist.is_initialized():
        return seconds
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([seconds])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat[:-1].split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts):
        gradient.copy_(part.view_as(gradient))
    return flat[-1].item()
