"""Where to compute, and whether in bfloat16: on a GPU always, on a processor where its vectors know more than AVX2.

Owns these choices and compilation for a GPU. Without such instructions bfloat16 is many times slower than float32.
"""

import torch


def has_bfloat16(device: str) -> bool:
    """Whether bfloat16 is fast on a device of this type, "cpu" or "cuda"."""
    return device != "cpu" or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX", "AVX2")


def best_device() -> str:
    """ "cuda" where there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def compiled(function, device: str):
    """The function as one graph of GPU kernels; itself for a processor."""
    return function if device == "cpu" else torch.compile(function, dynamic=False, fullgraph=True)


def autocast(device: str):
    """A context in which networks compute in bfloat16 where that is fast."""
    return torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))
