"""One engine and one network, run so many times: what compare.py counts under an emulator.

`peer.py onnxruntime|ncnn MODEL INPUT RUNS`; INPUT is the network's input as an .npy file.
"""

import sys

import numpy as np

engine, model, picture, runs = sys.argv[1:]
picture = np.load(picture)

if engine == "onnxruntime":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    opened = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run():
        return opened.run(None, {"input": picture})
else:
    import ncnn

    opened = ncnn.Net()
    opened.opt.num_threads = 1
    opened.load_param(f"{model}.param")
    opened.load_model(f"{model}.bin")

    def run():
        extractor = opened.create_extractor()
        extractor.input("input", ncnn.Mat(picture[0]))
        return extractor.extract("output")

for _ in range(int(runs)):
    run()
