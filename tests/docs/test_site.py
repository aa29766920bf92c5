"""The site of the documentation: strict, whole, and at home without a network."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from mkdocs.config import load_config

from tests.browser import Browser

ROOT = Path(__file__).parent.parent.parent
# What a page loads by itself, by the element.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}

# Wait for the results of the search that the address asks for, and return their links.
RESULTS = """
(async () => {
  for (let i = 0; i < 400; i++) {
    const links = [...document.querySelectorAll('.md-search-result__link')].map(link => link.href);
    if (links.length) return links.join(' ');
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  return 'nothing found';
})()
"""


class Page(HTMLParser):
    """What a page of HTML loads, links to and can be linked to, and its paragraphs."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.text = path.read_text()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.paragraphs: list[str] = []
        self._is_in_paragraph = False
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if (found.get("id") or "") and tag != "form":
            self.anchors.add(str(found["id"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if found.get(LOADED.get(tag, "")) and found.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(str(found[LOADED[tag]]))
        if tag == "p":
            self._is_in_paragraph = True
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_in_paragraph = self._is_in_paragraph and tag != "p"

    def handle_data(self, data: str) -> None:
        if self._is_in_paragraph:
            self.paragraphs[-1] += data


class Site:
    """A built site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def pages(self) -> dict[Path, Page]:
        """Every page by its path, but the one for addresses that do not exist, whose links are absolute."""
        return {path: Page(path) for path in sorted(self.folder.rglob("*.html")) if path.name != "404.html"}

    def problem(self, page: Page, link: str) -> str | None:
        """Return why a link leads nowhere, None if it does not."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            return None
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        if not target.is_file():
            return f"{page.path.name}: {link}: there is no such file"
        anchors = self.pages[target].anchors if target in self.pages else {parts.fragment}
        if parts.fragment and unquote(parts.fragment) not in anchors:
            return f"{page.path.name}: {link}: there is no such anchor"
        return None


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr
    return Site(folder.resolve())


def entries(part: Any) -> Iterator[str]:
    """Yield every page that a part of the navigation names."""
    if isinstance(part, str):
        yield part
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from entries(one)


def test_every_page_is_built_and_stands_in_the_navigation_once(site: Site) -> None:
    navigation = load_config(str(ROOT / "mkdocs.yml")).nav
    named = sorted(name for name in entries(navigation) if not name.startswith("../"))
    written = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))
    built = sorted(str(path.relative_to(site.folder).with_suffix(".md")) for path in site.pages)

    assert named == written == built
    assert [next(iter(part)) for part in navigation] == [
        *("Home", "Tutorial", "How-to", "Reference", "Explanation")
    ]


def test_every_link_and_anchor_of_the_site_leads_somewhere(site: Site) -> None:
    problems = [site.problem(page, link) for page in site.pages.values() for link in page.links]

    assert len(problems) > 1000
    assert [problem for problem in problems if problem] == []


def test_no_page_loads_anything_from_another_host(site: Site) -> None:
    for page in site.pages.values():
        assert len(page.loads) > 3
        assert [site.problem(page, source) for source in page.loads] == [None] * len(page.loads)
        assert [source for source in page.loads if urlsplit(source).netloc] == []
    for path in [*site.pages, *site.folder.rglob("*.css")]:
        assert re.findall(r"""url\(\s*['"]?(?:https?:)?//|@import""", path.read_text()) == [], path.name


def test_a_numbered_list_goes_on_to_its_end(site: Site) -> None:
    """GitHub wants what belongs to an item under its text; the site wants it behind four spaces."""
    torn = []
    for page in site.pages.values():
        source = ROOT / "docs" / page.path.relative_to(site.folder).with_suffix(".md")
        text = re.sub(r"^```.*?^```", "", source.read_text(), flags=re.MULTILINE | re.DOTALL)
        lists = re.findall(r"<ol>|<ol start", page.text)
        if len(lists) != len(re.findall(r"^1\. ", text, re.MULTILINE)):
            torn.append(page.path.name)

    assert torn == [], "indent what belongs to an item by four spaces, and fence code"


def test_no_list_and_no_table_is_taken_for_a_paragraph(site: Site) -> None:
    """GitHub needs no empty line before a list or a table; the site does."""
    broken = [
        (page.path.name, text)
        for page in site.pages.values()
        for text in page.paragraphs
        if re.search(r"^ *([-*] |\d+\. |\|.*\|$)", text, re.MULTILINE)
    ]

    assert broken == []


def test_the_search_knows_the_words_of_every_page(site: Site) -> None:
    entries = json.loads((site.folder / "search" / "search_index.json").read_text())["docs"]
    pages = {entry["location"].partition("#")[0] for entry in entries}
    texts = " ".join(entry["title"] + " " + entry["text"] for entry in entries)

    assert pages == {str(path.relative_to(site.folder)) for path in site.pages}
    for word in ("INDEXED_ATTRIBUTES", "scim_events_pending", "invalidCursor", "scim import", "enterprise"):
        assert word in texts, word


def test_a_page_that_is_opened_from_a_disk_can_be_searched(site: Site, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "chromium")
    try:
        browser.call("Network.enable")
        browser.call("Log.enable")
        browser.call("Page.enable")

        browser.call("Page.navigate", url=f"{site.folder.as_uri()}/index.html?q=INDEXED_ATTRIBUTES")
        found = browser.call("Runtime.evaluate", expression=RESULTS, awaitPromise=True, returnByValue=True)
    finally:
        browser.close()

    assert "/reference/settings.html" in found["result"]["value"]
    assert browser.problems == []
    assert {urlsplit(url).scheme for url in browser.requested} == {"file", "data"}
