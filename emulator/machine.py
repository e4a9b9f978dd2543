"""The machine's public face: a program, checked once, that runs batches of images.

A program runs on a batch: every memory that holds activations has a leading image dimension, while coefficients,
weights and parameters are common to all images. Instructions run in program order, which is the order of meaning; how
long they take on the four queues is worked out from recorded events afterwards (`emulator.timing`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from emulator.execution import Execution
from emulator.host import dequantise, quantise, split_sample
from emulator.kernels import Bytes
from emulator.memories import Constants
from isa.errors import UserError
from isa.hosted import HostPort
from isa.legality import check_executable
from isa.program import Layer, Port, Program

if TYPE_CHECKING:
    from emulator.statistics import Statistics

Observer: TypeAlias = Callable[[Layer, NDArray[Any]], None]
"""Called after each layer with its output tensor [N, h, w, c] of int8 or uint8."""


@dataclass(frozen=True)
class RunResult:
    """Outputs of a run in `batched_shape(port.shape, N)` for every output port; statistics if asked for.

    They are float32, but where the host computes an output of another type.
    """

    outputs: list[NDArray[Any]]
    statistics: Statistics | None


class Machine:
    """A program, checked once, that can run any number of times, from several threads at once.

    Raises `UserError` if the program is not executable: an illegal instruction, an access that leaves its memory or
    reads what nothing has written, a race between queues.
    """

    def __init__(self, program: Program):
        check_executable(program)
        self.program = program
        self._constants = Constants()
        self._ends: dict[int, list[Layer]] = {}
        for layer in program.layers:
            self._ends.setdefault(layer.end, []).append(layer)

    @property
    def inputs(self) -> tuple[Port | HostPort, ...]:
        """What `run` takes."""
        return self.program.inputs

    @property
    def outputs(self) -> tuple[Port | HostPort, ...]:
        """What `run` gives."""
        return self.program.outputs

    def stored(self, inputs: Sequence[NDArray[Any]]) -> list[Bytes]:
        """Float inputs [N, *port.shape[1:]], one for each input, as `run_stored` takes them."""
        ports = self.program.inputs
        if len(inputs) != len(ports):
            raise UserError(f"{len(inputs)} inputs given; requires {len(ports)}: {', '.join(p.name for p in ports)}")
        return [quantise(p, x) for p, x in zip(ports, inputs, strict=True)]

    def stored_sample(self) -> list[Bytes]:
        """The embedded sample as `run_stored` takes it. Raises `UserError` if the program has none."""
        return split_sample(self.program.inputs, self.program.sample)

    def run(self, inputs: Sequence[NDArray[Any]], stats: bool = False, observer: Observer | None = None) -> RunResult:
        """Run float inputs [N, *port.shape[1:]], one for each input port. Statistics are those of the first image."""
        return self.run_stored(self.stored(inputs), stats, observer)

    def run_sample(self, stats: bool = False, observer: Observer | None = None) -> RunResult:
        """Run the embedded sample. Raises `UserError` if the program has none."""
        return self.run_stored(self.stored_sample(), stats, observer)

    def run_stored(self, inputs: Sequence[Bytes], stats: bool = False, observer: Observer | None = None) -> RunResult:
        """Run quantised inputs: stored NHWC bytes [N, h*w*c] of each input port; one run where there is none."""
        images = {len(x) for x in inputs} or {1}  # a program without inputs runs once
        if len(images) != 1:
            raise UserError(f"the inputs have different numbers of images: {sorted(images)}")
        recorder = None
        if stats:
            from emulator.recording import Recorder

            recorder = Recorder(self.program)
        execution = Execution(self.program, images.pop(), self._constants, recorder)
        for port, x in zip(self.program.inputs, inputs, strict=True):
            execution.write_input(port.tensor, x)
        for index in range(len(self.program.instructions)):
            execution.step(index)
            if observer is not None:
                for layer in self._ends.get(index + 1, ()):
                    observer(layer, execution.read_tensor(layer.output))
        outputs = [dequantise(p, execution.read_tensor(p.tensor)) for p in self.program.outputs]
        statistics = None
        if recorder is not None:
            from emulator.statistics import collect

            statistics = collect(self.program, recorder)
        return RunResult(outputs, statistics)
