"""Reading what pygame drew without paying for Gymnasium's conversion of it.

* `drawing_of`: an environment's `render` function without its last step, the conversion; None where it has no such end.
* `read`: a part of a pygame surface as an array.

Gymnasium's pygame environments draw on a surface and then say

    return np.transpose(np.array(pygame.surfarray.pixels3d(self.screen)), axes=(1, 0, 2))

which costs several times the drawing, because NumPy copies pixel by pixel. `drawing_of` compiles such a function from
its own source with that statement changed to `return self.screen`; `read` then makes the same array in a faster way,
and only of the part that is wanted.

Why from the source: nothing is replaced in pygame or in the environment, not even for a moment, so there is nothing to
restore after an exception and nothing for other threads to see. The statement itself proves that nothing else happens
to the array: an environment that cuts it or paints on it afterwards (BipedalWalker cuts, a subclass may paint) has
another statement and is rendered as ever. Comparing two renderings could not prove it: drawing ages the sparks of
LunarLander, so the second frame differs, and a difference may show only later in an episode.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CONVERSION = "np.transpose(np.array(pygame.surfarray.pixels3d({surface})), axes=(1, 0, 2))"


@functools.lru_cache(maxsize=64)
def drawing_of(render: Any) -> Callable[[Any], Any] | None:
    """Return a function that does what the method `render` does, but hands over the surface instead of converting it.

    The function takes the environment and returns a `pygame.Surface` exactly where `render` would return
    `np.transpose(np.array(pygame.surfarray.pixels3d(surface)), axes=(1, 0, 2))`, and what `render` returns elsewhere.

    Returns None where no statement is `return` and exactly this expression, or the source cannot be had or is not what
    `render` was compiled from.
    """
    if not isinstance(render, FunctionType) or render.__globals__.get("np") is not np:
        return None
    try:
        # The whole module: what a function is compiled to depends on the class around it and the module's imports.
        module = ast.parse("".join(inspect.findsource(render)[0]))
    except (OSError, TypeError, SyntaxError):
        return None
    definition = _definition(module, render.__code__)
    # The source may have been edited since, or be another's: it counts if it makes the very same code.
    if definition is None or _compiled(module, render.__code__) != render.__code__:
        return None
    if not _hand_over(definition.body):
        return None
    code = _compiled(module, render.__code__)
    if code is None:
        return None
    drawing = FunctionType(code, render.__globals__, render.__name__, render.__defaults__, render.__closure__)
    drawing.__kwdefaults__ = render.__kwdefaults__
    return drawing


def read(surface: Any, rows: slice, columns: slice) -> NDArray[np.uint8]:
    """Return a new array uint8 [H, W, 3] of the rows and columns of a `pygame.Surface`, leaving no lock on it."""
    import pygame

    width, height = columns.stop - columns.start, rows.stop - rows.start
    frame = np.empty((height, width, 3), np.uint8)
    if _is_opaque(surface):
        # SDL turns four bytes a pixel into three, straight into the array, faster than NumPy does.
        target = pygame.image.frombuffer(frame.data, (width, height), "RGB")
        target.blit(surface, (0, 0), (columns.start, rows.start, width, height))
        return frame
    pixels = pygame.surfarray.pixels3d(surface)[columns, rows]
    for channel in range(3):
        frame[..., channel] = pixels[..., channel].T
    return frame


def _is_opaque(surface: Any) -> bool:
    """Whether drawing the surface on another copies its pixels as they are."""
    import pygame

    return (
        not surface.get_flags() & (pygame.SRCALPHA | pygame.SRCCOLORKEY)
        and surface.get_alpha() in (None, 255)
        and surface.get_bytesize() >= 3
        and surface.get_losses()[:3] == (0, 0, 0)
        and not surface.get_locked()
    )


def _hand_over(statements: list[ast.stmt]) -> bool:
    """Change the conversions among `statements` into the bare surface, and tell whether there were any.

    Only below `if`: leaving a `with` or a `try` may draw again, after which the surface shows something else.
    """
    changed = False
    for statement in statements:
        if isinstance(statement, ast.If):
            changed |= _hand_over(statement.body) | _hand_over(statement.orelse)
        elif isinstance(statement, ast.Return) and (surface := _surface_in(statement.value)):
            statement.value = surface
            changed = True
    return changed


def _surface_in(value: ast.expr | None) -> ast.expr | None:
    calls = [n for n in ast.walk(value) if isinstance(n, ast.Call) and _is_pixels3d(n.func)] if value else []
    if value is None or len(calls) != 1 or len(calls[0].args) != 1:
        return None
    surface = calls[0].args[0]
    expected = ast.parse(_CONVERSION.format(surface=ast.unparse(surface)), mode="eval").body
    return surface if ast.dump(value) == ast.dump(expected) else None


def _is_pixels3d(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "pixels3d"


def _definition(module: ast.Module, code: CodeType) -> ast.FunctionDef | None:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first_line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first_line == code.co_firstlineno:
                return node
    return None


def _compiled(module: ast.Module, original: CodeType) -> CodeType | None:
    """Compile `module` and return the code of the function that stands where `original` stood."""
    place = (original.co_qualname, original.co_firstlineno)
    codes = _codes(compile(module, original.co_filename, "exec", dont_inherit=True))
    return next((code for code in codes if (code.co_qualname, code.co_firstlineno) == place), None)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
