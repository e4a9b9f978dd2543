"""Options of `esc-compress`, each with its type, default, choices and an example."""

from __future__ import annotations

import argparse

from escc.cli.common import CommandParser
from escc.cli.values import (
    above_zero,
    add_input_shape,
    byte_count,
    divisors,
    natural,
    not_negative,
    numbers,
    portion,
    positive,
    scheme,
    share,
    threads,
)

DESCRIPTION = """\
Compress a trained classifier: decompose its convolutions, then train the ternary coefficients, the bases, the scales
and the biases on data until its constants fit a number of bytes. The scores of the original network are what it learns
from; labels help. Writes plain ONNX, which escc compiles to just these integers and onnxruntime runs. Needs torch."""

EPILOG = """\
examples:
  esc-compress model.onnx --data train.npz --ratio 20 -o small.onnx
  esc-compress model.onnx --data train.npz --bytes 12K --checkpoint run.pt \\
      --augment flip,shift --epochs 30 -o small.onnx
  esc-compress model.onnx ... --checkpoint run.pt --resume -o small.onnx
  escc small.onnx -o small.bin && esc-emu small.bin --eval test.npz

exit codes: 0 done, 1 the input is at fault, 2 usage, 70 a bug of escc (a reproducer is saved)"""

AUGMENTATIONS = ("flip", "shift", "mix")


def _augmentations(text: str) -> tuple[str, ...]:
    kinds = tuple(sorted(set(text.split(","))))
    unknown = [kind for kind in kinds if kind not in AUGMENTATIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no augmentation '{unknown[0]}'; there are {', '.join(AUGMENTATIONS)}")
    return kinds


def make_parser() -> CommandParser:
    """The command line of `esc-compress`."""
    parser = CommandParser("esc-compress", DESCRIPTION, epilog=EPILOG)
    parser.add_argument("model", metavar="MODEL.onnx", help="a classifier with one input and one output")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE.onnx", help="file to write (required; example: -o small.onnx)"
    )
    add_input_shape(parser)
    _add_data(parser)
    _add_size(parser)
    _add_training(parser)
    _add_statistics(parser)
    _add_savings(parser)
    _add_run(parser)
    parser.add_common_arguments()
    parser.add_files(
        reads=["model", "data", "validation", "target"], writes=["output", "checkpoint"], streams=["output"]
    )
    return parser


def _add_data(parser: CommandParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        required=True,
        metavar="DATA.npz",
        help="training inputs, uint8 or float [N,C,H,W], and labels y, integers [N] (y may be missing); the inputs are "
        "the array that is called like the model's input, else x, else the only one beside y; kept in memory in the "
        "type that they have (required; example: --data train.npz)",
    )
    group.add_argument(
        "--validation",
        metavar="VAL.npz",
        help="inputs and labels that only measure (default: --held-out; example: --validation val.npz)",
    )
    group.add_argument(
        "--held-out",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="share of --data that is kept from the training to measure (number; default: 0.05; "
        "example: --held-out 0.1)",
    )
    group.add_argument(
        "--augment",
        type=_augmentations,
        default=(),
        metavar="KIND,...",
        help="flip: mirror images at random; shift: move them by up to an eighth; give what the original network "
        "was trained with, it teaches nothing on others; mix: every other sample is a mean of two, of which the "
        "original network's scores are learnt (default: none; example: --augment flip,shift)",
    )
    group.add_argument(
        "--image-mean",
        type=numbers,
        default=(),
        metavar="M,...",
        help="the model's input is (x - mean) / std: mean of each channel (default: x is the input; "
        "example: --image-mean 123.675,116.28,103.53)",
    )
    group.add_argument(
        "--image-std",
        type=divisors,
        default=(),
        metavar="S,...",
        help="divisor of each channel (default: x is the input; example: --image-std 58.395,57.12,57.375)",
    )


def _add_size(parser: CommandParser) -> None:
    group = parser.add_argument_group("size")
    budget = group.add_mutually_exclusive_group()
    budget.add_argument(
        "--bytes",
        type=byte_count,
        metavar="N[K|M]",
        help="constants of the compiled model, everything counted, at most (default: whatever the decomposition gives; "
        "example: --bytes 12K)",
    )
    budget.add_argument(
        "--ratio",
        type=above_zero,
        metavar="X",
        help="the same as bytes of the float32 weights / bytes of the constants (number; example: --ratio 20)",
    )
    group.add_argument(
        "--scheme",
        type=scheme,
        metavar="NAME",
        default="auto",
        help="which layers are decomposed: auto (where it pays), escalate (all that do not only lose by it), or an "
        "installed scheme (default: auto; example: --scheme escalate)",
    )
    group.add_argument(
        "--basis",
        type=positive,
        metavar="M",
        help="basis kernels a layer (integer; default: chosen by the scheme; example: --basis 6)",
    )
    group.add_argument(
        "--planes",
        type=positive,
        metavar="P",
        help="ternary planes over the bases (integer; default: chosen by the scheme; example: --planes 2)",
    )
    group.add_argument(
        "--scheme-option",
        action="append",
        metavar="NAME=VALUE",
        help="an option of the scheme's own, for schemes that have some; may be repeated "
        "(default: none; example: --scheme-option k=8)",
    )
    group.add_argument(
        "--rate",
        type=not_negative,
        metavar="RATE",
        help="error that the decomposition takes for fewer bytes, as in escc (number; default: what comes nearest to "
        "--bytes or --ratio, from where training ends best; example: --rate 1)",
    )
    group.add_argument(
        "--target",
        default="esc1",
        metavar="NAME|FILE",
        help="machine that the bytes are counted for: an installed target or a .toml file (default: esc1; "
        "example: --target small.toml)",
    )


def _add_training(parser: CommandParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument(
        "--method",
        choices=("ste", "admm"),
        default="ste",
        help="straight-through gradients of ternary coefficients, or real coefficients that ADMM pulls to ternary ones "
        "(default: ste; example: --method admm)",
    )
    group.add_argument(
        "--epochs",
        type=natural,
        default=20,
        metavar="N",
        help="passes over the data, 0 only decomposes (integer; default: 20; example: --epochs 40)",
    )
    group.add_argument(
        "--batch",
        type=positive,
        default=64,
        metavar="N",
        help="samples a step (integer; default: 64; example: --batch 128)",
    )
    group.add_argument(
        "--lr",
        type=above_zero,
        default=1e-3,
        metavar="RATE",
        help="highest learning rate of Adam; a cosine goes down from it (number; default: 0.001; example: --lr 5e-4)",
    )
    group.add_argument(
        "--temperature",
        type=above_zero,
        default=2.0,
        metavar="T",
        help="softens the scores of both networks before they are compared (number; default: 2; "
        "example: --temperature 4)",
    )
    group.add_argument(
        "--label-weight",
        type=not_negative,
        default=0.3,
        metavar="W",
        help="weight of the cross entropy with the labels, beside 1 for the original network's scores (number; "
        "default: 0.3; example: --label-weight 1)",
    )
    group.add_argument(
        "--anneal",
        type=share,
        default=0.5,
        metavar="SHARE",
        help="share of the epochs in which the bytes go down to the budget (number; default: 0.5; "
        "example: --anneal 0.7)",
    )
    group.add_argument(
        "--patience",
        type=positive,
        metavar="N",
        help="stop after N epochs within the budget without better accuracy on the held-out data (integer; default: "
        "never; example: --patience 5)",
    )
    group.add_argument(
        "--seed",
        type=natural,
        default=0,
        metavar="N",
        help="seed of everything random; equal seeds give equal files on a CPU with equal --threads (integer; "
        "default: 0; example: --seed 7)",
    )


def _add_statistics(parser: CommandParser) -> None:
    group = parser.add_argument_group("statistics of convolutions")
    group.add_argument(
        "--batch-norm",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="normalise the sums of every convolution over the batch while training, which becomes a part of scales "
        "and biases in the end: for weights that must change much (flag; default off)",
    )
    group.add_argument(
        "--recalibrate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="match mean and variance of every convolution to the original network's afterwards, where that helps on "
        "the held-out data (flag; default on)",
    )


def _add_savings(parser: CommandParser) -> None:
    group = parser.add_argument_group("less training")
    group.add_argument(
        "--drop-batches",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="share of the batches that are left out at random, each epoch others (number; default: 0; "
        "example: --drop-batches 0.5)",
    )
    group.add_argument(
        "--early-bird",
        action="store_true",
        help="settle which coefficients are used as soon as the budget chooses about the same ones in five successive "
        "epochs (flag; default off)",
    )
    group.add_argument(
        "--rest",
        type=portion,
        default=0.0,
        metavar="SHARE",
        help="share of the epochs, from the first, in which the coefficients stay as they were decomposed, but for "
        "those that the budget takes away, while bases, scales and biases learn (number; default: 0; example: --rest "
        "1)",
    )


def _add_run(parser: CommandParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument(
        "--device",
        default="cpu",
        metavar="DEVICE",
        help="where torch computes: cpu, cuda or cuda:N (default: cpu; example: --device cuda)",
    )
    group.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="numbers that the convolutions of the training compute with; the integers that are written are exact in "
        "either (default: float32; example: --precision bfloat16)",
    )
    group.add_argument(
        "--threads",
        type=threads,
        metavar="N",
        help="threads of torch on the CPU (integer; default: one for each processor; example: --threads 2)",
    )
    group.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="write the state of the training here after every epoch (default: none; example: --checkpoint run.pt)",
    )
    group.add_argument(
        "--resume", action="store_true", help="go on from --checkpoint, with the same options (flag; default off)"
    )
