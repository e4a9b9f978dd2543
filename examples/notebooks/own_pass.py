import marimo

app = marimo.App(app_title="A pass of one's own")


@app.cell
def _():
    from dataclasses import dataclass
    from pathlib import Path

    import marimo as mo
    import numpy as np
    from xdsl.context import Context
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    import escc
    from dialects.blob import DenseAttr
    from dialects.esc import Conv2dOp
    from escc.driver import load, run_passes, to_program
    from escc.irtext import make_context
    from escc.universe import multiverse
    from passes.pipelines import PipelineOptions, build

    models = Path(__file__).resolve().parents[1] / "models"
    return (
        Context,
        Conv2dOp,
        DenseAttr,
        ModuleOp,
        ModulePass,
        PipelineOptions,
        build,
        dataclass,
        escc,
        load,
        make_context,
        mo,
        models,
        multiverse,
        np,
        run_passes,
        to_program,
    )


@app.cell
def _(mo):
    mo.md("""
    # A pass of one's own

    The compiler is a chain of passes over a module of xDSL. A pass is a class with a name, options as fields,
    and `apply`, which changes the module in place. This one sets small weights of dense convolutions to 0: the
    simplest pruning there is.
    """)
    return


@app.cell
def _(Context, Conv2dOp, DenseAttr, ModuleOp, ModulePass, dataclass, np):
    @dataclass(frozen=True)
    class ZeroSmallWeightsPass(ModulePass):
        """Set the given share of the weights of each dense convolution to 0, those of the least magnitude."""

        name = "zero-small-weights"
        share: float = 0.5

        def apply(self, ctx: Context, op: ModuleOp) -> None:
            for conv in op.walk():
                if isinstance(conv, Conv2dOp):
                    weight = conv.weight.array
                    limit = np.quantile(np.abs(weight.astype(np.int16)), self.share)
                    kept = np.where(np.abs(weight.astype(np.int16)) > limit, weight, 0)
                    conv.weight = DenseAttr.of(kept.astype(np.int8))

    return (ZeroSmallWeightsPass,)


@app.cell
def _(mo):
    mo.md("""
    The default pipeline is data: `build` gives its passes. Ours goes in behind `fuse-epilogues`, where weights
    are integers and nothing is decomposed yet. After every pass the module is verified.
    """)
    return


@app.cell
def _(
    PipelineOptions,
    ZeroSmallWeightsPass,
    build,
    escc,
    load,
    make_context,
    models,
    multiverse,
    run_passes,
    to_program,
):
    def compiled_with(*extra):
        options = PipelineOptions(calibration=str(models / "calibration.npz"), samples=16, scheme="dense")
        passes = list(build(multiverse().all_passes, options))
        at = next(i for i, step in enumerate(passes) if step.name == "fuse-epilogues") + 1
        passes[at:at] = extra
        context = make_context()
        module = load(context, str(models / "resnet8_cifar10.onnx"))
        run_passes(context, module, passes)
        return escc.Compiled(to_program(module), "with " + (extra[0].name if extra else "no pass more"))

    before, after = compiled_with(), compiled_with(ZeroSmallWeightsPass(share=0.3))
    return after, before


@app.cell
def _(after, before, mo, models, np):
    data = np.load(models / "calibration.npz")
    shown = [
        {
            "binary": compiled.name,
            "bytes of constants": len(compiled.program.rodata),
            "top-1": compiled.accuracy(data["x"][:50], data["y"][:50]).top1,
        }
        for compiled in (before, after)
    ]
    assert shown[1]["bytes of constants"] < shown[0]["bytes of constants"]
    mo.ui.table(shown, selection=None)
    return


@app.cell
def _(mo):
    mo.md("""
    As a package with an entry point, such a pass is found by every command: `escc -p`, `esc-opt`.
    [extending.md](../../docs/extending.md) shows that, and how to add dialects, operators, instructions and
    weight forms.
    """)
    return


if __name__ == "__main__":
    app.run()
