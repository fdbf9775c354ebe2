"""Renders the page at /docs, without any script. All operations with their fields and examples."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy of the page: nothing is loaded and nothing runs."""

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
code,pre{font:14px/1.45 ui-monospace,monospace;background:#f3f5f7;border-radius:4px}
pre{padding:.75rem;overflow-x:auto}code{padding:.1rem .3rem}summary{cursor:pointer;padding:.3rem 0}
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#e6e9ec;background:#15181c}code,pre{background:#22272e}a{color:#7ab8ff}}
"""


def reference_page(document: Json) -> str:
    """The page for an OpenAPI document."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>",
        "<p>The same as <a href='/openapi.json'>OpenAPI</a>, for clients to be generated from.</p>",
        f"<details><summary>About, and all error codes</summary><pre>{escape(info['description'])}</pre></details>",
        *_operations(document),
        "</body></html>",
    ]
    return "\n".join(parts)


def _operations(document: Json) -> Iterator[str]:
    tag = None
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            first = operation.get("tags", ["other"])[0]
            if first != tag:
                tag = first
                yield f"<h2>{escape(tag)}</h2>"
            yield from _operation(method, path, operation)


def _operation(method: str, path: str, operation: Json) -> Iterator[str]:
    yield f"<details><summary><code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}</summary>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    if operation.get("security"):
        yield f"<p>Key: {escape(', '.join(name for each in operation['security'] for name in each))}</p>"
    yield from _parameters(operation.get("parameters", ()))
    body = operation.get("requestBody", {}).get("content", {})
    for content in body.values():
        yield from _examples("Request", content)
    for status, response in operation["responses"].items():
        yield f"<h4>{escape(status)} {escape(response.get('description', ''))}</h4>"
        for content in response.get("content", {}).values():
            yield from _examples("", content)
    yield "</details>"


def _parameters(parameters: Any) -> Iterator[str]:
    if not parameters:
        return
    yield "<table><tr><th>parameter</th><th>in</th><th>example</th></tr>"
    for each in parameters:
        example = (each.get("schema", {}).get("examples") or [""])[0]
        needed = "" if each.get("required") else " (optional)"
        yield (
            f"<tr><td><code>{escape(each['name'])}</code>{needed}</td><td>{escape(each['in'])}</td>"
            f"<td><code>{escape(str(example))}</code></td></tr>"
        )
    yield "</table>"


def _examples(title: str, content: Json) -> Iterator[str]:
    found = {"": content["example"]} if "example" in content else {}
    found |= {name: each["value"] for name, each in content.get("examples", {}).items()}
    for name, value in found.items():
        shown = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        yield f"<p>{escape(' '.join(filter(None, (title, name))))}</p><pre>{escape(shown)}</pre>"
