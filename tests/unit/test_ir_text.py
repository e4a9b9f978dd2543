"""IR text from strangers: what is refused before, while and after it is parsed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from isa_programs import small_program, with_instruction
from xdsl.dialects.builtin import ArrayAttr, StringAttr

from dialects.eisa import from_program
from dialects.interpreters.run import main_function
from dialects.locations import named, node_names
from escc.cli import compile as escc
from escc.cli import opt
from escc.driver import record
from escc.irscan import MOST_BRACKETS, MOST_DIGITS, check_text
from escc.irtext import make_context, parse_module, print_module
from escc.universe import PASSES
from isa.errors import UserError
from isa.program import Program

BRACKETS = MOST_BRACKETS - 2


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('module {a = "' + "x" * 60, "1:13", "the string does not end on its line"),
        ('"ab\ncd"', "1:1", "the string does not end on its line"),
        ('"ab\\n\x0bcd"', "1:1", "the string does not end on its line"),
        ('// "\n ""  "', "2:6", "the string does not end on its line"),
        ('"a\\q"', "1:3", "unknown escape in a string"),
        ("\n" + "1" * (MOST_DIGITS + 1), "2:1", "more than 250 digits"),
        ("0x" + "f" * MOST_DIGITS, "1:1", "more than 250 digits"),
        ("[{(<" * (MOST_BRACKETS // 4) + "(", f"1:{MOST_BRACKETS + 1}", "more than 64 brackets are open"),
        (")" * 80 + "(" * 80, "1:145", "more than 64 brackets are open"),
        ("i\u0663", "1:2", "stands outside of a string"),
    ],
)
def test_text_that_never_reaches_the_parser(text: str, place: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        check_text(text, "m.mlir")
    (cause,) = caught.value.causes
    assert cause.startswith(f"m.mlir:{place}: ") and words in cause


@pytest.mark.parametrize(
    "text",
    [
        "-> " * 100,
        "()[]{}<>" * 100,
        '"\\"(((\\22[\\5c" // (((' * 30,
        '"é" // é',
        "1" * MOST_DIGITS,
        '""""',
        "a>=b <= c" * 90,
    ],
)
def test_text_that_is_fit_for_the_parser(text: str) -> None:
    check_text(text, "m.mlir")


@pytest.mark.parametrize(
    "text",
    [
        "builtin.module {" * BRACKETS + "}" * BRACKETS,
        "builtin.module attributes {a = " + "[" * BRACKETS + "]" * BRACKETS + "} {}",
        "builtin.module attributes {a = " + "{a = " * BRACKETS + "1 : i64" + "}" * BRACKETS + "} {}",
        "builtin.module attributes {a = " + "tuple<" * BRACKETS + "i8" + ">" * BRACKETS + "} {}",
        "builtin.module attributes {a = " + "vector<1x" * BRACKETS + "i8" + ">" * BRACKETS + "} {}",
        "builtin.module attributes {a = " + "() -> (" * BRACKETS + "i8" + ")" * BRACKETS + "} {}",
        '"builtin.module"() ({' * (BRACKETS // 2) + "}) : () -> ()" * (BRACKETS // 2),
        "builtin.module attributes {a = affine_map<(d) -> ("
        + "(" * (BRACKETS - 3)
        + "d"
        + ")" * (BRACKETS - 3)
        + ")>} {}",
        "builtin.module attributes {a = affine_map<(d) -> (" + "-" * 5000 + "d)>} {}",
        "builtin.module attributes {a = " + "loc(fused[" * (BRACKETS // 2) + '"x"' + "])" * (BRACKETS // 2) + "} {}",
    ],
)
def test_what_is_nested_as_deep_as_allowed_is_read_or_refused(text: str) -> None:
    from xdsl.utils.exceptions import ParseError

    try:
        module = parse_module(make_context(), text, "m.mlir")
    except (UserError, ParseError):
        return
    assert print_module(parse_module(make_context(), print_module(module), "again")) == print_module(module)


FUNCTION = """
func.func @main(%x: tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32> {{
{body}
  func.return %b : tensor<1x3x4x4xf32>
}}
"""
FIRST = '  %a = "onnx.Relu"(%x) : (tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32>'
SECOND = '  %b = "onnx.Relu"(%a) : (tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32> loc("second")'


def test_every_value_is_defined_above_its_use() -> None:
    parse_module(make_context(), FUNCTION.format(body=f"{FIRST}\n{SECOND}"), "m.mlir")
    with pytest.raises(UserError) as caught:
        parse_module(make_context(), FUNCTION.format(body=f"{SECOND}\n{FIRST}"), "m.mlir")
    (cause,) = caught.value.causes
    assert cause == "m.mlir: node 'second' (onnx.Relu): operand 0 '%a' is not defined above its use"


def refused(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_module(make_context(), text, "m.mlir")
    (cause,) = caught.value.causes
    return cause


def test_a_value_that_only_another_layer_defines() -> None:
    layer = """  bfs.layer "{name}" "map" -> @{name} attributes {{nodes = [], macs = 0 : i64, weights = 0 : i64}} {{
      {define}
      bfs.store_tile @{name}, %out
    }}"""
    define = "%out = bfs.buffer act 64"
    layers = [layer.format(name="a", define=""), layer.format(name="b", define=define)]
    tensors = "\n".join(f"bfs.tensor @{name} : 8x8x8 !esc.q<u8, 0.5> raw" for name in "ab")
    text = f'bfs.program attributes {{target = "esc1"}} {{\n{tensors}\n' + "\n".join(layers) + "\n}"
    assert refused(text) == "m.mlir: (bfs.store_tile): operand 0 '%out' is not defined above its use"


def test_values_are_visible_where_they_may_be_used() -> None:
    loop = """
    func.func @f(%c: index, %d: i1) {{
      {before}
      scf.for %i = %c to %c step %c {{
        %inner = arith.addi %i, %outer : index
        scf.yield
      }}
      {after}
      func.return
    }}
    """
    define, use = "%outer = arith.addi %c, %c : index", "%u = arith.addi %inner, %c : index"
    parse_module(make_context(), loop.format(before=define, after=""), "m.mlir")
    assert "operand 1 '%outer'" in refused(loop.format(before="", after=define))
    with pytest.raises(Exception, match="inner"):
        parse_module(make_context(), loop.format(before=define, after=use), "m.mlir")
    blocks = """
    func.func @f(%c: index, %d: i1) {
      cf.br ^last
    ^first:
      %a = arith.addi %b, %c : index
      %e = arith.addi %f, %c : index
      %f = arith.addi %a, %c : index
      func.return
    ^last:
      %b = arith.addi %c, %c : index
      cf.br ^first
    }
    """
    assert "(arith.addi): operand 0 '%f'" in refused(blocks)
    parse_module(make_context(), blocks.replace("arith.addi %f, %c", "arith.addi %a, %c"), "m.mlir")


def test_both_commands_look_the_text_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.mlir"
    for text, words in (
        ('builtin.module attributes {a = "' + "x" * 60, "m.mlir:1:32: the string does not end on its line"),
        ("builtin.module {" * 3000, "m.mlir:65:16: more than 64 brackets are open"),
        (
            "builtin.module attributes {a = " + "9" * 5000 + " : i64} {}",
            "m.mlir:1:32: a number has more than 250 digits",
        ),
        (FUNCTION.format(body=f"{SECOND}\n{FIRST}"), "operand 0 '%a' is not defined above its use"),
    ):
        path.write_text(text.replace("{builtin", "{\nbuiltin"))
        for main in (escc.main, opt.main):
            assert main([str(path)]) == 1
            shown = capsys.readouterr()
            assert words in shown.err and shown.err.count("error: ") == 1 and not shown.out


def text_program() -> Program:
    """A program that modules of level eisa can hold: lines of at least one position, names in ASCII, a bare `end`."""
    p = small_program()
    refs = {ref: replace(ref, segment=max(1, ref.segment)) for ref in (p.inputs[0].tensor, p.outputs[0].tensor)}
    layers = [replace(layer, output=replace(layer.output, segment=max(1, layer.output.segment))) for layer in p.layers]
    layers[-1] = replace(layers[-1], end=layers[-1].end - 1)
    inputs = tuple(replace(port, tensor=refs[port.tensor]) for port in p.inputs)
    outputs = tuple(replace(port, name="y", tensor=refs[port.tensor]) for port in p.outputs)
    return replace(p, layers=tuple(layers), inputs=inputs, outputs=outputs)


def test_a_racy_program_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "m.mlir", tmp_path / "m.bin"
    program = text_program()
    for wait, code in ((program.instructions[5]["wait_post"], 0), (0, 1)):
        module = from_program(with_instruction(program, 5, wait_post=wait))
        record(module, PASSES)
        path.write_text(print_module(module))
        assert escc.main([str(path), "-o", str(out), "-q"]) == code
        assert out.exists() == (code == 0)
        out.unlink(missing_ok=True)
    assert "may still be writing it" in capsys.readouterr().err


def test_numbers_that_the_parser_cannot_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.mlir"
    huge = str(1 << 64)
    for text in (
        f"builtin.module attributes {{a = array<i64: {huge}>}} {{}}",
        "builtin.module attributes {a = array<i641: 3, 3>} {}",
        f"builtin.module attributes {{a = {huge} : i64}} {{}}",
        f"builtin.module attributes {{a = !esc.q<i8, {'9' * 200}>, b = dense<{huge}> : tensor<1xi32>}} {{}}",
        f'bfs.program attributes {{target = "esc1"}} {{\nbfs.tensor @t : 8x8x{huge} !esc.q<u8, 0.5> raw\n}}',
        'func.func @f() {\n %x = "test.op"() {a = 0x1p : f32} : () -> (i' + huge + ")\n}",
    ):
        path.write_text(text)
        for main in (escc.main, opt.main):
            assert main([str(path)]) == 1, text
            assert capsys.readouterr().err.count("error: ") == 1


def test_the_innermost_fault_is_told(tmp_path: Path) -> None:
    body = "\n".join(
        [
            "bfs.tensor @a : 8x8x8 !esc.q<u8, 0.5> raw",
            'bfs.input "x" @a {shape = array<i64: 1, 8, 8, 8>}',
            "bfs.tensor @b : 8x8x8 !esc.q<u8, 0.5> raw",
            'bfs.layer "l" "map" -> @b attributes {nodes = [], macs = 0 : i64, weights = 0 : i64} {',
            "%c0 = arith.constant 0 : index",
            "bfs.for (%i, %n) = %c0 size %c0 step 0 {",
            "} }",
        ]
    )
    text = f'bfs.program attributes {{target = "esc1"}} {{\n{body}\n}}'
    assert refused(text) == "m.mlir: (bfs.for): step must be positive, found 0"


@pytest.mark.parametrize("name", ["é", 'é"b', "日本/conv\\1", "a\tb\x1b", "x\u202ey", 'plain "quoted"'])
def test_names_of_any_characters_read_back(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As names of nodes in locations, and as names of outputs in attributes."""
    text = """
        func.func @main(%x : tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32> attributes {output_names = ["y"]} {
          %y = onnx.Relu %x : (tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>
          func.return %y : tensor<1x1x2x2xf32>
        }"""
    module = parse_module(make_context(), text, "m.mlir")
    relu = next(op for op in module.walk() if op.name == "onnx.Relu")
    relu.location = named(name)
    main_function(module).attributes["output_names"] = ArrayAttr([StringAttr(name)])
    printed = print_module(module)
    again = parse_module(make_context(), printed, "m.mlir")
    assert again.is_structurally_equivalent(module)
    assert [node_names(op) for op in again.walk() if op.name == "onnx.Relu"] == [(name,)]
    assert main_function(again).attributes["output_names"] == ArrayAttr([StringAttr(name)])
    (tmp_path / "m.mlir").write_text(printed, encoding="utf-8")
    assert opt.main([str(tmp_path / "m.mlir"), "--print-debuginfo"]) == 0
    assert capsys.readouterr().out.strip() == printed.strip()
