"""Reading what pygame drew without paying for Gymnasium's conversion of it.

* `drawing_of`: an environment's `render` function without its last steps; None where it has no such end.
* `Drawing`: what that function returns: surfaces, and whether the picture is upside down.
* `pixels`, `read`: a part of a drawing as an array: a view of the four bytes a pixel, or a copy of red, green and blue.

Gymnasium's pygame environments draw on a surface and end with

    self.surf = pygame.transform.flip(self.surf, False, True)
    self.screen.blit(self.surf, (0, 0))
    ...
    return np.transpose(np.array(pygame.surfarray.pixels3d(self.screen)), axes=(1, 0, 2))

The conversion costs several times the drawing, because NumPy copies pixel by pixel. Turning the picture over and
copying it costs a third of the drawing. `drawing_of` compiles such a function from its own source, with the conversion
replaced by the surface. The two statements before it are left out too where they are exactly those above and the
surface was made in the same call; then only the rows that are wanted are turned.

Why from the source: nothing is replaced in pygame or in the environment, not even for a moment, so there is nothing to
restore after an exception and nothing for other threads to see. The statements themselves prove that nothing else
happens to the array: an environment that cuts it or paints on it afterwards (BipedalWalker cuts, a subclass may paint)
has other statements and is rendered as ever. Comparing two renderings could not prove it: drawing ages the sparks of
LunarLander, so the second frame differs, and a difference may show only later in an episode.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_CONVERSION = "np.transpose(np.array(pygame.surfarray.pixels3d({surface})), axes=(1, 0, 2))"


class Drawing(NamedTuple):
    """What an environment drew."""

    surface: Any
    """The `pygame.Surface` that Gymnasium would convert; where there is a `source`, its content is an older picture."""
    source: Any = None
    """The surface that would be turned over and copied to `surface`: the picture, upside down."""


@functools.lru_cache(maxsize=64)
def drawing_of(render: Any) -> Callable[[Any], Any] | None:
    """Return a function that does what the method `render` does, but hands over surfaces instead of converting them.

    The function takes the environment and returns a `Drawing` exactly where `render` would return
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
    source = _turned_at_the_end(definition.body)
    if not _hand_over(definition.body, source):
        return None
    code = _compiled(module, render.__code__)
    if code is None:
        return None
    drawing = FunctionType(code, render.__globals__, render.__name__, render.__defaults__, render.__closure__)
    drawing.__kwdefaults__ = render.__kwdefaults__

    def draw(env: Any) -> Any:
        drawn = drawing(env)
        if not isinstance(drawn, tuple):
            return Drawing(drawn) if hasattr(drawn, "get_size") else drawn
        surface, upside_down = drawn
        if not (_is_opaque(upside_down) and upside_down.get_size() == surface.get_size()):
            surface.blit(pygame_flip(upside_down), (0, 0))
            return Drawing(surface)
        return Drawing(surface, upside_down)

    return draw


def pygame_flip(surface: Any) -> Any:
    """Return a `pygame.Surface` turned upside down, as a new one."""
    import pygame

    return pygame.transform.flip(surface, False, True)


def pixels(drawing: Drawing, rows: slice, columns: slice) -> tuple[NDArray[np.uint8], int] | None:
    """Return the bytes of a drawing's pixels, uint8 [H, W, 4], and which of the four is red.

    The array is a view that locks the surface while it lives. Its rows run downwards in the picture where the drawing
    has no `source`, else upwards. None where the surface does not keep a pixel in four bytes of eight bits a colour, in
    the order blue, green, red or its reverse.
    """
    surface = drawing.surface if drawing.source is None else drawing.source
    width, height = surface.get_size()
    red, green, blue, _ = surface.get_shifts()
    if surface.get_bytesize() != 4 or surface.get_pitch() != 4 * width or sys.byteorder != "little":
        return None
    if not _is_opaque(surface) or (red, green, blue) not in ((0, 8, 16), (16, 8, 0)):
        return None
    view = np.frombuffer(surface.get_buffer(), np.uint8).reshape(height, width, 4)
    if drawing.source is not None:
        rows = slice(height - rows.stop, height - rows.start)
    return view[rows, columns], red // 8


def read(drawing: Drawing, rows: slice, columns: slice) -> NDArray[np.uint8]:
    """Return a new array uint8 [H, W, 3] of the rows and columns of a drawing, leaving no lock on its surfaces."""
    import pygame

    surface = drawing.surface
    if drawing.source is not None:
        surface = drawing.source
        height = surface.get_height()
        rows = slice(height - rows.stop, height - rows.start)
    width, height = columns.stop - columns.start, rows.stop - rows.start
    frame = np.empty((height, width, 3), np.uint8)
    if _is_opaque(surface):
        # SDL turns four bytes a pixel into three, straight into the array, faster than NumPy does.
        target = pygame.image.frombuffer(frame.data, (width, height), "RGB")
        target.blit(surface, (0, 0), (columns.start, rows.start, width, height))
    else:
        colours = pygame.surfarray.pixels3d(surface)[columns, rows]
        for channel in range(3):
            frame[..., channel] = colours[..., channel].T
    return frame if drawing.source is None else frame[::-1].copy()


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


def _hand_over(statements: list[ast.stmt], source: ast.expr | None) -> bool:
    """Change the conversions among `statements` into the bare surface, and tell whether there were any.

    With a `source` they become the pair of the surface and that. Only below `if`: leaving a `with` or a `try` may draw
    again, after which the surface shows something else.
    """
    changed = False
    for statement in statements:
        if isinstance(statement, ast.If):
            changed |= _hand_over(statement.body, source) | _hand_over(statement.orelse, source)
        elif isinstance(statement, ast.Return) and (surface := _surface_in(statement.value)):
            pair = [surface] if source is None else [surface, source]
            value = surface if source is None else ast.Tuple(pair, ast.Load())
            statement.value = ast.copy_location(value, statement)
            ast.fix_missing_locations(statement)
            changed = True
    return changed


_TURN = """
{source} = pygame.transform.flip({source}, False, True)
{target}.blit({source}, (0, 0))
if self.render_mode == 'human':
    pygame.event.pump()
    self.clock.tick(self.metadata['render_fps'])
    pygame.display.flip()
elif self.render_mode == 'rgb_array':
    return np.transpose(np.array(pygame.surfarray.pixels3d({target})), axes=(1, 0, 2))
"""


def _turned_at_the_end(body: list[ast.stmt]) -> ast.expr | None:
    """Let a function that ends as `_TURN` turn and copy for a window alone; return the surface that it would turn.

    None, and nothing is changed, where it ends otherwise, or may have got the surface from an earlier call.
    """
    if len(body) < 3 or not isinstance(body[-3], ast.Assign) or not isinstance(body[-2], ast.Expr):
        return None
    turn, copy, finish = body[-3:]
    source, call = body[-3].targets[0], body[-2].value
    if not isinstance(finish, ast.If) or not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    expected = ast.parse(_TURN.format(source=ast.unparse(source), target=ast.unparse(call.func.value))).body
    if [ast.dump(statement) for statement in body[-3:]] != [ast.dump(statement) for statement in expected]:
        return None
    made = f"{ast.unparse(source)} = pygame.Surface("
    if not any(ast.unparse(statement).startswith(made) for statement in body[:-3]):
        return None
    del body[-3:-1]
    finish.body[:0] = [turn, copy]
    return ast.parse(ast.unparse(source), mode="eval").body


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
