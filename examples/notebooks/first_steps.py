import marimo

app = marimo.App(app_title="First steps with escc")


@app.cell
def _():
    from pathlib import Path

    import marimo as mo
    import numpy as np

    import escc

    models = Path(__file__).resolve().parents[1] / "models"
    return escc, mo, models, np


@app.cell
def _(mo):
    mo.md("""
    # First steps

    A trained network and some images that show the compiler what activations are like: that is all
    `escc.compile` needs. The result shows its layers: what each computes, and what became of its weights.
    """)
    return


@app.cell
def _(escc, models, np):
    data = np.load(models / "calibration.npz")  # x float32 [100, 3, 32, 32], y int64 [100]
    compiled = escc.compile(models / "resnet8_cifar10.onnx", data["x"], "dense", samples=32)
    compiled
    return compiled, data


@app.cell
def _(mo):
    mo.md("""
    ## What does an image cost?

    `run` gives the outputs, in the very integers of the machine. `stats` emulates the machine cycle by cycle:
    where the time goes, what the memories move, and the energy. [performance.md](../../docs/performance.md)
    defines every number.
    """)
    return


@app.cell
def _(compiled, data):
    stats = compiled.stats(data["x"][:1])
    stats
    return (stats,)


@app.cell
def _(compiled, data):
    scores = compiled.run(data["x"][:4])
    answers = scores.argmax(axis=1)
    assert (answers == data["y"][:4]).all()
    answers
    return


@app.cell
def _(mo):
    mo.md("""
    ## How well does it answer?

    These images were drawn out of the network itself, so it knows them all. The README measures on real ones.
    """)
    return


@app.cell
def _(compiled, data):
    accuracy = compiled.accuracy(data["x"][:50], data["y"][:50])
    accuracy
    return


@app.cell
def _(mo):
    mo.md("""
    ## What did the compiler do?

    The network at each of four levels, and as assembly. Here is `esc`, integers and nothing else: the last
    level without a machine in mind.
    """)
    return


@app.cell
def _(compiled):
    compiled.ir("esc")
    return


if __name__ == "__main__":
    app.run()
