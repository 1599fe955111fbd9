"""Reads pygame drawings without Gymnasium's slow conversion.

* `drawing_of`: an environment's `render` function without the conversion at its end, or None.
* `Drawing`: what that function returns: a surface, possibly upside down.
* `pixels`, `read`: a part of a drawing as an array: a view of four bytes per pixel, or a copy of red, green and blue.

Gymnasium's pygame environments draw on a surface and end with

    self.surf = pygame.transform.flip(self.surf, False, True)
    self.screen.blit(self.surf, (0, 0))
    ...
    return np.transpose(np.array(pygame.surfarray.pixels3d(self.screen)), axes=(1, 0, 2))

The conversion takes several times as long as the drawing, because NumPy copies pixel by pixel. The flip and the blit
take a third of it. `drawing_of` compiles such a function from its source and returns the surface instead of the
conversion. It also removes the flip and the blit if they are exactly those above and the same call made the surface.
Then only the rows that are read are flipped. If nothing but `gfxdraw` and `pygame.draw` draw on the surface, pixel by
pixel, only the rows that are read get their background, and the thread's next drawing reuses the surface, which is then
in the processor's cache.

This replaces nothing in pygame or in the environment, so exceptions and other threads are no problem. The source proves
that nothing else happens to the array: an environment that cuts it or paints on it afterwards (BipedalWalker cuts) has
other statements, and is rendered as usual. Comparing two renderings would not prove it: LunarLander's sparks change in
each drawing, and a difference may show only later in an episode.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import threading
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_CONVERSION = "np.transpose(np.array(pygame.surfarray.pixels3d({surface})), axes=(1, 0, 2))"


class Drawing(NamedTuple):
    """What an environment drew."""

    surface: Any
    """The `pygame.Surface` that Gymnasium would convert. With a `source`, it shows an older picture."""
    source: Any = None
    """The surface that Gymnasium would flip and copy to `surface`: the picture upside down."""


@functools.lru_cache(maxsize=64)
def drawing_of(render: Any) -> Callable[..., Any] | None:
    """Return a function that draws like the method `render`, but returns surfaces instead of converting them.

    The function takes the environment, and optionally the rows that will be read: others may be wrong. It returns a
    `Drawing` where `render` would return
    `np.transpose(np.array(pygame.surfarray.pixels3d(surface)), axes=(1, 0, 2))`, and otherwise what `render` returns.
    Returns None if no `return` statement has exactly this expression, or if the source is missing or has changed.
    """
    if not isinstance(render, FunctionType) or render.__globals__.get("np") is not np:
        return None
    try:
        # The whole module: a function's code depends on the class around it and the module's imports.
        module = ast.parse("".join(inspect.findsource(render)[0]))
    except (OSError, TypeError, SyntaxError):
        return None
    definition = _definition(module, render.__code__)
    # The source may have been edited since: it must compile to the same code.
    if definition is None or _compiled(module, render.__code__) != render.__code__:
        return None
    source = _turned_at_the_end(definition.body)
    if not _hand_over(definition.body, source):
        return None
    again = source is not None and _draw_again(definition, source)
    code = _compiled(module, render.__code__)
    if code is None:
        return None
    drawing = FunctionType(code, render.__globals__, render.__name__, render.__defaults__, render.__closure__)
    drawing.__kwdefaults__ = render.__kwdefaults__
    cache = threading.local()

    def background(rows: slice | None, make: Callable[[Any], Any], size: Any, colour: Any) -> Any:
        surface = getattr(cache, "surface", None)
        if surface is None or surface.get_size() != size or surface.get_locked():
            surface = cache.surface = make(size)
        _fill(surface, colour, rows)
        return surface

    def draw(env: Any, rows: slice | None = None) -> Any:
        result = drawing(env, **{_BACKGROUND: functools.partial(background, rows)}) if again else drawing(env)
        if not isinstance(result, tuple):
            return Drawing(result) if hasattr(result, "get_size") else result
        surface, upside_down = result
        if not (_is_opaque(upside_down) and upside_down.get_size() == surface.get_size()):
            import pygame

            surface.blit(pygame.transform.flip(upside_down, False, True), (0, 0))
            return Drawing(surface)
        return Drawing(surface, upside_down)

    return draw


def pixels(drawing: Drawing, rows: slice, columns: slice) -> tuple[NDArray[np.uint8], int] | None:
    """Return the bytes of a drawing's pixels, uint8 [H, W, 4], and which of the four is red.

    The array is a view that locks the surface while it exists. Its rows run upwards if the drawing has a `source`.
    Returns None unless a pixel has four bytes with eight bits per colour, in the order blue, green, red or its reverse.
    """
    surface, rows = _stored(drawing, rows)
    width, height = surface.get_size()
    red, green, blue, _ = surface.get_shifts()
    if surface.get_bytesize() != 4 or surface.get_pitch() != 4 * width or sys.byteorder != "little":
        return None
    if not _is_opaque(surface) or (red, green, blue) not in ((0, 8, 16), (16, 8, 0)):
        return None
    view = np.frombuffer(surface.get_buffer(), np.uint8).reshape(height, width, 4)
    return view[rows, columns], red // 8


def read(drawing: Drawing, rows: slice, columns: slice) -> NDArray[np.uint8]:
    """Return rows and columns of a drawing as a new array uint8 [H, W, 3]. Leaves no lock on its surfaces."""
    import pygame

    surface, rows = _stored(drawing, rows)
    width, height = columns.stop - columns.start, rows.stop - rows.start
    frame = np.empty((height, width, 3), np.uint8)
    if _is_opaque(surface):
        # SDL converts four bytes per pixel to three, straight into the array, faster than NumPy.
        target = pygame.image.frombuffer(frame.data, (width, height), "RGB")
        target.blit(surface, (0, 0), (columns.start, rows.start, width, height))
    else:
        colours = pygame.surfarray.pixels3d(surface)[columns, rows]
        for channel in range(3):
            frame[..., channel] = colours[..., channel].T
    return frame if drawing.source is None else frame[::-1].copy()


def _stored(drawing: Drawing, rows: slice) -> tuple[Any, slice]:
    """Return the surface that holds the picture, and `rows` of the picture as rows of that surface."""
    if drawing.source is None:
        return drawing.surface, rows
    height = drawing.source.get_height()
    return drawing.source, slice(height - rows.stop, height - rows.start)


def _is_opaque(surface: Any) -> bool:
    """Whether drawing the surface on another one copies its pixels unchanged."""
    import pygame

    return (
        not surface.get_flags() & (pygame.SRCALPHA | pygame.SRCCOLORKEY)
        and surface.get_alpha() in (None, 255)
        and surface.get_bytesize() >= 3
        and surface.get_losses()[:3] == (0, 0, 0)
        and not surface.get_locked()
    )


def _hand_over(statements: list[ast.stmt], source: ast.expr | None) -> bool:
    """Replace conversions in `statements` by the surface, or by (surface, source); return whether there were any.

    Searches only inside `if`: leaving a `with` or a `try` may draw on the surface again.
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
    """If a function ends like `_TURN`, make it flip and blit only for a window; return the surface that it flips.

    Returns None and changes nothing if it ends differently, or if the surface may be from an earlier call.
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
    creation = f"{ast.unparse(source)} = pygame.Surface("
    if not any(ast.unparse(statement).startswith(creation) for statement in body[:-3]):
        return None
    del body[-3:-1]
    finish.body[:0] = [turn, copy]
    return ast.parse(ast.unparse(source), mode="eval").body


def _fill(surface: Any, colour: Any, rows: slice | None) -> None:
    """Fill `rows` of a picture that is upside down on its surface; None for all.

    SDL's own fill writes past the processor's cache, so that whoever reads the pixels waits for memory.
    """
    width, height = surface.get_size()
    first, last = (0, height) if rows is None else (height - rows.stop, height - rows.start)
    if surface.get_bytesize() == 4 and surface.get_pitch() == 4 * width:
        np.frombuffer(surface.get_buffer(), np.uint32)[first * width : last * width] = surface.map_rgb(colour)
    else:
        surface.fill(colour, (0, first, width, last - first))


_BACKGROUND = "background"
_PIXELWISE = ("gfxdraw.", "pygame.draw.")


def _draw_again(definition: ast.FunctionDef, source: ast.expr) -> bool:
    """Let a function whose picture is turned at the end get its surface from a parameter; return whether it could.

    The parameter `_BACKGROUND` takes `pygame.Surface`, a size and a colour, and returns a surface that is filled where
    it is read. The function must make the surface and fill it at once with a constant colour, and only pass it to
    functions of `gfxdraw` and `pygame.draw` afterwards. These change each pixel by itself, so neither a background that
    is missing in other rows nor an earlier picture matters.
    """
    name, body = ast.unparse(source), definition.body[:-1]
    index = next(i for i, node in enumerate(body) if ast.unparse(node).startswith(f"{name} = pygame.Surface("))
    make: Any = getattr(body[index], "value", None)
    fill: Any = getattr(body[index + 1], "value", None) if index + 1 < len(body) else None
    colour = fill.args[0] if isinstance(fill, ast.Call) and fill.args else ast.Constant(None)
    constant = all(isinstance(node, ast.Tuple | ast.Constant | ast.Load) for node in ast.walk(colour))
    filled = [ast.unparse(node) for node in body[index + 1 : index + 2]] == [f"{name}.fill({ast.unparse(colour)})"]
    if not (constant and filled) or len(make.args) != 1 or make.keywords:
        return False
    nodes = list(ast.walk(ast.Module([*body[:index], *body[index + 2 :]], [])))
    calls = [(ast.unparse(node.func), node.args) for node in nodes if isinstance(node, ast.Call)]
    drawn_on = sum(f.startswith(_PIXELWISE) and ast.unparse(args[0]) == name for f, args in calls if args)
    owner, is_attribute, _ = name.partition(".")
    owned = sum(isinstance(node, ast.Attribute) and ast.unparse(node.value) == owner for node in nodes)
    if drawn_on != sum(isinstance(node, ast.expr) and ast.unparse(node) == name for node in nodes):
        return False
    if is_attribute and (
        owned != sum(isinstance(node, ast.Name) and node.id == owner for node in nodes)
        or any(f.startswith(f"{owner}.") and f.count(".") == 1 for f, _ in calls)
    ):
        return False  # something else may look at the surface
    make.args = [make.func, make.args[0], colour]
    make.func = ast.copy_location(ast.Name(_BACKGROUND, ast.Load()), make)
    del definition.body[index + 1]
    definition.args.kwonlyargs.append(ast.arg(_BACKGROUND))
    definition.args.kw_defaults.append(None)
    ast.fix_missing_locations(definition)
    return True


def _surface_in(value: ast.expr | None) -> ast.expr | None:
    calls = [n for n in ast.walk(value) if isinstance(n, ast.Call)] if value else []
    surfaces = [n.args[0] for n in calls if isinstance(n.func, ast.Attribute) and n.func.attr == "pixels3d" and n.args]
    if value is None or len(surfaces) != 1:
        return None
    surface = surfaces[0]
    expected = ast.parse(_CONVERSION.format(surface=ast.unparse(surface)), mode="eval").body
    return surface if ast.dump(value) == ast.dump(expected) else None


def _definition(module: ast.Module, code: CodeType) -> ast.FunctionDef | None:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first_line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first_line == code.co_firstlineno:
                return node
    return None


def _compiled(module: ast.Module, original: CodeType) -> CodeType | None:
    """Compile `module` and return the code of the function at the place of `original`."""
    place = (original.co_qualname, original.co_firstlineno)
    codes = [compile(module, original.co_filename, "exec", dont_inherit=True)]
    for code in codes:  # which grows by the codes inside each
        if (code.co_qualname, code.co_firstlineno) == place:
            return code
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return None
