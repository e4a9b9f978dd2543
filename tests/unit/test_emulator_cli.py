"""`esc-emu`: results, statistics, traces, accuracy, and one clear line for whatever is wrong."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from emulator_programs import Geometry, conv_program, requant_block, sparse
from onnx import TensorProto, helper, numpy_helper

import escc
from emulator.energy import OWN_COMPONENTS
from emulator.evaluate import batch_size
from emulator.inputs import load_image
from emulator.machine import Machine
from escc.cli.emulate import main
from isa.container import write_elf
from isa.events import tables_of
from isa.table import INSTRUCTIONS, make
from isa.text import printable

CLASSES = 4


@pytest.fixture(scope="module")
def program():
    """A classifier of 3 x 6 x 6 images: one convolution over the whole map."""
    rng = np.random.default_rng(0)
    g = Geometry(6, 6, 3, 6, 6, 1, 1, (0, 0, 0, 0), CLASSES)
    w = rng.integers(-20, 20, (CLASSES, 6, 6, 3)).astype(np.int8)
    q = requant_block(np.zeros(CLASSES), np.full(CLASSES, 1 << 20), np.full(CLASSES, 28))
    p = conv_program(g, "dense", {"w": w}, cpg=3, kpg=CLASSES, requant=q, lo=-128, hi=127, macs=432)
    port = replace(p.outputs[0], shape=(1, CLASSES))
    return replace(p, outputs=(port,), sample=sparse(rng, (6, 6, 3), 0.9).tobytes())


@pytest.fixture(scope="module")
def model(program, tmp_path_factory):
    path = tmp_path_factory.mktemp("emu") / "model.bin"
    path.write_bytes(write_elf(program))
    return path


@pytest.fixture(scope="module")
def images(program):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (37, 3, 6, 6)).astype(np.float32)


def fails(capsys, *arguments):
    """Run expecting exit code 1; the diagnostics."""
    assert main([str(a) for a in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in captured.err
    return captured.err


def test_sample_gives_the_best_classes(model, program, capsys):
    assert main([str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    scores = Machine(program).run_sample().outputs[0][0]
    assert lines[0] == "y: class, score"
    assert [int(line.split()[0]) for line in lines[1:]] == np.argsort(-scores, kind="stable").tolist()
    assert [float(line.split()[1]) for line in lines[1:]] == sorted(scores.tolist(), reverse=True)


def test_input_and_output_files(model, program, images, tmp_path, capsys):
    want = Machine(program).run([images[:3]]).outputs[0]
    np.save(tmp_path / "x.npy", images[:3])
    np.savez(tmp_path / "x.npz", x=images[:3])
    np.savez(tmp_path / "named.npz", **{program.inputs[0].name: images[:3]})
    for name in ("x.npy", "x.npz", "named.npz"):
        assert main([str(model), "--input", str(tmp_path / name), "--output", str(tmp_path / "y.npy")]) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), want)
    assert main([str(model), "--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npz")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["y"], want)
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [int(line.split("class ")[1].split(",")[0]) for line in lines] == want.argmax(axis=1).tolist()


@pytest.mark.parametrize("name", ["file", "arr_0", "a/../b", "\x1b[31m", "\ud800", "\0", ""])
def test_an_output_of_any_name_is_stored_under_it(name, program, tmp_path, capsys):
    path = tmp_path / "model.bin"
    path.write_bytes(write_elf(replace(program, outputs=(replace(program.outputs[0], name=name),))))
    assert main([str(path), "--output", str(tmp_path / "y.npz")]) == 0
    arrays = np.load(tmp_path / "y.npz")
    assert arrays.files == [printable(name)]
    np.testing.assert_array_equal(arrays[printable(name)], Machine(program).run_sample().outputs[0])
    assert capsys.readouterr().out.startswith(f"{printable(name)}: class")


def test_a_program_without_inputs_outputs_and_layers_runs(program, tmp_path, capsys):
    path = tmp_path / "model.bin"
    end = (make("end"),)
    bare = replace(program, layers=(), inputs=(), outputs=(), sample=b"", instructions=end)
    path.write_bytes(write_elf(bare))
    assert main([str(path), "--stats-json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in data["layers"]] == ["program"] and data["totals"]["instructions"] == 1
    assert "the model has 0 outputs" in fails(capsys, path, "--output", tmp_path / "y.npy")
    assert "accuracy needs a model" in fails(capsys, path, "--eval", path)


def test_table_and_json_agree(model, tmp_path, capsys):
    assert main([str(model), "--stats", "--stats-json", str(tmp_path / "s.json")]) == 0
    out = capsys.readouterr().out
    data = json.loads((tmp_path / "s.json").read_text())
    assert data["schema_version"] == 1
    assert data["images"] == 1
    assert [d["name"] for d in data["layers"]] == ["conv"]
    total = next(line for line in out.splitlines() if line.startswith("total"))
    assert total.split()[1] == str(data["totals"]["cycles"])
    assert f"{data['totals']['cycles']} cycles = " in out


def test_json_alone_on_standard_output(model, capsys):
    assert main([str(model), "--stats-json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["dense_macs"] == 432


def test_every_number_of_the_json_is_documented(model, capsys, request):
    main([str(model), "--stats-json", "-"])
    data = json.loads(capsys.readouterr().out)
    docs = request.config.rootpath / "docs"
    text = (docs / "performance.md").read_text()
    own = {table.name: events for spec in INSTRUCTIONS for table, events in tables_of(spec.events).items()}
    pages = "".join(path.read_text() for path in sorted((docs / "isa").glob("*.md")))
    for table, events in own.items():
        assert f"`{table}`" in pages and all(f"| `{name}` |" in pages for name in events), table
    for part in (data["totals"], data["layers"][0]):
        assert own and part.keys() >= own.keys()
        for key in part.keys() - own.keys():
            assert f"`{key}" in text, key
        for group in (
            "busy_cycles",
            "stall_cycles",
            "dram_bytes",
            "scratchpad_bytes",
            "energy_uj",
            "lower_bound",
            "dram",
        ):
            for key in part.get(group, ()):
                if key in OWN_COMPONENTS:
                    assert f" pJ | `{key}` |" in pages, key
                else:
                    assert any(form in text for form in (f".{key}`", f"`{key}`", key.upper())), key


def test_trace(model, program, tmp_path):
    assert main([str(model), "--trace", str(tmp_path / "t.json")]) == 0
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    tracks = {e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == 1}
    assert tracks == {"load", "compute", "post", "store"}
    runs = [e for e in events if e["ph"] == "X" and e["pid"] == 1]
    assert len(runs) == len(program.instructions) - 1
    assert {e["name"] for e in runs} == {"conv"}
    assert all(e["dur"] > 0 for e in runs)


def test_statistics_of_several_images_are_means(model, images, tmp_path, capsys):
    np.save(tmp_path / "x.npy", images[:6])
    assert main([str(model), "--input", str(tmp_path / "x.npy"), "--stats-json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["images"] == 4
    single = []
    for i in range(4):
        np.save(tmp_path / "x.npy", images[i : i + 1])
        main([str(model), "--input", str(tmp_path / "x.npy"), "--stats-json", "-"])
        single.append(json.loads(capsys.readouterr().out)["totals"]["cycles"])
    assert data["totals"]["cycles"] == pytest.approx(np.mean(single))


@pytest.mark.parametrize("step", [1, 3])
def test_several_images_are_measured_whatever_the_size_of_a_batch(step, model, images, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "x.npy", images[:6])
    command = [str(model), "--input", str(tmp_path / "x.npy"), "--stats-json", "-"]
    assert main(command) == 0
    whole = capsys.readouterr().out
    monkeypatch.setattr("emulator.evaluate._MOST_IMAGES", step)
    assert main(command) == 0
    assert capsys.readouterr().out == whole


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_accuracy(model, program, images, tmp_path, capsys, jobs):
    best = Machine(program).run([images]).outputs[0].argmax(axis=1)
    labels = np.where(np.arange(len(best)) % 4 == 0, (best + 1) % CLASSES, best)
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    assert main([str(model), "--eval", str(tmp_path / "d.npz"), "--jobs", jobs]) == 0
    printed = capsys.readouterr()
    assert printed.out == "top-1 72.97 % (27 of 37)\n"  # of four classes, five are no feat
    assert re.fullmatch(r"37 images emulated in [\d.]+ s: [\d,]+ images/s\n", printed.err)
    assert main([str(model), "--eval", str(tmp_path / "d.npz"), "--limit", "4", "--stats"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("top-1 75.00 % (3 of 4)\n")
    assert "means over 4 images" in out
    assert max(map(len, out.split("\n"))) <= 80
    assert main([str(model), "--eval", str(tmp_path / "d.npz"), "--confusion", "-q"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.split("\n")[4:8]]
    assert [int(row[0]) for row in rows] == list(range(CLASSES))
    assert sum(int(row[1 + label]) for label, row in enumerate(rows)) == 27
    assert 1 <= batch_size(program) <= len(images)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_upper_bits_of_16_count(channels, program, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    gray = np.random.default_rng(2).integers(0, 256, (6, 6)).astype(np.uint8)
    image_module.fromarray(gray).save(tmp_path / "8.png")
    image_module.fromarray(gray.astype(np.uint16) << 8 | 77).save(tmp_path / "16.png")
    values = {"mean": (10.0,) * channels, "std": (2.0,) * channels, "channel_order": "rgb"}
    known = replace(program.inputs[0], shape=(1, channels, 6, 6), **values)
    read = [load_image(str(tmp_path / name), known) for name in ("8.png", "16.png")]
    np.testing.assert_array_equal(read[0], read[1])
    assert np.ptp(read[0]) > 100


def test_image_files(model, program, tmp_path, capsys):
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (6, 12, 3)).astype(np.uint8)
    path = tmp_path / "i.png"
    image_module.fromarray(pixels).save(path)
    assert "mean, std, channel order unknown" in fails(capsys, model, "--input", path)
    port = replace(program.inputs[0], mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0), channel_order="bgr")
    known = replace(program, inputs=(port,))
    (tmp_path / "known.bin").write_bytes(write_elf(known))
    assert main([str(tmp_path / "known.bin"), "--input", str(path), "--output", str(tmp_path / "y.npy")]) == 0
    x = (pixels[:, 3:9, ::-1].astype(np.float64) - port.mean) / port.std
    want = Machine(known).run([x.transpose(2, 0, 1)[None]]).outputs[0]
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), want)
    capsys.readouterr()
    path.write_text("not an image")
    assert "neither .npy, .npz nor an image" in fails(capsys, tmp_path / "known.bin", "--input", path)
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # Pillow would start Ghostscript
    assert "neither .npy, .npz nor an image" in fails(capsys, tmp_path / "known.bin", "--input", path)
    image_module.new("1", (40_000, 2_000)).save(path)
    assert "40000 x 2000 pixels" in fails(capsys, tmp_path / "known.bin", "--input", path)


@pytest.fixture
def adder(tmp_path):
    """A binary with two inputs, and its sample as a file for each and as one for both."""
    w = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)
    nodes = [helper.make_node("Conv", ["a", "w"], ["c"]), helper.make_node("Add", ["c", "b"], ["y"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 3, 3]) for name in "aby"]
    graph = helper.make_graph(nodes, "g", ports[:2], ports[2:], [numpy_helper.from_array(w, "w")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    arrays = {n: np.random.default_rng(i).standard_normal((5, 2, 3, 3)).astype(np.float32) for i, n in enumerate("ab")}
    escc.compile(proto, calibration=arrays, scheme="dense").save(tmp_path / "add.bin")
    np.savez(tmp_path / "both.npz", allow_pickle=True, **arrays)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


def test_a_file_for_each_input(adder, capsys):
    both, each = adder / "both.npy", adder / "each.npy"
    assert main([str(adder / "add.bin"), "--input", str(adder / "both.npz"), "--output", str(both)]) == 0
    named = [f"--input=b={adder / 'b.npy'}", "--input", f"a={adder / 'a.npy'}"]
    assert main([str(adder / "add.bin"), *named, "--output", str(each)]) == 0
    assert np.array_equal(np.load(both), np.load(each)) and np.load(both).shape == (5, 2, 3, 3)
    capsys.readouterr()
    with pytest.raises(SystemExit) as found:
        main([str(adder / "add.bin"), *named, "--output", str(adder / "a.npy")])
    assert found.value.code == 2 and "is the same file" in capsys.readouterr().err


def test_faults_of_files_for_each_input(adder, capsys):
    np.save(adder / "few.npy", np.load(adder / "a.npy")[:2])
    binary, a, b, few = adder / "add.bin", f"a={adder / 'a.npy'}", f"b={adder / 'b.npy'}", f"a={adder / 'few.npy'}"
    assert "no file for input 'b'" in fails(capsys, binary, "--input", a)
    assert "--input a=...: is given twice" in fails(capsys, binary, "--input", a, "--input", few, "--input", b)
    assert "a.npy: names none of the inputs" in fails(capsys, binary, "--input", a, "--input", adder / "a.npy")
    assert "different numbers of samples" in fails(capsys, binary, "--input", few, "--input", b)


@pytest.mark.parametrize("size", [(6, 6), (1, 4000), (4000, 1), (13, 7), (5, 90), (600, 601)])
def test_an_image_is_scaled_to_cover_and_cut(program, tmp_path, size):
    """As if the whole image were scaled, but in memory that does not hang on how long it is."""
    image_module = pytest.importorskip("PIL.Image")
    port = replace(program.inputs[0], mean=(0.0,) * 3, std=(1.0,) * 3, channel_order="rgb")
    image = image_module.effect_noise(size, 90).convert("RGB")
    image.save(tmp_path / "i.png")
    found = load_image(str(tmp_path / "i.png"), port)
    scale = max(6 / size[0], 6 / size[1])
    whole = image.resize([max(6, round(s * scale)) for s in size], image_module.Resampling.BILINEAR)
    left, top = ((s - 6) // 2 for s in whole.size)
    want = np.asarray(whole.crop((left, top, left + 6, top + 6)), np.float64).transpose(2, 0, 1)[None]
    assert found.shape == want.shape and np.abs(found - want).max() <= 1
    tracemalloc.start()
    port = replace(port, shape=(1, 3, 224, 224))
    assert load_image(str(tmp_path / "i.png"), port).shape == port.shape
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()


def test_faults_of_inputs(model, images, tmp_path, capsys):
    def saved(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    np.save(tmp_path / "wrong.npy", images[:, :2])
    assert "the array is float32[37,2,6,6]; input 'x' requires [N,3,6,6]" in fails(
        capsys, model, "--input", tmp_path / "wrong.npy"
    )
    assert "No such file" in fails(capsys, model, "--input", tmp_path / "none.npy")
    for name in ("text.npy", "text.npz"):
        (tmp_path / name).write_text("hello")
        for option in ("--input", "--eval"):
            assert "not an .npz or .npy file" in fails(capsys, model, option, tmp_path / name)
    masked = saved("a.npz", a=images, mask=images)
    for option in ("--input", "--eval"):
        assert "no array for input 'x'; found 'a', 'mask'" in fails(capsys, model, option, masked)
    assert "no array 'y'" in fails(capsys, model, "--eval", saved("x.npz", x=images))
    wrong = np.arange(37)
    assert "33 of 37 labels are outside [0, 4), the first is y[4] = 4" in fails(
        capsys, model, "--eval", saved("d.npz", x=images, y=wrong)
    )
    assert "requires integers [37]" in fails(capsys, model, "--eval", saved("d.npz", x=images, y=wrong[:5]))
    buffer = io.BytesIO()
    np.save(buffer, images)
    (tmp_path / "cut.npy").write_bytes(buffer.getvalue()[:300])
    assert "needs more bytes than the 300 that there are" in fails(capsys, model, "--input", tmp_path / "cut.npy")


def test_many_inputs_run_in_batches(model, program, images, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", images)
    monkeypatch.setattr("emulator.evaluate._MOST_IMAGES", 5)
    sizes = []
    run = Machine.run_stored

    def counted(self, inputs, *args, **options):
        sizes.append(len(inputs[0]))
        return run(self, inputs, *args, **options)

    monkeypatch.setattr(Machine, "run_stored", counted)
    assert main([str(model), "--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npy")]) == 0
    assert sizes == [5] * 7 + [2]
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), Machine(program).run([images]).outputs[0])
    sizes.clear()
    assert main([str(model), "--input", str(tmp_path / "x.npy"), "--limit", "3"]) == 0
    assert sizes == [3]


def test_the_right_array_is_measured(model, program, images, tmp_path, capsys):
    best = Machine(program).run([images]).outputs[0].argmax(axis=1)
    np.savez(tmp_path / "d.npz", mask=images[::-1], x=images, y=best)
    assert main([str(model), "--eval", str(tmp_path / "d.npz")]) == 0
    assert capsys.readouterr().out.startswith("top-1 100.00 % (37 of 37)\n")


def test_guessing_on_inputs_of_another_range_is_worth_a_warning(model, program, images, tmp_path, capsys):
    best = Machine(program).run([images]).outputs[0].argmax(axis=1)
    other = (best + 1) % CLASSES

    def warned(x, y):
        np.savez(tmp_path / "d.npz", x=x, y=y)
        assert main([str(model), "-q", "--eval", str(tmp_path / "d.npz")]) == 0
        return capsys.readouterr().err

    assert "% of the input values lie outside [0, 255]" in warned(images - 100, other)
    assert "no input value is larger than 1, where the model was calibrated for values up to 255" in warned(
        images / images.max(), other
    )
    assert warned(images, other) == ""
    best = Machine(program).run([images - 100]).outputs[0].argmax(axis=1)
    assert warned(images - 100, best) == ""


def test_inputs_of_another_range_are_worth_a_warning(model, images, tmp_path, capsys):
    def warned(x, *options):
        np.save(tmp_path / "x.npy", x)
        assert main([str(model), "-q", "--input", str(tmp_path / "x.npy"), *options]) == 0
        return capsys.readouterr().err

    outside = "warning: input 'x': 100.0% of the input values lie outside [0, 255], the range that the model was "
    assert warned(np.full_like(images[:1], 1e4)).startswith(outside)
    assert warned(np.full_like(images, 1e4)).count(outside) == 1
    assert "no input value is larger than 1, where the model was calibrated" in warned(images / images.max())
    assert warned(images) == warned(images[0]) == ""


def test_an_output_of_any_name_is_written(program, tmp_path):
    for name in ("file", "\ud800", "\x1b[31m"):
        renamed = replace(program, outputs=(replace(program.outputs[0], name=name),))
        (tmp_path / "m.bin").write_bytes(write_elf(renamed))
        assert main([str(tmp_path / "m.bin"), "--output", str(tmp_path / "y.npz")]) == 0
        with np.load(tmp_path / "y.npz") as archive:
            (key,) = archive.files
            assert key == printable(name) and archive[key].shape == (1, CLASSES)


def test_faults_of_models(model, tmp_path, capsys):
    assert "No such file" in fails(capsys, tmp_path / "none.bin")
    (tmp_path / "empty.bin").write_bytes(b"")
    assert "empty.bin" in fails(capsys, tmp_path / "empty.bin")
    (tmp_path / "cut.bin").write_bytes(model.read_bytes()[:-100])
    assert "cut.bin" in fails(capsys, tmp_path / "cut.bin")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--limit", "0"],
        ["--jobs", "x"],
        ["--unknown"],
        ["--eval", "d.npz", "--input", "x.npy"],
        ["--eval", "d.npz", "--output", "y.npy"],
    ],
)
def test_usage(model, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(model), *arguments])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
