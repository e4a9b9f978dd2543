"""Schemes of other packages: what goes wrong in one is told as a fault of its package, and no bug of escc."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, cast

from isa import found
from isa.errors import NodeFault, UserError
from passes.decomposition.weight_form import WeightForm

if TYPE_CHECKING:  # that module loads schemes through this one
    from passes.decomposition.scheme import ConvLayer, SchemeOptions


class BrokenSchemeError(UserError):
    """A scheme of another package that fails or answers what is no weight form. `reason` says how, without the node."""

    def __init__(self, cause: str, reason: str, note: str):
        super().__init__(cause, note)
        self.reason = reason


class RefusedLayerError(UserError):
    """A scheme of another package that cannot hold a layer, as it says itself."""

    def __init__(self, faults: list[NodeFault], reason: str, note: str):
        super().__init__([str(fault) for fault in faults], note)
        self.faults = faults
        self.reason = reason


class AddedScheme:
    """A scheme of another package, whose attributes are those of the scheme itself.

    A layer is asked for as of the scheme. Raises `BrokenSchemeError` for whatever exception the scheme raises and for
    an answer that is none, `RefusedLayerError` for its `UserError`; both name the scheme and the layer. Raises
    `UserError` when it is made of what cannot be called.
    """

    def __init__(self, point: EntryPoint, scheme: object):
        self._name = point.name
        self._origin = f"scheme '{point.name}' comes from {found.package(point)}"
        if not callable(scheme):
            raise UserError(
                f"the scheme '{point.name}' (entry point group '{point.group}') is of type "
                f"{type(scheme).__name__}; requires a function of a layer and its options",
                self._mend,
            )
        self._scheme = scheme
        if callable(candidates := getattr(scheme, "candidates", None)):
            # An attribute of its own, because that is how `escc.compress.database.Contributor` is told.
            self.candidates = self._guarded_candidates(cast("Callable[..., Iterable[Any]]", candidates))
        if callable(check := getattr(scheme, "check_options", None)):
            self.check_options = self._guarded_check(check)

    def __getattr__(self, name: str) -> object:
        return getattr(self._scheme, name)

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
        with self._blamed(layer):
            answer = self._scheme(layer, options)
            return None if answer is None else self._checked(layer, answer)

    def _guarded_candidates(self, candidates: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
        @wraps(candidates)
        def guarded(name: str, layer: ConvLayer, *rest: object) -> Iterator[Any]:
            with self._blamed(layer):
                for setting, form in candidates(name, layer, *rest):
                    yield setting, self._checked(layer, form)

        return guarded

    def _guarded_check(self, check: Callable[..., object]) -> Callable[..., None]:
        @wraps(check)
        def guarded(*options: object) -> None:
            try:
                check(*options)
            except (UserError, MemoryError):
                raise
            except Exception as error:
                reason = f"check_options fails: {_told(error)}"
                raise BrokenSchemeError(f"scheme '{self._name}': {reason}", reason, self._mend) from error

        return guarded

    def _checked(self, layer: ConvLayer, answer: object) -> WeightForm:
        """The answer, which is a weight form for the layer. Raises `BrokenSchemeError` if it is none."""
        if not isinstance(answer, WeightForm):
            raise self._broken(layer, f"answers a {type(answer).__name__}; requires a WeightForm or None")
        k, r, s, c = layer.weights.shape
        if wrong := answer.faults((k, r, s, c)):
            raise self._broken(layer, f"the answer is malformed: {'; '.join(wrong)}")
        return answer

    @contextmanager
    def _blamed(self, layer: ConvLayer) -> Generator[None]:
        try:
            yield
        except (MemoryError, BrokenSchemeError, RefusedLayerError):  # the latter two of schemes that it asks
            raise
        except UserError as error:
            faults = [self._fault(layer, cause) for cause in error.causes]
            note = error.note or f"{self._origin}: give it other options, or use another scheme"
            raise RefusedLayerError(faults, "; ".join(error.causes), note) from error
        except Exception as error:
            raise self._broken(layer, _told(error)) from error

    def _broken(self, layer: ConvLayer, reason: str) -> BrokenSchemeError:
        return BrokenSchemeError(str(self._fault(layer, reason)), reason, self._mend)

    def _fault(self, layer: ConvLayer, reason: str) -> NodeFault:
        return NodeFault(layer.name, "Conv", f"scheme '{self._name}': {reason}")

    @property
    def _mend(self) -> str:
        return f"{self._origin}: mend or uninstall that, or use another scheme; --debug shows the traceback"


def _told(error: Exception) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
