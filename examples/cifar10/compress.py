"""Compress a network on a machine with a GPU that has neither its data nor much time: prepare, train, finish.

    python -m examples.cifar10.compress prepare out/vgg16_cifar10.onnx out/vgg16.start
    python -m examples.cifar10.compress train out/vgg16.start out/vgg16 --ratios 150,325 --minutes 7
    python -m examples.cifar10.compress finish out/vgg16.start out/vgg16-325.npz out/vgg16_325.onnx

`prepare` quantises the network to 8 bits and writes a file of a quarter of its size. `train` decomposes and trains it
by the clock, on the GPU if there is one: to each of the ratios in turn, each from where the one before ended. `finish`
writes ONNX as `esc-compress` does, and says what it compiles to. Unlike `esc-compress`, `train` has the 8-bit network
as its teacher, and on a GPU keeps its images there and computes in bf16. What it reports was measured in fp32.
"""

from __future__ import annotations

import argparse
import lzma
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from xdsl.dialects.builtin import ModuleOp

from dialects import esc
from dialects.interpreters.run import main_function
from dialects.locations import node_names
from escc.irtext import make_context, parse_module, print_module
from escc.training.data import Preprocessing, TrainingSamples
from escc.training.network import Network
from escc.training.session import Session, compile_program
from escc.training.straight_through import DecomposedConv
from examples.cifar10.compress_training import ClockedPlan, ClockedTraining, Stage, integers, match_statistics
from examples.cifar10.images import DATA, ROOT, Mixture, load, without_copies
from examples.cifar10.ternary_start import decompose
from isa.target import load_target
from passes.analysis.original_weight_count import float_weights
from passes.decomposition.int8 import Int8
from passes.decomposition.rewrite import replace_weights
from passes.decomposition.ternary_basis import TernaryBasis
from passes.pipelines import PipelineOptions

_LEAST_CHANNELS = 8
"""Layers that read fewer channels stay dense: their coefficient accumulators would idle."""
_CALIBRATION = 512
"""Lossless images whose statistics a decomposed network starts with."""


def read(path: Path) -> ModuleOp:
    """The module of level esc that `prepare` wrote."""
    return parse_module(make_context(), lzma.decompress(path.read_bytes()), path.name)


def prepare(args: argparse.Namespace) -> None:
    """Quantise the network on lossless images that are not held out."""
    from escc.onnx_import import import_model

    _, lossless, _ = load(args.data, args.cache)
    clean = lossless.part(args.validation, args.validation + args.images)
    pre = Preprocessing(tuple(args.mean), tuple(args.std))
    calibration = TrainingSamples(clean.x.permute(0, 3, 1, 2).contiguous(), clean.y, pre)
    module = import_model(str(args.model))
    Session(make_context(), module, PipelineOptions(seed=0, samples=args.images), calibration, print)
    args.start.write_bytes(lzma.compress(print_module(module).encode(), preset=4))
    print(f"{args.start}: {args.start.stat().st_size:,} bytes")


def _dense(module: ModuleOp) -> list[tuple[esc.Conv2dOp, esc.RequantizeOp]]:
    return [
        (conv, op)
        for op in module.walk()
        if isinstance(op, esc.RequantizeOp) and isinstance(conv := op.input.owner, esc.Conv2dOp)
    ]


def decomposed(module: ModuleOp, bases: int, device: torch.device) -> Network:
    """The network with all but its first convolutions decomposed. The module is changed in place."""
    weights: dict[str, np.ndarray] = {}
    ic_bits = load_target("esc1").array.ic_bits
    for conv, op in _dense(module):
        w = conv.weight.array
        k, r, s, c = w.shape
        if c < _LEAST_CHANNELS or conv.groups.value.data != 1:
            continue
        factor = np.ldexp(op.mult.array.astype(np.float64), -op.shift.array.astype(np.int64))
        real = w.transpose(0, 3, 1, 2) * factor[:, None, None, None]
        weights[node_names(conv)[0]] = real
        flat = torch.tensor(real.reshape(k, c, r * s), dtype=torch.float32, device=device)
        t, b, scale = decompose(flat, bases if r * s > 1 else 2)
        form = TernaryBasis(
            np.ascontiguousarray(t.cpu().numpy().transpose(0, 2, 1)),
            b.cpu().numpy().round().astype(np.int8).reshape(-1, r, s),
            scale.double().cpu().numpy(),
        )
        bias = op.bias.array * factor
        replace_weights([conv], op, form, lambda _, bias=bias: bias, ic_bits, "use fewer bases")
    network = Network(module)
    for layer in network.decomposed:
        assert isinstance(layer.module, DecomposedConv)
        layer.module.approach(weights[layer.name])
    return network


def _inputs(mean: Sequence[float], std: Sequence[float], device: torch.device) -> Callable[[Tensor], Tensor]:
    if not mean:
        return lambda x: x
    m, s = (torch.tensor(v, device=device).reshape(1, -1, 1, 1) for v in (mean, std))
    return lambda x: (x - m) / s


def train(args: argparse.Namespace) -> None:
    """Decompose and train; writes OUT-RATIO.npz after every stage."""
    began = time.monotonic()
    device = torch.device(args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.backends.cudnn.allow_tf32 = False
    jpeg, lossless, test = (i.to(device) for i in load(args.data, args.cache, args.limit))
    held, clean = lossless.part(0, args.validation), lossless.part(args.validation)
    mixture = Mixture(without_copies(jpeg, held), clean, args.lossless_repeats, args.cutout)
    dense, module = read(args.start), read(args.start)
    float_bytes = 4 * float_weights(main_function(dense))
    teacher = Network(dense).to(device).requires_grad_(False)
    network = decomposed(module, args.basis, device).to(device)
    inputs = _inputs(args.mean, args.std, device)
    shares = args.shares or [1 / len(args.ratios)] * len(args.ratios)
    stages = [
        Stage(f"{args.out.name}-{ratio:g}", float_bytes / ratio * (1 - args.margin), share / sum(shares))
        for ratio, share in zip(args.ratios, shares, strict=True)
    ]
    seconds = 60 * args.minutes - (time.monotonic() - began if args.from_start else 0)
    plan = ClockedPlan(stages, seconds, args.batch, args.lr, args.temperature, args.label_weight, args.every, args.seed)
    training = ClockedTraining(network, teacher, mixture, held, inputs, plan)
    match_statistics(network, teacher, inputs(clean.pixels(0, _CALIBRATION)))
    tops = f"{training.accuracy(True):.4f} of the held-out and {training.accuracy(True, test):.4f} of the test images"
    print(
        f"{args.out.name}: {len(mixture)} images an epoch, {float_bytes:,} bytes of float32; 8 bits: {tops}", flush=True
    )

    def finished(stage: Stage, size: float, held_out: float) -> None:
        buffer = BytesIO()
        np.savez_compressed(buffer, **integers(network))
        args.out.with_name(f"{stage.name}.npz").write_bytes(buffer.getvalue())
        top1 = training.accuracy(images=test)
        print(
            f"RESULT {stage.name}: {size:,.0f} bytes, {float_bytes / size:.1f}x, held-out {held_out:.4f}, "
            f"test {top1:.4f}, {time.monotonic() - began:.0f} s",
            flush=True,
        )

    training.run(finished)


def finish(args: argparse.Namespace) -> None:
    """Put what was trained into the module, write it as ONNX, compile it."""
    from escc.onnx_export import export_model

    module = read(args.start)
    ic_bits = load_target("esc1").array.ic_bits
    with np.load(args.trained) as file:
        found = {name: file[name] for name in file.files}
    for conv, op in _dense(module):
        name = node_names(conv)[0]
        factor, bias = found[f"{name}/factor"], found[f"{name}/bias"]
        if f"{name}/w" in found:
            w = np.ascontiguousarray(found[f"{name}/w"].transpose(0, 2, 3, 1))
            form = Int8(w, factor, groups=conv.groups.value.data)
        else:
            t, b = found[f"{name}/t"].transpose(0, 2, 1), found[f"{name}/b"]
            used = t.any(axis=(0, 2))
            used[0] |= not used.any()
            t = np.ascontiguousarray(t[:, used])
            form = TernaryBasis(t, np.ascontiguousarray(b[used]), factor * t.any(axis=(1, 2)))
        replace_weights([conv], op, form, lambda _, bias=bias: bias, ic_bits, "train with fewer bases")
    args.output.write_bytes(export_model(module).SerializeToString(deterministic=True))
    program = compile_program(make_context(), module, PipelineOptions())
    total = 4 * float_weights(main_function(module))
    size = len(program.rodata)
    print(f"{args.output}: {size:,} bytes of constants, {total / size:.1f}x fewer than the float32 weights")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = p.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, default=DATA, help="folder with images/ (default: %(default)s)")
    common.add_argument("--cache", type=Path, default=ROOT / "out/cifar10", help="folder for the decoded images")
    common.add_argument("--validation", type=int, default=500, help="lossless images held out (default: %(default)s)")
    common.add_argument(
        "--mean", type=float, nargs=3, default=(), help="of the pixels, if the network wants them less it"
    )
    common.add_argument("--std", type=float, nargs=3, default=(), help="by which it wants them divided")

    q = steps.add_parser("prepare", parents=[common], help="quantise")
    q.add_argument("model", type=Path, metavar="MODEL.onnx")
    q.add_argument("start", type=Path, metavar="START")
    q.add_argument("--images", type=int, default=64, help="to calibrate on (default: %(default)s)")
    q.set_defaults(run=prepare)

    t = steps.add_parser("train", parents=[common], help="decompose and train")
    t.add_argument("start", type=Path, metavar="START")
    t.add_argument("out", type=Path, metavar="OUT", help="results are OUT-RATIO.npz")
    t.add_argument("--ratios", type=_numbers, required=True, metavar="X,...", help="times smaller, one after another")
    t.add_argument("--shares", type=_numbers, metavar="S,...", help="of the time for each of them (default: equal)")
    t.add_argument("--minutes", type=float, required=True)
    t.add_argument("--from-start", action="store_true", help="count the minutes from the start of the command")
    t.add_argument("--basis", type=int, default=6, metavar="V", help="bases of a layer (default: %(default)s)")
    t.add_argument("--batch", type=int, default=256, help="(default: %(default)s)")
    t.add_argument("--lr", type=float, default=2e-3, help="(default: %(default)s)")
    t.add_argument("--temperature", type=float, default=2.0, help="(default: %(default)s)")
    t.add_argument("--label-weight", type=float, default=0.3, help="(default: %(default)s)")
    t.add_argument("--every", type=float, default=3.0, help="seconds between choices of coefficients")
    t.add_argument("--margin", type=float, default=0.015, help="bytes left for what only compiling shows, a share")
    t.add_argument("--cutout", type=int, default=0, help="side of a square greyed in each image")
    t.add_argument("--lossless-repeats", type=int, default=4, help="times an epoch (default: %(default)s)")
    t.add_argument("--limit", type=int, help="images of each source to use (for a quick try)")
    t.add_argument("--threads", type=int, default=1)
    t.add_argument("--seed", type=int, default=0)
    t.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    t.set_defaults(run=train)

    f = steps.add_parser("finish", help="write ONNX, and compile it")
    f.add_argument("start", type=Path, metavar="START")
    f.add_argument("trained", type=Path, metavar="TRAINED.npz")
    f.add_argument("output", type=Path, metavar="OUT.onnx")
    f.set_defaults(run=finish)
    return p.parse_args(argv)


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    args = parse(argv)
    args.run(args)


if __name__ == "__main__":
    main()
