"""Renders self-contained HTML pages: no server, no network, and no script needed to read them.

The charts are drawn by uPlot 1.6.32 (MIT, https://github.com/leeoniya/uPlot) from ``static/uplot``, which is written
into the page.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_PACKAGE = "airflow_provider_whitebit"


def render(template: str, **values: Any) -> str:
    """Render a template of this package.

    :param template: file name in ``templates``.
    :param values: what the template shows. Texts are escaped.
    :returns: HTML, to be written as UTF-8.
    """
    uplot = {"uplot_script": _static("uPlot.iife.min.js"), "uplot_style": _static("uPlot.min.css")}
    return _environment().get_template(template).render(**values, **uplot)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # Plans and policies keep their order in charts, and with it their colours.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment


@cache
def _static(name: str) -> Markup:
    return Markup((files(_PACKAGE) / "static" / "uplot" / name).read_text(encoding="utf-8"))
