"""Counts ARM instructions of doorward and its peers under an emulator.

benches/count.c counts; a run is the difference between two numbers of runs. Counts are exact for doorward and hold
to half a million for the peers (five for ncnn's f32, which sometimes spares itself a run's work), but they are not
time. benches/peers installs what the peers need.
"""

import os
import shutil
import subprocess

ROOM = "target/compare/arm"  # of the peers' arm64 Python, below the project's folder
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# By level: the emulated core, and what /proc/cpuinfo has to say, for engines that choose their kernels by it.
CORES = {
    "neon": ("cortex-a53", "0xd03", "fp asimd crc32"),
    "dotprod": ("cortex-a76", "0xd0b", "fp asimd crc32 atomics fphp asimdhp asimdrdm asimddp"),
    "i8mm": ("max", "0xd4f", "fp asimd crc32 atomics fphp asimdhp asimdrdm asimddp i8mm bf16"),
}
PEERS = {
    "ONNX Runtime int8": ("onnxruntime", "qop_u8.onnx"),
    "ONNX Runtime int8, ReLU, u8": ("onnxruntime", "qdq_u8_relu.onnx"),
    "ONNX Runtime int8, ReLU, s8": ("onnxruntime", "qdq_s8_relu.onnx"),
    "ONNX Runtime f32": ("onnxruntime", "f32.onnx"),
    "ncnn int8": ("ncnn", "ncnn_int8"),
    "ncnn int8, ReLU": ("ncnn", "ncnn_int8_relu"),
    "ncnn f32 (fp16 where the core has it)": ("ncnn", "ncnn_f32"),
}


class Counter:
    """Counts in the folder `work` of the project at `root`; `binary` is doorward's for arm64."""

    def __init__(self, root, work, binary):
        self.root, self.work, self.binary = root, work, binary
        self.plugin = work / "count.so"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", root / "benches/count.c", "-o", self.plugin],
                       check=True)

    def run(self, core, library, environment, *command):
        """Instructions of one command."""
        command = ["qemu-aarch64", "-L", library, "-cpu", core, "-plugin", self.plugin, *command]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        last = [line for line in done.stderr.splitlines() if line.startswith("instructions ")][-1]
        return int(last.split()[1])

    def doorward(self, level, *arguments):
        """Million instructions of one run of `doorward bench`."""
        # Without these the program would start itself anew, which the emulator cannot.
        environment = {"MALLOC_TRIM_THRESHOLD_": "4194304", "MALLOC_MMAP_THRESHOLD_": "33554432",
                       "RUST_LOG": "off", "DOORWARD_ISA": level,
                       "TRACT_CPU_AARCH64_KIND": "a53" if level == "neon" else "a72"}
        less, more = (self.run(CORES[level][0], "/usr/aarch64-linux-gnu", environment, self.binary,
                               "--json", "bench", *arguments, "--runs", str(runs)) for runs in (1, 5))
        return round((more - less) / 4 / 1e6, 2)

    def peer(self, level, engine, model):
        """Million instructions of one run of a peer's arm64 wheel in an emulated Python."""
        room, (core, part, features) = self.root / ROOM, CORES[level]
        processor = "".join(f"processor\t: {n}\nFeatures\t: {features}\nCPU implementer\t: 0x41\n"
                            f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\n"
                            f"CPU revision\t: 1\n\n" for n in range(os.cpu_count()))
        (room / "root/proc").mkdir(exist_ok=True)
        (room / "root/proc/cpuinfo").write_text(processor)
        python, = (room / "root/usr/bin").glob("python3.*")
        environment = ONE_THREAD | {"PYTHONPATH": str(room / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
        less, more = (self.run(core, room / "root", environment, python, self.root / "benches/peer.py", engine,
                               self.work / model, self.work / "input.npy", str(runs)) for runs in (1, 9))
        return round((more - less) / 8 / 1e6, 1)


def ours(counter):
    """Million instructions of doorward by what ran."""
    network, relu = (("--network", counter.work / f"int8{suffix}.onnx") for suffix in ("", "_relu"))
    found = {level: counter.doorward(level, *network) for level in CORES}
    found |= {f"{level}_relu": counter.doorward(level, *relu) for level in CORES}
    stock = ("--network", counter.work / "f32.onnx", "--stock")
    found["tract_f32"] = counter.doorward("dotprod", *stock)
    for level in ["neon", "dotprod"]:
        for stage, key in [("pipeline", "step"), ("detect", "detect"), ("embed", "embed")]:
            found[f"{key}_{level}"] = counter.doorward(level, "--stage", stage)
    found["idle"] = counter.doorward("neon", "--stage", "idle")
    return found


def peers(counter):
    """Million instructions of the peers, by engine and level."""
    return {name: {level: counter.peer(level, *of) for level in CORES} for name, of in PEERS.items()}


def ready(root, binary):
    """What cannot be counted here, as words for the reader, or nothing."""
    if not binary.exists() or not shutil.which("qemu-aarch64"):
        return "ARM: skipped, needs the binary of cross/build and qemu-user"
    if not (root / ROOM / "site").exists():
        return "ARM: skipped, benches/peers has not run"
    return None
