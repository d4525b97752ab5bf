#!/usr/bin/env python3
"""Compares doorward with other engines on one network, and counts ARM instructions.

Every engine runs on one thread, in turns, several rounds. What counts is the processor time of a
run in the best round, which a busy machine disturbs less than the time on the clock. For ARM see arm.py.

Writes target/compare.json and prints the tables of benches/README.md. See there what it needs.
"""

import argparse
import json
import os
import resource
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import arm
import mobilefacenet as net

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target/compare"
ARM = ROOT / "target/aarch64-unknown-linux-gnu/dist/doorward"


def session(model, threads=1, fused=True):
    options = ort.SessionOptions()
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


class Pictures(CalibrationDataReader):
    def __init__(self):
        self.seeds = iter(range(100, 116))

    def get_next(self):
        seed = next(self.seeds, None)
        return None if seed is None else {"input": net.tensor(net.picture(seed))}


FORMS = [("qdq_s8", QuantFormat.QDQ, QuantType.QInt8),
         ("qdq_u8", QuantFormat.QDQ, QuantType.QUInt8),
         ("qop_u8", QuantFormat.QOperator, QuantType.QUInt8)]


def write_models():
    """The network, with PReLU and with ReLU, in all its forms."""
    WORK.mkdir(parents=True, exist_ok=True)
    for relu, suffix in [(False, ""), (True, "_relu")]:
        layers = net.network(relu=relu)
        onnx.save(net.to_onnx(layers), WORK / f"f32{suffix}.onnx")
        onnx.save(net.to_onnx(layers, every=True), WORK / "every.onnx")
        every = session(WORK / "every.onnx")
        names = [o.name for o in every.get_outputs()]
        greatest = {"input": 1.0}
        for seed in range(100, 116):
            values = every.run(None, {"input": net.tensor(net.picture(seed))})
            for name, value in zip(names, values):
                greatest[name] = max(greatest.get(name, 0.0), float(np.abs(value).max()))
        scales = {name: value / 127 for name, value in greatest.items()}
        onnx.save(net.to_onnx(layers, scales), WORK / f"int8{suffix}.onnx")
        for name, form, kind in FORMS:
            quantize_static(WORK / f"f32{suffix}.onnx", WORK / f"{name}{suffix}.onnx", Pictures(),
                            quant_format=form, per_channel=True, activation_type=kind,
                            weight_type=QuantType.QInt8)
        net.to_ncnn(layers, WORK / f"ncnn_f32{suffix}")
        net.to_ncnn(layers, WORK / f"ncnn_int8{suffix}", scales)
    net.picture(1).tofile(WORK / "pixels.rgb")
    np.save(WORK / "input.npy", net.tensor(net.picture(1)))


RUNS = 40


def doorward(binary, model, *arguments, isa=None, pixels=WORK / "pixels.rgb"):
    """Processor time of a run in ms, and the output, of `doorward bench --network`."""
    environment = os.environ | ({"DOORWARD_ISA": isa} if isa else {})

    def run(runs):
        command = [binary, "--json", "bench", "--network", model,
                   "--pixels", pixels, "--runs", str(runs), *arguments]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return spent, np.asarray(json.loads(done.stdout)["output"])

    (less, output), (more, _) = run(1), run(1 + 2 * RUNS)
    return (more - less) / 2 / RUNS * 1000, output


def timed(run):
    """The same of a function; its first run, which may prepare something, is not counted."""
    output = run()
    start = time.process_time()
    for _ in range(RUNS):
        run()
    return (time.process_time() - start) / RUNS * 1000, np.asarray(output, np.float64).ravel()


def engines(binary):
    """A function for each engine that gives the time of a run in ms and the output."""
    picture = net.tensor(net.picture(1))

    def ours(model, *arguments, isa=None):
        return lambda: doorward(binary, WORK / model, *arguments, isa=isa)

    def onnxruntime(model):
        opened = session(WORK / model)
        return lambda: timed(lambda: opened.run(None, {"input": picture})[0])

    found = {
        "doorward int8": ours("int8.onnx"),
        "doorward int8, AVX2": ours("int8.onnx", isa="avx2"),
        "doorward int8, AVX-VNNI": ours("int8.onnx", isa="avxvnni"),
        "doorward f32": ours("f32.onnx"),
        "tract f32": ours("f32.onnx", "--stock"),
        "tract int8": ours("int8.onnx", "--stock"),
        "ONNX Runtime f32": onnxruntime("f32.onnx"),
        "ONNX Runtime int8, our file": onnxruntime("int8.onnx"),
        "doorward int8, ReLU": ours("int8_relu.onnx"),
        "ONNX Runtime f32, ReLU": onnxruntime("f32_relu.onnx"),
        "ONNX Runtime int8, ReLU, our file": onnxruntime("int8_relu.onnx"),
    }
    for name, _, _ in FORMS:
        found[f"ONNX Runtime int8, {name}"] = onnxruntime(f"{name}.onnx")
        found[f"ONNX Runtime int8, ReLU, {name}"] = onnxruntime(f"{name}_relu.onnx")
    try:
        import ncnn

        def through_ncnn(stem):
            opened = ncnn.Net()
            opened.opt.num_threads = 1
            opened.load_param(str(WORK / f"{stem}.param"))
            opened.load_model(str(WORK / f"{stem}.bin"))

            def run():
                extractor = opened.create_extractor()
                extractor.input("input", ncnn.Mat(picture[0]))
                return np.array(extractor.extract("output")[1])

            return lambda: timed(run)

        found["ncnn f32"] = through_ncnn("ncnn_f32")
        found["ncnn int8"] = through_ncnn("ncnn_int8")
        found["ncnn f32, ReLU"] = through_ncnn("ncnn_f32_relu")
        found["ncnn int8, ReLU"] = through_ncnn("ncnn_int8_relu")
    except ImportError:
        print("ncnn: not installed, skipped")
    cv2.setNumThreads(1)
    reader = cv2.dnn.readNetFromONNX(str(WORK / "f32.onnx"))

    def forward():
        reader.setInput(picture)
        return reader.forward()

    found["OpenCV f32"] = lambda: timed(forward)
    return found


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def compare(binary, rounds):
    """Time of a run in the best round in ms, and cosine to the f32 output, by engine."""
    picture = {"input": net.tensor(net.picture(1))}
    truths = [session(WORK / f"f32{suffix}.onnx").run(None, picture)[0].ravel()
              for suffix in ["", "_relu"]]
    table = {}
    contestants = engines(binary)
    for _ in range(rounds):
        for name, run in contestants.items():
            ms, output = run()
            table[name] = (min(ms, table.get(name, (ms,))[0]), cosine(output, truths["ReLU" in name]))
    return table


def face():
    """The face of a fixture, about where the networks for faces expect it."""
    image = cv2.imread(str(ROOT / "tests/fixtures/ada.jpg"))[102:335, 200:433, ::-1]
    return cv2.resize(image, (net.SIDE, net.SIDE), interpolation=cv2.INTER_AREA)


def others(binary):
    """Networks for faces, each through doorward and ONNX Runtime: times in ms, the cosine between the two outputs,
    that between ONNX Runtime's own with and without its fusions, and both outputs."""
    reference = ROOT.parent / "shared/models"
    files = {"the bundled embedder": ROOT / "models/embedder.onnx",
             "the reference mbf": reference / "mobilefacenet_mbf_512d_int8_qdq.onnx",
             "the reference mbf, f32": reference / "mobilefacenet_mbf_512d_fp32.onnx"}
    pixels = WORK / "face.rgb"
    face().tofile(pixels)
    table = {}
    for name, file in files.items():
        if not file.exists():
            print(f"{name}: not at hand, skipped")
            continue
        opened = session(file)
        feed = {opened.get_inputs()[0].name: net.tensor(face())}
        best = [np.inf, np.inf]
        for _ in range(3):
            ours, a = doorward(binary, file, pixels=pixels)
            theirs, b = timed(lambda: opened.run(None, feed)[0])
            best = [min(best[0], ours), min(best[1], theirs)]
        unfused = session(file, fused=False).run(None, feed)[0].ravel()
        table[name] = (*best, cosine(a, b), cosine(b, unfused), a, b)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/doorward")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    write_models()
    table = compare(arguments.binary, arguments.rounds)
    print("\n| engine | ms of processor time | cosine to f32 |\n|---|---|---|")
    for name, (ms, similar) in sorted(table.items(), key=lambda row: row[1][0]):
        print(f"| {name} | {ms:.2f} | {similar:.4f} |")
    print("\n| network | doorward, ms | ONNX Runtime, ms | cosine between them | ONNX Runtime unfused |"
          "\n|---|---|---|---|---|")
    faces = others(arguments.binary)
    for name, (ours, theirs, similar, own, *_) in faces.items():
        print(f"| {name} | {ours:.2f} | {theirs:.2f} | {similar:.4f} | {own:.4f} |")
    if "the reference mbf, f32" in faces:
        *_, truth = faces["the reference mbf, f32"]
        *_, ours, theirs = faces["the reference mbf"]
        print(f"\nmbf's int8 output against its f32: doorward {cosine(ours, truth):.4f}, "
              f"ONNX Runtime {cosine(theirs, truth):.4f}")
    counts, peers, missing = {}, {}, arm.ready(ROOT, ARM)
    if missing:
        print(missing)
    else:
        counter = arm.Counter(ROOT, WORK, ARM)
        counts, peers = arm.ours(counter), arm.peers(counter)
        print("\n| ARM | million instructions |\n|---|---|")
        for name, millions in counts.items():
            print(f"| {name} | {millions} |")
        print("\n| peers, million instructions | " + " | ".join(arm.CORES) + " |\n|---|---|---|---|")
        for name, levels in peers.items():
            print(f"| {name} | " + " | ".join(f"{millions}" for millions in levels.values()) + " |")
    best = {relu: min(ms for name, (ms, _) in table.items()
                      if name.startswith("ONNX Runtime int8") and ("ReLU" in name) == relu)
            for relu in (False, True)}
    time_of = lambda name: round(table[name][0], 3) if name in table else None
    answer = {
        "x86": {
            "ours_int8_ms": time_of("doorward int8"),
            "ours_int8_avx2_ms": time_of("doorward int8, AVX2"),
            "ours_int8_relu_ms": time_of("doorward int8, ReLU"),
            "ort_int8_ms": round(best[False], 3),
            "ort_int8_relu_ms": round(best[True], 3),
            "ort_f32_ms": time_of("ONNX Runtime f32"),
            "tract_f32_ms": time_of("tract f32"),
            "ncnn_f32_ms": time_of("ncnn f32"),
            "ncnn_int8_ms": time_of("ncnn int8"),
        },
        "arm_minstr": counts,
        "arm_peers_minstr": peers,
    }
    (ROOT / "target/compare.json").write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
