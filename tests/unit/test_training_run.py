"""`esc-compress` end to end on a tiny network: budgets, determinism, resuming, ADMM, faults of the input."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sample_models import residual_model
from xdsl.dialects.builtin import ModuleOp

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = pytest.importorskip("torch")

from dialects.interpreters.run import main_function, run_module
from dialects.signature import classes_of, only_input
from escc.cli.compile import main as compile_model
from escc.cli.compress import main
from escc.cli.emulate import main as emulate
from escc.onnx_import import import_model
from escc.training import data
from escc.training.admm import Admm
from escc.training.straight_through import DecomposedConv
from escc.training.trainer import Trainer
from isa.arrays import Input
from isa.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]
WEIGHTS = 4 * (8 * 27 + 8 * 72 + 16 * 72 + 160)
"""Bytes of the float32 weights of the model."""
DECOMPOSED = ("--scheme", "escalate")
"""Layers so small are hardly faster decomposed, which `auto` asks for."""


def balanced(proto: onnx.ModelProto, x: Array) -> bytes:
    """The model with a last layer that gives all its scores mean 0 and standard deviation 4 over inputs."""
    scores = run_module(import_model(proto.SerializeToString()), [x])[0]
    for weight in proto.graph.initializer:
        if weight.name.startswith("fc."):
            value = numpy_helper.to_array(weight) - (scores.mean(axis=0) if weight.name == "fc.b" else 0)
            value = (value.T * (4 / scores.std(axis=0))).T.astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    return proto.SerializeToString()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and data that it labels itself."""
    path = tmp_path_factory.mktemp("compress")
    rng = np.random.default_rng(0)
    colours, noise = rng.integers(0, 256, (320, 3, 2, 2)), rng.integers(-60, 60, (320, 3, 8, 8))
    x = np.clip(colours.repeat(4, axis=2).repeat(4, axis=3) + noise, 0, 255).astype(np.uint8)
    floats = (x.astype(np.float32) - 128) / 64
    model = balanced(onnx.load_from_string(residual_model(8, 8)), floats)
    (path / "model.onnx").write_bytes(model)
    y = run_module(import_model(model), [floats])[0].argmax(1)
    assert np.bincount(y).max() < 160
    np.savez(path / "train.npz", x=x[:256], y=y[:256])
    np.savez(path / "val.npz", x=floats[256:], y=y[256:])
    np.savez(path / "pixels.npz", x=x[256:], y=y[256:])
    np.savez(path / "unlabelled.npz", x=x[:128])
    return path


def compress(folder: Path, output: Path, *options: str) -> int:
    files = [str(folder / "model.onnx"), "--data", str(folder / "train.npz"), "-o", str(output)]
    images = ["--validation", str(folder / "pixels.npz"), "--image-mean", "128,128,128", "--image-std", "64,64,64"]
    return main([*files, *images, "--threads", "1", "--batch", "32", *options])


def constants(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, float]:
    """Bytes of .rodata and top-1 accuracy of a compressed model, by the ordinary commands."""
    binary = path.with_suffix(".bin")
    report = path.with_suffix(".json")
    capsys.readouterr()
    assert compile_model([str(path), "-o", str(binary), "--report", str(report)]) == 0
    assert emulate([str(binary), "--eval", str(path.parent / "val.npz"), "--jobs", "1"]) == 0
    top1 = re.search(r"top-1 ([\d.]+) %", capsys.readouterr().out)
    assert top1 is not None
    return json.loads(report.read_text())["totals"]["constant_bytes"], float(top1[1])


@pytest.mark.parametrize("method", ["ste", "admm"])
def test_budgets_are_honoured_and_the_measure_is_true(
    folder: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = folder / f"{method}.onnx"
    assert compress(folder, output, "--ratio", "14", "--epochs", "4", "--method", method, "--augment", "flip") == 0
    text = capsys.readouterr().out
    size, top1 = constants(output, capsys)
    assert size <= WEIGHTS / 14
    assert f"{size:,} bytes of constants, {WEIGHTS / size:.1f}x smaller than {WEIGHTS:,}" in text
    assert f"compressed {top1:.2f}% (emulator, 64 held-out samples)" in text
    alone = re.search(r"^([\d,]+) bytes of weights alone, without positions", text, re.MULTILINE)
    assert alone is not None and int(alone[1].replace(",", "")) < size
    fewer = re.search(r"^([\d,]+) of ([\d,]+) weights alone are not 0: ([\d.]+)x fewer$", text, re.MULTILINE)
    assert fewer is not None and 4 * int(fewer[2].replace(",", "")) == WEIGHTS
    assert float(fewer[3]) == round(WEIGHTS / 4 / int(fewer[1].replace(",", "")), 1)
    assert re.search(r"^block\S* +escalate +\d+ +[\d.]+% ", text, re.MULTILINE)


def test_bytes_are_counted_while_they_come_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the budget alone, where all that their estimate has missed would go at once."""
    counted: list[int] = []
    weigh = Trainer.weigh

    def counting(trainer: Trainer) -> int:
        counted.append(trainer.state.epoch)
        return weigh(trainer)

    monkeypatch.setattr(Trainer, "weigh", counting)
    budget = ("--rate", "0", "--ratio", "14", "--epochs", "4", "--anneal", ".9")
    assert compress(folder, folder / "down.onnx", *DECOMPOSED, *budget) == 0
    assert {1, 2} <= set(counted)


@pytest.mark.parametrize(
    ("method", "options", "kind"),
    [
        ("admm", ["--scheme", "circulant", "--scheme-option", "k=4"], "circulant"),
        ("ste", ["--scheme", "circulant", "--scheme-option", "k=2", "--batch-norm"], "circulant"),
        ("ste", ["--scheme", "kmeans", "--rate", "20"], "codebook"),
        ("admm", ["--scheme", "gs", "--scheme-option", "sparsity=0.5"], "gather"),
        ("admm", ["--scheme", "smartexchange", "--scheme-option", "rebuilt=1", "--ratio", "8"], "smartexchange"),
    ],
)
def test_every_form_is_trained(
    folder: Path, method: str, options: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = folder / f"{kind}.onnx"
    assert compress(folder, output, *options, "--method", method, "--epochs", "3") == 0
    text = capsys.readouterr().out
    size, top1 = constants(output, capsys)
    assert re.search(rf"^block\S* +{kind} +\d+ ", text, re.MULTILINE), text
    assert f"{size:,} bytes of constants" in text
    assert f"compressed {top1:.2f}% (emulator, 64 held-out samples)" in text
    if "--ratio" in options:
        assert size <= WEIGHTS / 8


def test_training_starts_near_the_bytes_wanted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compress(folder, folder / "near.onnx", "--epochs", "0", "--bytes", "900") == 0
    text = capsys.readouterr().err
    expected = re.search(r"^decomposition at rate \S+: ([\d,]+) bytes", text, re.MULTILINE)
    start = re.search(r"^decomposed: ([\d,]+) bytes", text, re.MULTILINE)
    assert expected is not None and start is not None
    assert start[1] == expected[1]
    assert 0.7 < int(start[1].replace(",", "")) / 900 < 1.4
    assert compress(folder, folder / "near.onnx", "--epochs", "0", "--rate", "0.5") == 0
    assert "decomposition at" not in capsys.readouterr().err


def test_wide_layers_start_channel_by_channel(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No joint moments are taken of windows beyond the limit, and the budget is kept from there all the same."""
    monkeypatch.setattr("escc.training.job._JOINT", 0)
    monkeypatch.setattr("passes.decompose_conv.observe", None)
    output = folder / "wide.onnx"
    assert compress(folder, output, *DECOMPOSED, "--rate", "0", "--ratio", "12", "--epochs", "2") == 0
    assert constants(output, capsys)[0] <= WEIGHTS / 12


def losses(path: Path, x: Array, y: Array) -> Array:
    """Cross entropy of a model's scores for every image."""
    scores = run_module(import_model(path.read_bytes()), [x])[0].astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    return np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_training_mends_what_the_decomposition_costs(folder: Path, seed: str) -> None:
    """The data are their own validation, so the epoch that is kept is the best by what is measured here; on other
    images, luck would choose it. The model's labels are its own, so all wrong answers are the decomposition's: at least
    a tenth of them becomes right.
    """
    images = np.load(folder / "train.npz")
    x, y = (images["x"].astype(np.float32) - 128) / 64, images["y"]
    wrong: list[int] = []
    loss: list[float] = []
    for epochs in ("0", "12"):
        output = folder / f"after{epochs}.onnx"
        options = ("--rate", "2", "--epochs", epochs, "--lr", "0.01", "--seed", seed, "-q")
        assert compress(folder, output, "--validation", str(folder / "train.npz"), *options) == 0
        scores = run_module(import_model(output.read_bytes()), [x])[0]
        wrong.append(int((scores.argmax(1) != y).sum()))
        loss.append(float(losses(output, x, y).mean()))
    assert wrong[0] - wrong[1] >= wrong[0] / 10 > 1
    assert loss[1] < loss[0]


def test_no_epoch_only_decomposes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = folder / "ptq.onnx"
    assert compress(folder, output, "--epochs", "0", "--scheme", "escalate") == 0
    assert constants(output, capsys)[0] < WEIGHTS / 4


@pytest.mark.slow
def test_equal_seeds_give_equal_files(folder: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert compress(folder, folder / name, "--epochs", "1", "--ratio", "13", "--seed", seed, "-q") == 0
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes() != (folder / "c").read_bytes()


def test_resting_coefficients_stay_while_all_else_learns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[Tensor], list[Tensor], float]] = []
    run = Trainer.run

    def watched(trainer: Trainer, *calls: Any) -> None:
        def look() -> None:
            modules = [m for m in trainer.network.projected if isinstance(m, DecomposedConv)]
            coefficients = [m.coefficients().detach().clone() for m in modules]
            seen.append((coefficients, [m.basis.detach().clone() for m in modules], trainer.loss(trainer.held)))

        look()
        run(trainer, *calls)
        look()

    monkeypatch.setattr(Trainer, "run", watched)
    options = ("--rate", "2", "--epochs", "6", "--rest", "1", "--lr", "0.01", "--validation", str(folder / "train.npz"))
    assert compress(folder, folder / "rest.onnx", *DECOMPOSED, *options) == 0
    (before, bases, loss), (after, learned, less) = seen
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(bases, learned, strict=True))
    assert less < loss


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ste", "admm", "normalised"])
def test_a_resumed_run_is_an_uninterrupted_one(
    folder: Path, method: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, options = folder / f"{method}.pt", ["--epochs", "3", "--ratio", "13"]
    options += ["--batch-norm"] if method == "normalised" else ["--method", method]
    options += ["--augment", "shift,flip", "--checkpoint", str(saved)]
    whole, parts = folder / f"{method}-whole.onnx", folder / f"{method}-parts.onnx"
    assert compress(folder, whole, *options) == 0
    saved.unlink()
    judge = Trainer._judge

    def interrupted(self: Trainer, epoch: int) -> Any:
        if epoch == 1:
            judge(self, epoch)  # counts an epoch that is not written yet
            raise KeyboardInterrupt
        return judge(self, epoch)

    monkeypatch.setattr(Trainer, "_judge", interrupted)
    assert compress(folder, parts, *options) == 130
    assert f"'{saved}' holds epoch 1: the same command with --resume goes on" in capsys.readouterr().err
    assert not parts.exists()
    monkeypatch.setattr(Trainer, "_judge", judge)
    assert compress(folder, parts, *options, "--resume") == 0
    assert whole.read_bytes() == parts.read_bytes()


@pytest.mark.slow
def test_settled_coefficients_survive_a_resumed_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, whole, parts = (folder / f"early.{suffix}" for suffix in ("pt", "onnx", "resumed"))
    options = ["--epochs", "7", "--ratio", "13", "--early-bird", "--drop-batches", "0.5", "--checkpoint", str(saved)]
    frozen: list[bool] = []
    judge = Trainer._judge

    def watched(self: Trainer, epoch: int) -> Any:
        found = judge(self, epoch)
        frozen.append(self.state.frozen)
        return found

    def interrupted(self: Trainer, epoch: int) -> Any:
        if epoch == 6:
            raise KeyboardInterrupt
        return judge(self, epoch)

    monkeypatch.setattr("escc.training.early_bird._CLOSE", 0.9)
    monkeypatch.setattr(Trainer, "_judge", watched)
    assert compress(folder, whole, *options, "-q") == 0
    assert frozen == [False] * 4 + [True] * 3  # five masks agree, with such a tolerance
    saved.unlink()
    monkeypatch.setattr(Trainer, "_judge", interrupted)
    assert compress(folder, parts, *options, "-q") == 130
    monkeypatch.setattr(Trainer, "_judge", judge)
    assert compress(folder, parts, *options, "-q", "--resume") == 0
    assert whole.read_bytes() == parts.read_bytes()


def test_the_report_counts_the_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counted: list[float] = []
    for options in ((), ("--drop-batches", "0.5"), ("--precision", "bfloat16")):
        assert compress(folder, folder / "cost.onnx", *DECOMPOSED, "--rate", "1", "--epochs", "2", *options) == 0
        line = re.search(
            r"^training: (\S+) multiply-\S+ forward, (\S+) backward.*; (\S+) J", capsys.readouterr().out, re.M
        )
        assert line is not None
        counted += [float(line[2]), float(line[3])]
    assert counted[2] < 0.8 * counted[0] and counted[4] == counted[0] and counted[5] < counted[1]


def test_a_checkpoint_of_another_run_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved, target, output = (folder / name for name in ("other.pt", "other.toml", "x.onnx"))
    target.write_text('base = "esc1"\n')
    options = [*DECOMPOSED, "--checkpoint", str(saved), "--target", str(target), "-q", "--epochs"]
    assert [compress(folder, output, *options, *more) for more in (["1"], ["2", "--resume"])] == [0, 1]
    assert f"error: {saved}: --epochs was 1, is now 2" in capsys.readouterr().err
    target.write_text('base = "esc1"\narray.slices = 3\n')
    assert compress(folder, output, *options, "1", "--resume") == 1
    assert f"error: {saved}: the target was " in capsys.readouterr().err


def test_patience_ends_the_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*DECOMPOSED, "--epochs", "30", "--patience", "1", "--lr", "1e-9"]
    assert compress(folder, folder / "p.onnx", *options) == 0
    assert len(re.findall("^epoch ", capsys.readouterr().err, re.MULTILINE)) < 30


def test_training_without_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*DECOMPOSED, "--data", str(folder / "unlabelled.npz"), "--epochs", "1", "--threads", "1"]
    assert main([str(folder / "model.onnx"), "-o", str(folder / "u.onnx"), *arguments]) == 0
    done = capsys.readouterr()
    assert "has no labels" in done.err and "agreement with the original" in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bytes", "40"], "a budget of 40 bytes cannot be reached"),
        (["--ratio", "9999"], "cannot be reached"),
        (["--device", "nowhere"], "--device nowhere"),
        (["--image-mean", "1,2"], "--image-mean: 2 values for an input of 3 channels"),
        (["--validation", "missing.npz"], "missing.npz: No such file"),
        (["--validation", "unlabelled.npz"], "unlabelled.npz: no array 'y'"),
    ],
)
def test_faults_of_the_input(
    folder: Path,
    options: Sequence[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    output = folder / "never.onnx"
    code = compress(folder, output, "--epochs", "0", *options)
    assert code == 1 and not output.exists()
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "--resume: needs --checkpoint"),
        (["--bytes", "12Q"], "expected a number of bytes"),
        (["--bytes", "1K", "--ratio", "2"], "not allowed with"),
        (["--augment", "rotate"], "no augmentation 'rotate'"),
        (["--scheme", "dense"], "--scheme: dense leaves nothing to train"),
        (["--scheme", "none"], "--scheme: no scheme 'none'; installed: auto, "),
        (["--held-out", "1.5"], "expected a number between 0 and 1"),
        (["--rest", "1.5"], "expected a number from 0 to 1"),
        (["--rest", "1", "--method", "admm"], "--rest: not allowed with --method admm"),
    ],
)
def test_usage(folder: Path, options: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        compress(folder, folder / "never.onnx", *options)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(3)}, "no array for input 'x'"),
        ({"x": np.zeros((4, 3, 8, 9))}, r"array 'x' is float64\[4,3,8,9\]"),
        ({"x": np.full((4, 3, 8, 8), np.nan), "y": np.zeros(4, int)}, "requires finite numbers"),
        ({"x": np.zeros((4, 3, 8, 8)), "y": np.array([0, 1, 2, 4])}, "outside"),
        ({"x": np.zeros((4, 3, 8, 8)), "y": np.zeros(3, int)}, r"y is int64\[3\]"),
        ({"x": np.zeros((4, 3, 8, 8))}, "no array 'y'"),
    ],
)
def test_bad_data(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = str(tmp_path / "d.npz")
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=message):
        data.load_samples(path, Input("x", (3, 8, 8)), 4, data.Preprocessing(), True)


def test_the_first_few_of_a_choice_speak_for_data_that_lie_class_by_class() -> None:
    y = torch.arange(10).repeat_interleave(300)
    samples = data.TrainingSamples(torch.arange(3000.0), y, data.Preprocessing())
    some = samples.some(1024, 0)
    assert some.y is not None and len(set(some.x.tolist())) == len(some) == 1024
    assert torch.equal(some.y, y[some.x.long()])
    assert len(set(some.y[:64].tolist())) == 10
    assert torch.equal(samples.some(1024, 0).x, some.x) and not torch.equal(samples.some(1024, 1).x, some.x)
    assert len(samples.some(5000, 0)) == 3000


def test_augmentation_moves_and_mirrors() -> None:
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8) + 1
    rng = torch.Generator().manual_seed(0)
    seen = [data.augmented(x, rng, ("flip",)) for _ in range(8)]
    assert all((torch.equal(y, a) or torch.equal(y, a.flip(2))) for s in seen for y, a in zip(s, x, strict=True))
    moved = torch.cat([data.augmented(x[:1], rng, ("shift",)) for _ in range(30)])
    corners = {tuple(m[0].nonzero()[0].tolist()) for m in moved}
    assert corners == {(a, b) for a in (0, 1) for b in (0, 1)}
    assert {int((m != 0).sum()) // 3 for m in moved} == {64, 56, 49}


def test_every_other_sample_is_a_mean_of_two_without_a_label() -> None:
    x, y = torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 2, 3, 3) ** 3, torch.arange(6)
    mixed, labels = data.mixed(x, y, torch.Generator().manual_seed(3))
    assert labels is not None and labels.tolist() == [0, data.UNLABELLED, 2, data.UNLABELLED, 4, data.UNLABELLED]
    assert torch.equal(mixed[::2], x[::2]) and not torch.equal(mixed[1::2], x[1::2]) and y.tolist() == list(range(6))
    assert bool((mixed[1::2] >= 0).all()) and bool((mixed <= x.max()).all())
    assert torch.equal(mixed, mixed[:, :1, :1, :1].expand_as(mixed))
    assert torch.nn.functional.cross_entropy(torch.eye(6)[:, [0, 0, 2, 0, 4, 0]], labels).isfinite()
    samples = data.TrainingSamples(x, y, data.Preprocessing())
    seen = [y for _, y in samples.shuffled(3, torch.Generator().manual_seed(0), ("mix",), torch.device("cpu"))]
    assert all(y is not None and (y == data.UNLABELLED).tolist() == [False, True, False] for y in seen)


class _Free:
    """Stands for `Sparsity`: keeps the largest quarter of the coefficients."""

    def tighten(self, most: float, values: Sequence[Tensor]) -> None:
        for module, value in zip(self.modules, values, strict=True):
            limit = value.abs().flatten().sort().values[-value.numel() // 4 - 1]
            module.threshold.fill_(max(0.5, float(limit)))

    def __init__(self, modules: Sequence[Any]):
        self.modules = modules


def test_admm_ends_at_a_ternary_sparse_point() -> None:
    """Minimise |A - W|^2: A meets its projection Z, which is ternary and as sparse as demanded."""
    from escc.training.straight_through import ConvFrame, DecomposedConv

    rng = np.random.default_rng(0)
    wanted = rng.standard_normal((8, 4, 8))
    module = DecomposedConv(wanted, np.ones((4, 1, 1)), ConvFrame(np.ones(8), np.zeros(8), 1.0))
    module.relaxed = True
    target = module.latent.detach().clone()
    with torch.no_grad():
        module.latent.zero_()
    admm = Admm([module], _Free([module]))  # type: ignore[arg-type]
    for step in range(6000):
        if step % 200 == 0:
            admm.project(1.0, step / 6000)
        (pull,) = admm.pulls()
        with torch.no_grad():
            module.latent.sub_(5e-4 * (module.latent - target) + pull)
    z = torch.sign(module.latent.detach()) * (module.latent.detach().abs() > module.threshold)
    assert (module.latent - z).abs().mean().item() < 0.1 * (target - z).abs().mean().item()
    assert 0 < int((z != 0).sum()) <= z.numel() // 4 + 1
    assert (z.sign() * target.sign() >= 0).all()


def test_models_of_other_shapes_are_refused() -> None:
    module: ModuleOp = import_model(residual_model())
    assert only_input(module, "training") == Input("x", (3, 8, 8)) and classes_of(module) == 10
    terminator = next(op for op in module.walk() if op.name == "func.return")
    terminator.operands = [*terminator.operands, *terminator.operands]
    with pytest.raises(UserError, match=r"requires a model with one output.*2 outputs"):
        classes_of(module)
    block = main_function(module).body.block
    block.insert_arg(block.args[0].type, 1)
    with pytest.raises(UserError, match="training requires a model with one input; this one has 2: 'input0', 'input1'"):
        only_input(module, "training")
