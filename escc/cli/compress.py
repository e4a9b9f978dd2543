"""`esc-compress`: decomposition-aware training of an ONNX model to a budget of bytes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from escc.cli.common import CommandParser, flag_of, run
from escc.cli.compress_options import make_parser
from escc.files import write_output
from isa.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `esc-compress`."""
    parser = make_parser()
    return run(parser, lambda args: _body(parser, args), argv)


def _body(parser: CommandParser, args: argparse.Namespace) -> None:
    if args.resume and not args.checkpoint:
        parser.error("argument --resume: needs --checkpoint")
    if args.rest and args.method == "admm":
        parser.error("argument --rest: not allowed with --method admm, whose coefficients are real numbers at first")
    if args.scheme == "dense":
        parser.error("argument --scheme: dense leaves nothing to train")
    _check_scheme_options(parser, args)
    parser.check_inputs(args)
    if find_spec("torch") is None:
        raise UserError("esc-compress needs torch", "in the clone of escc, run: pip install '.[train]'")
    if idle := _idle_options(args):
        args.console.warn(idle)
    from dataclasses import fields

    from escc.training.given import Options, given

    options = Options(**{f.name: getattr(args, f.name) for f in fields(Options)})
    found = given(options)
    from escc.training.job import Job, summary  # loads torch, which takes seconds

    model, measure = Job(options, found, args.console).run()
    write_output(args.output, model)
    print(summary(measure), file=sys.stderr if args.output == "-" else sys.stdout)


def _idle_options(args: argparse.Namespace) -> str:
    """A warning of options that the scheme ignores, "" if there are none."""
    from passes.decomposition.scheme import load_scheme, unread_options

    given = [option for option in ("basis", "planes", "rate") if getattr(args, option) is not None]
    own = args.scheme_option or ()
    return unread_options(args.scheme, load_scheme(args.scheme), given, flag_of, own) if given else ""


def _check_scheme_options(parser: CommandParser, args: argparse.Namespace) -> None:
    """A usage error if the scheme does not take its own options: better known before the work than after it."""
    if not args.scheme_option:
        return
    from isa.target import load_target
    from passes.decomposition.scheme import load_scheme, own_options

    target = load_target(args.target)
    try:
        own_options(args.scheme, load_scheme(args.scheme), args.scheme_option, target)
    except UserError as error:
        parser.refuse(error)


if __name__ == "__main__":
    raise SystemExit(main())
