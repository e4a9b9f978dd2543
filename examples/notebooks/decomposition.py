import marimo

app = marimo.App(app_title="What decomposition does to a layer")


@app.cell
def _():
    from pathlib import Path

    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np
    import onnx
    from onnx import numpy_helper

    import escc

    models = Path(__file__).resolve().parents[1] / "models"
    return escc, mo, models, np, numpy_helper, onnx, plt


@app.cell
def _(mo):
    mo.md("""
    # What decomposition does to a layer

    A convolution has a kernel of 3 x 3 numbers for every pair of input channel c and output channel k.
    Decomposed, the layer has a few *basis kernels* B, which all pairs share, and of each kernel only ternary
    *coefficients* T are left: kernel (k, c) is s[k] times the sum of T[k, v, c] B[v] over the bases v. The
    accelerator adds and subtracts inputs by T, and convolves by B.
    """)
    return


@app.cell
def _(escc, models, np):
    x = np.load(models / "calibration.npz")["x"]
    compiled = escc.compile(
        models / "resnet8_cifar10.onnx", x, "escalate", basis=6, planes=1, samples=16, progress=lambda text: None
    )
    compiled
    return (compiled,)


@app.cell
def _(compiled, models, numpy_helper, onnx):
    layer = "/stage2/conv2/Conv"

    def constants(model):
        return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}

    # The network as plain ONNX: docs/onnx.md says where coefficients, bases and scales stand.
    made = constants(onnx.load_from_string(compiled.onnx()))
    scale = made[f"{layer}/basis/weight/scale"]  # [K]
    bases = made[f"{layer}/basis/weight/integers"].astype(float)[0]  # [V, 3, 3], the same for every k
    coefficients = made[f"{layer}/coefficients/weight/integers"].astype(float)[:, :, 0, 0]
    coefficients = coefficients.reshape(len(scale), len(bases), -1)  # [K, V, C]
    original = next(
        constants(model)[node.input[1]]
        for model in [onnx.load(models / "resnet8_cifar10.onnx")]
        for node in model.graph.node
        if node.name == layer
    )  # [K, C, 3, 3]
    return bases, coefficients, original, scale


@app.cell
def _(mo):
    mo.md("""
    ## The bases

    Six kernels of 8-bit numbers, for the whole layer.
    """)
    return


@app.cell
def _(bases, np, plt):
    def pictures(kernels, titles, columns):
        rows = -(-len(kernels) // columns)
        figure, axes = plt.subplots(rows, columns, figsize=(1.4 * columns, 1.6 * rows), squeeze=False)
        for axis, kernel, title in zip(axes.ravel(), kernels, titles, strict=True):
            limit = np.abs(kernel).max() or 1
            axis.imshow(kernel, cmap="RdBu", vmin=-limit, vmax=limit)
            axis.set_title(title, fontsize=8)
            axis.set_axis_off()
        figure.tight_layout()
        return figure

    pictures(bases, [f"B[{v}]" for v in range(len(bases))], len(bases))
    return (pictures,)


@app.cell
def _(mo):
    mo.md("""
    ## The coefficients

    A row for each output channel and a column for each pair of basis and input channel: +1, 0 or -1. Zeros cost
    neither bytes nor additions.
    """)
    return


@app.cell
def _(coefficients, np, plt):
    signs = np.sign(coefficients).reshape(len(coefficients), -1)
    shown, axis = plt.subplots(figsize=(9, 2.2))
    axis.imshow(signs, cmap="RdBu", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    axis.set_xlabel("basis v, input channel c")
    axis.set_ylabel("output channel k")
    shown.tight_layout()
    shown
    return


@app.cell
def _(coefficients, mo):
    mo.md(f"{float((coefficients == 0).mean()):.0%} of {coefficients.size:,} coefficients are 0.")
    return


@app.cell
def _(mo):
    mo.md("""
    ## Kernels before and after

    Above, four kernels of the layer; below, what the bases and coefficients make of them. (A BatchNormalization
    behind the layer is folded into the scales, so each picture has its own.)
    """)
    return


@app.cell
def _(bases, coefficients, np, original, pictures, scale):
    rebuilt = np.einsum("k,kvc,vrs->kcrs", scale, coefficients, bases)
    pairs = [(0, 0), (5, 3), (11, 20), (30, 7)]
    both = [original[k, c] for k, c in pairs] + [rebuilt[k, c] for k, c in pairs]
    pictures(both, [f"k={k}, c={c}" for k, c in pairs] * 2, len(pairs))
    return (rebuilt,)


@app.cell
def _(np, original, rebuilt):
    a, b = original.reshape(len(original), -1), rebuilt.reshape(len(rebuilt), -1)
    likeness = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    assert likeness.min() > 0.5
    return (likeness,)


@app.cell
def _(likeness, mo):
    mo.md(
        f"Over the output channels, the cosine between a kernel and what is left of it is {likeness.mean():.2f} on "
        f"average and {likeness.min():.2f} at least. The compiler does not minimise this distance, but that of the "
        "layer's *outputs* on the calibration images; [compression.md](../../docs/compression.md) has the mathematics."
    )
    return


if __name__ == "__main__":
    app.run()
