"""A hook of mkdocs: links that leave docs/ lead to the repository, as they do where pages are read there."""

import logging
import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

import yaml
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

_LOG = logging.getLogger("mkdocs.hooks.links")
_ROOT = Path(__file__).parent.parent.parent
# After links are parsed, and before mkdocs looks at them.
_PRIORITY = 10


class _Links(Treeprocessor):
    """Rewrites the links of one page after the other; `page` is the path of the page below docs/."""

    page = ""

    def run(self, root: Element) -> None:
        for element in root.iter("a"):
            element.set("href", self._target(element.get("href", "")))

    def _target(self, link: str) -> str:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or not parts.path:
            return link
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(self.page), parts.path))
        if path.startswith("docs/"):
            return link
        if not (_ROOT / path).exists():
            _LOG.warning("%s: the repository has no %s, which a link names", self.page, path)
        return in_repository(path) + (f"#{parts.fragment}" if parts.fragment else "")


class _Extension(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        _links.md = md
        md.treeprocessors.register(_links, "repository", _PRIORITY)


_links = _Links()


def in_repository(path: str) -> str:
    """Return the URL of a file or a folder of the repository; Argo CD's example says where that is."""
    source = yaml.safe_load((_ROOT / "deploy/argocd/application.yaml").read_text())["spec"]["source"]
    kind = "tree" if (_ROOT / path).is_dir() else "blob"
    return f"{source['repoURL']}/{kind}/{source['targetRevision']}/{path}"


def on_config(config: Any) -> Any:
    config.markdown_extensions.append(_Extension())
    config.nav = _without_parents(config.nav)
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    _links.page = page.file.src_uri
    return markdown


def _without_parents(entry: Any) -> Any:
    """Return a part of the navigation with URLs in place of files outside docs/."""
    if isinstance(entry, list):
        return [_without_parents(one) for one in entry]
    if isinstance(entry, dict):
        return {title: _without_parents(one) for title, one in entry.items()}
    if not entry.startswith("../"):
        return entry
    path = entry.removeprefix("../")
    if not (_ROOT / path).exists():
        _LOG.warning("mkdocs.yml: the repository has no %s, which the navigation names", path)
    return in_repository(path)
