"""The page at / in a real browser: it authorizes, executes a request, and asks nobody else."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser import Browser
from tests.conftest import KEY, ScimClient, Server

# Authorize with the key, open GET /Users, execute it with an empty cursor: as a person clicks.
STEPS = """
(async () => {
  const until = async (find) => {
    for (let i = 0; i < 200; i++) {
      const found = find();
      if (found) return found;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
    throw new Error('not found: ' + find);
  };
  const one = (selector) => until(() => document.querySelector(selector));
  const type = (input, text) => {
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, text);
    input.dispatchEvent(new Event('input', {bubbles: true}));
  };
  (await one('.btn.authorize')).click();
  type(await one('.auth-container input'), '%s');
  (await one('.auth-btn-wrapper .authorize')).click();
  (await one('.btn-done')).click();
  const path = (block) => block.querySelector('.opblock-summary-path').textContent.replace(/\\u200b/g, '');
  const operation = await until(
      () => [...document.querySelectorAll('.opblock-get')].find(block => path(block) === '/Users'));
  operation.querySelector('.opblock-summary-control').click();
  // The empty cursor, which asks for the first page.
  (await until(() => operation.querySelector('.parameter__empty_value_toggle input'))).click();
  (await until(() => operation.querySelector('.execute'))).click();
  const live = await until(() => operation.querySelector('.live-responses-table'));
  return live.innerText;
})()
"""

# The page is the same whatever is behind it.
pytestmark = pytest.mark.sqlite


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "chromium")
    yield browser
    browser.close()


@pytest.mark.parametrize("base_path", ["", "/api/v2"])
def test_the_page_authorizes_and_executes_without_leaving_the_machine(
    serve: Callable[..., Server], browser: Browser, base_path: str
) -> None:
    server = serve(BASE_PATH=base_path, LOGLEVEL="ERROR")
    browser.call("Network.enable")
    browser.call("Page.enable")
    browser.call("Log.enable")

    browser.call("Page.navigate", url=f"{server.url}{base_path or '/'}")
    result = browser.call("Runtime.evaluate", expression=STEPS % KEY, awaitPromise=True, returnByValue=True)

    shown = result["result"].get("value") or json.dumps(result)
    assert "ListResponse" in shown and "200" in shown, shown
    assert f"{server.url}{base_path}/Users?cursor=" in browser.requested
    hosts = {urlsplit(url).netloc for url in browser.requested if urlsplit(url).scheme.startswith("http")}
    assert hosts == {urlsplit(server.url).netloc}
    # Nothing of the page was refused by its own policy.
    assert browser.problems == []


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_page_runs_no_script_and_asks_no_server_but_this(scim: ScimClient, path: str) -> None:
    page = scim("GET", path, headers={"Authorization": "", "Content-Type": ""})

    assert (page.status_code, page.mimetype) == (200, "text/html")
    rules = dict(rule.split(None, 1) for rule in page.headers["Content-Security-Policy"].split(";"))
    assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == rules["style-src"] == "'self'"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "<script>" not in page.text and "style=" not in page.text
    for reference in re.findall(r'(?:src|href)="([^"]*)"', page.text):
        with scim("GET", reference) as asset:
            assert asset.status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs/start.js", "/openapi.json", "/Users", "/Nope", "/health"])
def test_no_answer_is_taken_for_another_type_than_it_has(scim: ScimClient, path: str) -> None:
    assert scim("GET", path).headers.get("X-Content-Type-Options") == "nosniff"
