"""Hooks of MkDocs (``make docs``): which files the site has, and what its API reference shows.

Paths of the site's sources are those of the repository, so a link that works there works in the site too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import griffe
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "scripts"))

from examples import source  # noqa: E402
from public_api import MODULES, PACKAGE  # noqa: E402

#: Sphinx roles in docstrings, for example :class:`~.quirks.Quirks`.
_ROLE = re.compile(r":(?:class|meth|func|attr|data|mod):`~?\.*([\w.]+)`")


class Code(File):
    """A page that shows a source file."""

    def is_documentation_page(self) -> bool:
        return True

    @property
    def content_string(self) -> str:
        name, language = Path(self.src_uri).name, Path(self.src_uri).suffix[1:]
        return f"# {name}\n\n```{language}\n{source(REPO / self.src_uri)}```\n"


class _Labels(Treeprocessor):
    def run(self, root: Element) -> None:
        for table in root.iter("table"):
            labels = ["".join(cell.itertext()) for cell in table.iter("th")]
            for row in table.iter("tr"):
                for label, cell in zip(labels, row.findall("td"), strict=False):
                    cell.set("data-label", label)


class TableLabels(Extension):
    """Names the column of each table cell. On a phone, where the cells of a row are below each other, this is shown."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register after inline Markdown has become elements."""
        md.treeprocessors.register(_Labels(md), "labels", 5)


def _comment(attribute: griffe.Object) -> str:
    """The ``#:`` comment above an attribute."""
    above = Path(attribute.filepath).read_text().splitlines()[: (attribute.lineno or 1) - 1]
    lines: list[str] = []
    while above and above[-1].strip().startswith("#:"):
        lines.insert(0, above.pop().strip().removeprefix("#:").strip())
    return " ".join(lines)


class Roles(griffe.Extension):
    """Shows what docstrings and comments say to Sphinx."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object. ``#:`` comments become docstrings."""
        if obj.is_attribute and not obj.docstring and (comment := _comment(obj)):
            obj.docstring = griffe.Docstring(comment, parent=obj)
        if obj.docstring:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            text = re.sub(r"^::$", "", text, flags=re.MULTILINE).replace("::\n", ":\n")
            # The fields of pydantic's models have no signature.
            fields = obj.is_class and any(str(base) == "Fields" for base in obj.bases)
            obj.docstring.value = text.replace(":param ", ":ivar ") if fields else text

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """List the members of an enumeration in its docstring."""
        if cls.docstring and any(str(base).endswith("Enum") for base in cls.bases):
            members = [f"- `{one.name}`: `{one.value}`" for one in cls.attributes.values() if one.value is not None]
            cls.docstring.value = "\n".join([cls.docstring.value, "", *members])


def on_config(config: MkDocsConfig) -> None:
    """Make anchors as GitHub does, and add the example DAGs and the API reference to the navigation."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")
    config.markdown_extensions.append(TableLabels())
    config.nav += [
        {
            "Example DAGs": [
                "docs/examples.md",
                *({path.stem: _in_repo(path)} for path in _examples()),
                {"Tests of DAGs": [_in_repo(path) for path in _project()]},
            ]
        },
        {"API reference": [{module: f"reference/{module}.md"} for module in MODULES]},
    ]


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Show titles in links whose text is the name of a document."""

    def titled(link: re.Match[str]) -> str:
        document = (REPO / page.file.src_uri).parent / link[1]
        title = document.read_text().partition("\n")[0].removeprefix("# ")
        return f"[{title}]({link[1]}{link[2] or ''})"

    return re.sub(r"\[[\w/-]+\.md\]\(([^)#]+\.md)(#[^)]*)?\)", titled, markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Name files by their paths in the repository, and add those that are not in ``docs/``."""
    return Files(list(_files(files, config)))


def _files(files: Files, config: MkDocsConfig) -> Iterator[File]:
    to = {"src_dir": str(REPO), "dest_dir": config.site_dir, "use_directory_urls": True}
    for file in files:
        if file.src_uri.startswith("example-project/"):
            # Shown as pages, below.
            continue
        if file.src_dir == config.docs_dir:
            yield File(f"docs/{file.src_uri}", dest_uri=file.dest_uri, **to)
        else:
            yield file
    yield File("LICENSE", dest_uri="LICENSE.txt", **to)
    for path in sorted(REPO.glob("*.md")):
        page = "" if path.stem == "README" else f"{path.stem.lower()}/"
        yield File(path.name, dest_uri=f"{page}index.html", **to)
    for path in (*_examples(), *_project()):
        yield Code(_in_repo(path), dest_uri=f"{_in_repo(path)}/index.html", **to)
    for module in MODULES:
        text = f"# {module}\n\n`{PACKAGE}.{module}`\n\n::: {PACKAGE}.{module}\n"
        yield File.generated(config, f"reference/{module}.md", content=text)


def _examples() -> list[Path]:
    return sorted((REPO / "dags_examples").glob("*.*"))


def _project() -> list[Path]:
    """The files of the example project for tests."""
    return sorted(path for path in (REPO / "docs" / "example-project").rglob("*.*") if path.suffix in (".py", ".toml"))


def _in_repo(path: Path) -> str:
    return path.relative_to(REPO).as_posix()
