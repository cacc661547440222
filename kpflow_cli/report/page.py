"""The frame of every page: one HTML file with its styles, scripts and drawings inside, which asks
for nothing from outside and says so to the browser.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import jinja2
from markupsafe import Markup

from kpflow_cli import __version__

Tone = Literal["good", "bad", "doubtful", "active", "plain"]


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading, and a line in its table of contents.

    Attributes:
        name: of its anchor, one of a kind on its page.
        title: plain text.
        body: HTML that is safe as it stands, as ``render`` and ``Markup.escape`` make it; None
            where its parts say all.
        parts: below it, a heading of the second order each.
    """

    name: str
    title: str
    body: Markup | None = None
    parts: Sequence[Section] = ()


@dataclass(frozen=True)
class Page:
    """What stands on a page; all plain text is escaped where it is put in.

    Attributes:
        kind: of thing that it shows, above the title.
        title: in the browser's list, and at the top.
        status: in a word or two, with its tone; empty for none.
        told: a line beside the status.
        facts: names and values below the title.
        scripts: further ones, run after the page's own.
        refresh: seconds after which it is read again, 0 for never.
        evaluates: whether a script makes functions of text, as charts of Vega's do.
    """

    kind: str
    title: str
    sections: Sequence[Section]
    status: str = ""
    tone: Tone = "plain"
    told: str = ""
    facts: Mapping[str, str] | None = None
    scripts: Sequence[str] = ()
    refresh: int = 0
    evaluates: bool = False


def render_page(page: Page) -> str:
    """The page as one HTML file."""
    scripts = [Markup(script) for script in (read_template("page.js"), *page.scripts)]
    return render(
        "page.html.jinja",
        page=page,
        version=__version__,
        style=Markup(read_template("page.css")),
        scripts=scripts,
        policy=_policy(scripts, evaluates=page.evaluates),
    )


def render(template: str, **values: Any) -> Markup:
    """A template of this package with values put in, each escaped unless it is Markup."""
    return Markup(_environment().get_template(template).render(values))


def _policy(scripts: Sequence[str], *, evaluates: bool) -> str:
    """What the browser may do for a page: draw what is in it and run these scripts, none besides
    and nothing from elsewhere.
    """
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    evaluating = " 'unsafe-eval'" if evaluates else ""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'unsafe-inline'; script-src {hashes}{evaluating}"
    )


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def read_template(name: str) -> str:
    """A file of this package's templates, as it stands."""
    return (resources.files("kpflow_cli.report") / "templates" / name).read_text("utf-8")
