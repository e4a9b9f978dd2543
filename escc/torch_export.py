"""A network of PyTorch as the bytes of an ONNX model, by whichever exporter of the installed PyTorch takes it."""

from __future__ import annotations

import importlib.util
import inspect
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from escc.errors import one_line
from isa.errors import UserError
from isa.text import clipped

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.nn import Module

Exporter: TypeAlias = "Callable[[Module, tuple[Any, ...], Mapping[str, list[str]], Path], None]"
"""Exports a network on sample inputs, with the names of inputs and outputs as keyword arguments, to a file."""

_INPUT = "input"
"""Name of the only input in the exported model."""
_OUTPUT = "output"
"""Name of the only output, and how those of a tuple begin, which are numbered."""


def onnx_of(network: Module, examples: Sequence[Mapping[str, NDArray[Any]]]) -> bytes:
    """The network as an ONNX model, exported on one sample [1, ...] of each input, in the order of `forward`.

    Of several examples, the first that the network takes is used. The name of an only input is `input`, that of an only
    output `output`; outputs of a tuple are `output0`, `output1` and so on, those of a dictionary are called like its
    keys. The network is exported as in evaluation and left in the modes in which it was. Raises UserError with the
    reason of each exporter where none takes the network.
    """
    import torch

    name = type(network).__name__
    modes = [(part, part.training) for part in network.modules()]
    first = next(network.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    dtype = torch.float32 if first is None else first.dtype
    choices = [tuple(torch.as_tensor(x).to(device, dtype) for x in example.values()) for example in examples]
    names = list(examples[0]) if len(examples[0]) > 1 else [_INPUT]
    reasons: list[str] = []
    network.eval()
    try:
        samples, outputs = _taken(network, choices, name)
        ports = {"input_names": names, "output_names": _output_names(outputs, names)}
        for title, export in _exporters().items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # for whoever calls the exporter
                        export(network, samples, ports, path)
                except Exception as e:  # whatever the exporters raise, the network is at fault, or not to be exported
                    reasons.append(f"{name}: the {title} exporter of PyTorch fails: {clipped(one_line(str(e)), 300)}")
                    continue
                return path.read_bytes()
    finally:
        for part, training in modes:
            part.training = training
    raise UserError(reasons, _advice())


def _taken(network: Module, choices: Sequence[tuple[Any, ...]], name: str) -> tuple[tuple[Any, ...], object]:
    """The first inputs that the network runs on, and what it gives. Raises UserError if there are none: no exporter is
    at fault then.
    """
    import torch

    reasons: list[str] = []
    for samples in choices:
        try:
            with torch.no_grad():
                return samples, network(*samples)
        except Exception as e:  # whatever the code of a network raises
            shapes = ", ".join(str(list(x.shape)) for x in samples)
            what = clipped(one_line(str(e)) or type(e).__name__, 300)
            reasons.append(f"{name}: does not take inputs of shape {shapes}: {what}")
    raise UserError(
        reasons,
        "give calibration data, or input_shape, as forward takes them: several inputs by name, in the order of forward",
    )


def _output_names(outputs: object, taken: Sequence[str]) -> list[str]:
    """Names for the outputs of a network, one for each tensor in them, other than those of its inputs.

    Empty, which leaves them to the exporter, where something beside tensors is among the outputs.
    """
    import torch

    if isinstance(outputs, torch.Tensor):
        return [_OUTPUT] if _OUTPUT not in taken else []
    if isinstance(outputs, Mapping):
        names = [str(key) for key in cast("Mapping[object, object]", outputs)]
        parts = list(cast("Mapping[object, object]", outputs).values())
    elif isinstance(outputs, tuple | list):
        parts = list(cast("Sequence[object]", outputs))
        names = [f"{_OUTPUT}{i}" for i in range(len(parts))] if len(parts) > 1 else [_OUTPUT]
    else:
        return []
    fit = all(isinstance(part, torch.Tensor) for part in parts) and not {*names} & {*taken}
    return names if fit and len({*names}) == len(names) else []


def _exporters() -> dict[str, Exporter]:
    """Exporters to try, in this order. That of TorchScript needs nothing beside PyTorch and folds normalisations."""
    found: dict[str, Exporter] = {"TorchScript": _by_torchscript}
    if _knows_dynamo() and importlib.util.find_spec("onnxscript") is not None:
        found["dynamo"] = _by_dynamo
    return found


def _export() -> Callable[..., object]:
    import torch

    return cast(Any, torch.onnx).export


def _knows_dynamo() -> bool:
    return "dynamo" in inspect.signature(_export()).parameters


def _by_torchscript(network: Module, samples: tuple[Any, ...], ports: Mapping[str, list[str]], path: Path) -> None:
    options: dict[str, Any] = {"dynamo": False} if _knows_dynamo() else {}
    _export()(network, samples, str(path), **ports, **options)


def _by_dynamo(network: Module, samples: tuple[Any, ...], ports: Mapping[str, list[str]], path: Path) -> None:
    options = {"dynamo": True, "external_data": False, "verbose": False}
    _export()(network, samples, str(path), **ports, **options)


def _advice() -> str:
    text = "export the network with torch.onnx.export and give the file"
    if importlib.util.find_spec("onnxscript") is None:
        text += "; PyTorch's other exporter, dynamo, needs the package onnxscript: pip install onnxscript"
    return text
