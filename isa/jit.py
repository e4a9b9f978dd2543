"""The one place that knows Numba: compiled functions with their Python types.

Numba counts the owners of every array that a function takes, hands on, or reads from a named tuple, and each count is
an atomic operation. In loops that go through such tuples this costs many times what the loop computes, so kernels that
make no array are `borrowing` and count nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ParamSpec, TypeVar, cast

import numba  # type: ignore[import-untyped]

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call, keep the machine code on disk where that can be written, and run without holding the
    interpreter lock. Without fast-math, floating-point arithmetic is done in the order written, on any processor.

    What is kept is renewed when any Python file in the folder of the function, or here, changes: a kernel may call
    helpers of other files and take named tuples that they define.
    """
    return _compiled(function)


def borrowing(function: Callable[P, R]) -> Callable[P, R]:
    """The same for a function that works on the arrays it is given, makes none and returns none.

    Numba refuses to compile a function that makes one. Helpers that it calls are `borrowing` or `woven`.
    """
    return _compiled(function, _nrt=False)


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """The same as `jit` for a helper that only compiled functions call: no way in from Python is compiled for it, which
    often takes longer than the helper itself. Called from Python it raises TypeError.
    """
    return _without_entry(_compiled(function, no_cpython_wrapper=True))


def woven(function: Callable[P, R]) -> Callable[P, R]:
    """The same for a helper that makes no array and is compiled into each of its callers, so that no call hands over a
    large tuple.

    A caller calls any other helper whose machine code was on disk; only in the process that compiled both may it hold
    the code itself. Small helpers of the innermost loops are `woven` for that reason.
    """
    return _without_entry(_compiled(function, no_cpython_wrapper=True, _nrt=False, forceinline=True))


def _compiled(function: Callable[P, R], **options: bool) -> Callable[P, R]:
    # Nothing hands a kernel to C, which would need a way in of its own.
    njit = partial(cast(Any, numba).njit, nogil=True, no_cfunc_wrapper=True, **options)
    try:
        dispatcher = njit(cache=True)(function)
    except RuntimeError:  # neither the package nor the user's cache folder can be written
        return cast("Callable[P, R]", njit()(function))
    _keep_by_folder(dispatcher, function.__code__.co_filename)
    return cast("Callable[P, R]", dispatcher)


def _without_entry(function: Callable[P, R]) -> Callable[P, R]:
    """The dispatcher of a function that has no way in from Python, made to refuse a call instead of jumping to none."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise TypeError(f"{function.__qualname__} is a helper that only compiled functions can call")

    def insert(*args: object) -> None:
        """Leave what is compiled out of the table for calls from Python."""

    dispatcher = cast(Any, function)
    dispatcher._insert = insert
    dispatcher._compile_for_args = refuse
    return function


_UNREADABLE = (AttributeError, ImportError, TypeError, ValueError, EOFError, UnpicklingError)
"""What unpickling raises of a file that is damaged, or names a class that is gone."""


def _keep_by_folder(dispatcher: Any, filename: str) -> None:
    """Make the index of a function's machine code depend on whole folders, an index that cannot be read empty, and
    machine code say what it is of.

    Numba itself looks at the function's own file only, and fails on an index that names a class that is gone. It
    writes the index before the machine code that it names, so that a process which ends between, or another one
    which writes at the same time, leaves an index that names code of other types or of sources that have changed.
    """
    file = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if not all(hasattr(file, name) for name in ("_load_index", "_source_stamp", "load", "save")):
        return  # another Numba, which looks after itself
    stored: Any = file
    load_index, load, save = stored._load_index, stored.load, stored.save
    stamp = (stored._source_stamp, _stamp(_package(Path(filename))), _stamp(Path(__file__).parent))

    def readable_index() -> Any:
        try:
            return load_index()
        except _UNREADABLE:
            return {}

    def load_own(key: object) -> Any:
        try:
            found: Any = load(key)
            whose, data = found or (None, None)
        except _UNREADABLE:
            return None
        return data if whose == (stamp, key) else None

    def save_own(key: object, data: object) -> None:
        save(key, ((stamp, key), data))

    stored._load_index, stored._source_stamp = readable_index, stamp
    stored.load, stored.save = load_own, save_own


def _package(file: Path) -> Path:
    """The outermost package that a file belongs to, or its folder."""
    folder = file.parent
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder


@cache
def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of every Python file of a folder."""
    files = ((str(path.relative_to(folder)), path.stat()) for path in sorted(folder.rglob("*.py")))
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in files)
