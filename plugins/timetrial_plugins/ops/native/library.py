"""The C functions as Python may call them: their parameters in order, as the sources declare them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

Function = Callable[..., None]

_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}

_PARAMETERS = {
    "add_norm": "pi pi pf i pi ii",
    "gated_product": "pi pi ii",
    "rotate_and_store": "pi pp pp pp ii iiii",
    "attend": "pi pp ii p pp ii pp pi iiii",
    "llamba": "pi pi pi ppi p p p pi iiiii",
    "mamba1": "pi pi pi pi ppi p p p p pi iiiii",
    "mamba2": "pi pi pi ppi p p p p f p pi iiiii",
    "draw": "pi pp f pp p ii",
    "row_product": "pi p pi iii",
}
"""Of each function: a pointer, a whole number or a float; spaces mean nothing."""


def declared(library: ctypes.CDLL) -> Mapping[str, Function]:
    """Return the functions of a library, which release Python's lock while they run."""
    return {name: _declared(getattr(library, name), signature) for name, signature in _PARAMETERS.items()}


def _declared(function: Any, signature: str) -> Function:  # Any: ctypes' own type of functions
    function.argtypes = [_TYPES[letter] for letter in signature.replace(" ", "")]
    function.restype = None
    found: Function = function
    return found
