"""HTML and other pages from templates. In HTML every value is escaped, as it may come from an untrusted file.

* `render`: fills a template of this package. `filled`: fills a line of HTML.
* `data_uri`: a file's bytes as a URI, to embed in a page.
"""

from __future__ import annotations

import base64
import functools
from typing import TYPE_CHECKING, Any

from cartpole_dqn.text import figures

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """Return a template filled with `values`.

    Its filters are `number`, `count_of` and `data_uri`.

    Args:
        template: a Jinja template's path in the package, such as "views/report/report.html.jinja".
        values: of its names. Strings are escaped unless the template says otherwise; invisible characters are replaced.

    Raises:
        jinja2.UndefinedError: the template uses a name that was not given.
    """
    return _environment().get_template(template).render(**values)


def filled(html: str, *values: Any) -> Markup:
    """Return `html` with each `{}` replaced by a value. Values are escaped unless they are `Markup`.

    >>> filled('<a title="{}">{}</a>', "a & b", filled("<b>{}</b>", "<"))
    Markup('<a title="a &amp; b"><b>&lt;</b></a>')
    """
    from markupsafe import Markup

    return Markup(html).format(*map(_printable, values))


def data_uri(data: bytes, kind: str) -> str:
    """Return `data` as a data URI. `kind` is its media type, such as "image/png"."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cartpole_dqn", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    filters = (figures.number, figures.count_of, data_uri)
    environment.filters.update({function.__name__: function for function in filters})
    return environment


def _printable(value: Any) -> Any:
    """Return a value as text without invisible characters; `Markup` is unchanged."""
    if hasattr(value, "__html__"):
        return value
    return figures.printable(str(value), "\N{REPLACEMENT CHARACTER}", lines=True)
