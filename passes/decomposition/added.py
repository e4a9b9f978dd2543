"""Schemes of other packages: what goes wrong in one is told as a fault of its package, and no bug of escc."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, cast

import numpy as np

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
    """A scheme of another package, with those attributes that `Scheme` speaks of.

    A layer is asked for as of the scheme. Raises `BrokenSchemeError` for whatever exception the scheme raises and for
    an answer that is none, `RefusedLayerError` for its `UserError`; both name the scheme and the layer. Raises
    `UserError` when it is made of what cannot be called, `BrokenSchemeError` if an attribute is not of the type that
    `Scheme` gives it.
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
        # Attributes of an object of its own, as those of any scheme: whoever asks for one looks whether it is there.
        for name, (wanted, fits) in _VALUES.items():
            if (value := self._attribute(name)) is not None:
                if not fits(value):
                    raise self._wrong(f"{name} is {value!r}; requires {wanted}")
                setattr(self, name, value)
        for name, (wanted, fits) in _METHODS.items():
            if (method := self._method(name)) is not None:
                setattr(self, name, self._guarded(name, method, wanted, fits))
        if (candidates := self._method("candidates")) is not None:
            self.candidates = self._guarded_candidates(candidates)

    def _attribute(self, name: str) -> object:
        """An attribute of the scheme, None if it has none of that name."""
        try:
            return getattr(self._scheme, name, None)
        except Exception as error:
            raise self._wrong(f"{name} fails: {_told(error)}") from error

    def _method(self, name: str) -> Callable[..., Any] | None:
        method = self._attribute(name)
        if method is not None and not callable(method):
            raise self._wrong(f"{name} is {method!r}; requires a method")
        return method

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

    def _guarded(
        self, name: str, method: Callable[..., object], wanted: str, fits: Callable[[object], bool]
    ) -> Callable[..., object]:
        @wraps(method)
        def guarded(*given: object) -> object:
            try:
                answer = method(*given)
            except (UserError, MemoryError):
                raise
            except Exception as error:
                raise self._wrong(f"{name} fails: {_told(error)}") from error
            if not fits(answer):
                raise self._wrong(f"{name} answers {answer!r}; requires {wanted}")
            return answer

        return guarded

    def _checked(self, layer: ConvLayer, answer: object) -> WeightForm:
        """The answer, which is a weight form for the layer. Raises `BrokenSchemeError` if it is none."""
        if not isinstance(answer, WeightForm):
            raise self._broken(layer, f"answers a {type(answer).__name__}; requires a WeightForm or None")
        k, r, s, c = layer.weights.shape
        faults = cast(object, answer.faults((k, r, s, c)))
        if not _is_texts(faults):
            raise self._broken(layer, f"faults of the answer answers {faults!r}; requires texts")
        if wrong := cast("Sequence[str]", faults) or _faults(answer, (k, r, s, c)):
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

    def _wrong(self, reason: str) -> BrokenSchemeError:
        return BrokenSchemeError(f"scheme '{self._name}': {reason}", reason, self._mend)

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


def _faults(form: WeightForm, shape: tuple[int, int, int, int]) -> list[str]:
    """What a weight form of any package holds that is not as `WeightForm` says, for weights [K, R, S, C]."""
    wrong: list[str] = []
    for name in ("name", "layer_kind"):
        if not isinstance(text := getattr(form, name), str):
            wrong.append(f"{name} is {text!r}; requires a text")
    wrong += _array_faults("scale", form.scale, np.float64, shape[:1])
    wrong += _array_faults("integer_weights", form.integer_weights, np.int64, shape)
    wrong = wrong or _array_faults("weights", form.weights, np.float64, shape)
    if not wrong and (form.scale < 0).any():
        wrong.append("scale is negative")
    if not _is_number(form.relative_error) or not 0 <= form.relative_error < np.inf:
        wrong.append(f"relative_error is {form.relative_error!r}; requires a number not below 0")
    if not isinstance(nbytes := cast(object, form.packed_bytes()), int) or nbytes < 0:
        wrong.append(f"packed_bytes answers {nbytes!r}; requires a whole number not below 0")
    return wrong


def _array_faults(name: str, value: object, dtype: type[np.generic], shape: Sequence[int]) -> list[str]:
    if not isinstance(value, np.ndarray):
        return [f"{name} is of type {type(value).__name__}; requires {dtype.__name__}{list(shape)}"]
    array = cast("np.ndarray[Any, np.dtype[Any]]", value)
    if array.dtype != dtype or array.shape != tuple(shape):
        return [f"{name} is {array.dtype}{list(array.shape)}; requires {dtype.__name__}{list(shape)}"]
    return [] if np.isfinite(array).all() else [f"{name} holds values that are not finite"]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def _is_texts(value: object) -> bool:
    """Whether it is a sequence of text, and no text itself."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return all(isinstance(text, str) for text in cast("Sequence[object]", value))


def _is_mapping(value: object, fits: Callable[[object], bool]) -> bool:
    """Whether it has texts as its keys and what fits as their values."""
    if not isinstance(value, Mapping):
        return False
    items = cast("Mapping[object, object]", value).items()
    return all(isinstance(name, str) and fits(held) for name, held in items)


_VALUES: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "own_options": (
        "a line of help by the name of each option",
        lambda value: _is_mapping(value, lambda line: isinstance(line, str)),
    ),
    "alternatives": ("values by the names of options", lambda value: _is_mapping(value, _is_texts)),
    "reads": ("names of options", _is_texts),
    "on_live_channels": ("True or False", lambda value: isinstance(value, bool)),
}
"""Attributes of `Scheme` that are values: what they must be."""

_METHODS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "check_options": ("None", lambda value: value is None),
    "unmet": ("a text", lambda value: isinstance(value, str)),
    "asks": ("names of schemes", _is_texts),
}
"""Its methods: what they must answer."""
