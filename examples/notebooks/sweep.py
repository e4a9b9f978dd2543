import marimo

app = marimo.App(app_title="Sweeping a machine")


@app.cell
def _():
    from pathlib import Path

    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np

    import escc

    models = Path(__file__).resolve().parents[1] / "models"
    return escc, mo, models, np, plt


@app.cell
def _(mo):
    mo.md("""
    # Sweeping a machine

    `escc.Target("esc1", ...)` is the machine with changed parameters; [target.md](../../docs/target.md) lists
    them with units and ranges. The compiler tiles the network anew for each machine, and the emulator measures
    it.
    """)
    return


@app.cell
def _(escc, models, np):
    x = np.load(models / "calibration.npz")["x"]

    def measured(**changes):
        target = escc.Target("esc1", **changes, name="changed")
        compiled = escc.compile(models / "resnet8_cifar10.onnx", x, "dense", target, samples=8)
        return compiled.stats(x[:1])

    blocks = (4, 8, 16, 32)
    runs = [measured(array={"blocks": n}) for n in blocks]
    return blocks, runs


@app.cell
def _(blocks, mo, runs):
    rows = [
        {
            "blocks": n,
            "multipliers": run["machine"]["multipliers"],
            "cycles": run["totals"]["cycles"],
            "energy uJ": round(run["totals"]["energy_uj"]["total"], 2),
            "bound by": run["totals"]["lower_bound"]["binding"],
        }
        for n, run in zip(blocks, runs, strict=True)
    ]
    assert rows[0]["cycles"] > rows[-1]["cycles"]
    mo.ui.table(rows, selection=None)
    return (rows,)


@app.cell
def _(blocks, plt, rows):
    figure, axis = plt.subplots(figsize=(5, 3))
    axis.loglog(blocks, [row["cycles"] for row in rows], "o-", label="cycles")
    axis.loglog(blocks, [rows[0]["cycles"] * blocks[0] / n for n in blocks], ":", label="if every block counted")
    axis.set_xticks(blocks, [str(n) for n in blocks])
    axis.xaxis.set_minor_locator(plt.NullLocator())
    axis.set_xlabel("blocks")
    axis.legend()
    figure.tight_layout()
    figure
    return


@app.cell
def _(mo):
    mo.md("""
    Each doubling of the blocks takes off almost half of the cycles, and energy hardly changes. More blocks would
    gain less: on the largest machine, DRAM bounds some layers already (`D` under `by`) and the units behind the
    accumulators others (`P`), while the multipliers (`M`) bound the rest.
    """)
    return


@app.cell
def _(runs):
    runs[-1]
    return


if __name__ == "__main__":
    app.run()
