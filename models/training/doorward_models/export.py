"""Writes a network as ONNX: folded, with module names, only plain operators.

Owns the translation from torch modules to ONNX nodes (opset 13), through `torch.fx`. Works for any
network made of the modules in `MODULES` and of `+`.
"""

import operator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 13


class Writer:
    """Collects nodes and initialisers while the graph is walked."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, name: str, tensor) -> str:
        array = np.ascontiguousarray(tensor.detach().float().numpy())
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, name: str, inputs: list[str], **attributes) -> str:
        self.nodes.append(helper.make_node(op, inputs, [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"


def _conv(w: Writer, name: str, m: nn.Conv2d, x: str) -> str:
    inputs = [x, w.weight(f"{name}.weight", m.weight), w.weight(f"{name}.bias", m.bias)]
    return w.node("Conv", name, inputs, kernel_shape=list(m.kernel_size), strides=list(m.stride),
                  pads=list(m.padding) * 2, group=m.groups)


def _linear(w: Writer, name: str, m: nn.Linear, x: str) -> str:
    inputs = [x, w.weight(f"{name}.weight", m.weight), w.weight(f"{name}.bias", m.bias)]
    return w.node("Gemm", name, inputs, transB=1)


MODULES = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.ReLU: lambda w, name, m, x: w.node("Relu", name, [x]),
    nn.PReLU: lambda w, name, m, x: w.node(
        "PRelu", name, [x, w.weight(f"{name}.weight", m.weight[:, None, None])]
    ),
    nn.Flatten: lambda w, name, m, x: w.node("Flatten", name, [x], axis=1),
    nn.Identity: lambda w, name, m, x: x,
}


def writer_of(module: nn.Module):
    """The function that writes `module`, or `None`."""
    return next((write for kind, write in MODULES.items() if isinstance(module, kind)), None)


class Tracer(torch.fx.Tracer):
    """Stops at the modules that have a translation."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return writer_of(module) is not None or super().is_leaf_module(module, name)


def to_onnx(network: nn.Module, outputs: int, notes: dict[str, str], size: int = 112) -> onnx.ModelProto:
    """An ONNX model `input` [1, 3, size, size] -> `output` [1, outputs] of a folded network.

    Raises `ValueError` for a module or function without a translation.
    """
    graph, writer, names = Tracer().trace(network), Writer(), {}
    modules = dict(network.named_modules())
    for node in graph.nodes:
        if node.op == "placeholder":
            names[node] = "input"
        elif node.op == "call_module" and writer_of(modules[node.target]):
            write = writer_of(modules[node.target])
            names[node] = write(writer, node.target, modules[node.target], names[node.args[0]])
        elif node.op == "call_function" and node.target in (operator.add, torch.add):
            names[node] = writer.node("Add", node.name, [names[a] for a in node.args])
        elif node.op == "output":
            last = names[node.args[0]]
        else:
            raise ValueError(f"no translation for {node.op} {node.target}")
    writer.nodes[-1].output[0] = "output"
    if last != writer.nodes[-1].name + ".out":
        raise ValueError("the last node does not give the output")
    graph = helper.make_graph(
        writer.nodes, "embedder",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, outputs])], writer.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(model, notes)
    onnx.checker.check_model(model)
    return model


def with_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model for evaluation and calibration: with a free batch dimension, and no weight that layers share.

    ONNX Runtime's exact int8 products (`teacher.session`) fail on shared ones.
    """
    free = onnx.ModelProto()
    free.CopyFrom(model)
    del free.graph.value_info[:]
    for value in [*free.graph.input, *free.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    read, weights = set(), {i.name: i for i in free.graph.initializer if len(i.dims) > 1}
    for node in free.graph.node:
        for at, name in enumerate(node.input):
            if name in read and name in weights:
                own = free.graph.initializer.add()
                own.CopyFrom(weights[name])
                own.name = node.input[at] = f"{name} of {node.name}"
            read.add(name)
    return free


def save(network: nn.Module, outputs: int, path: Path, notes: dict[str, str]) -> None:
    """Writes the f32 model to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(network, outputs, notes), path)
