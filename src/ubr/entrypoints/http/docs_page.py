"""The OpenAPI document as one plain HTML page: no script, and nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --link: #2563eb; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 2rem 1rem 4rem; }
h1 { margin: 0; } h1 small { font-size: 1rem; font-weight: normal; opacity: .6; }
h2 { border-bottom: 1px solid var(--line); margin: 2.5rem 0 1rem; padding-bottom: .25rem; text-transform: capitalize; }
a { color: var(--link); }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; }
summary { align-items: baseline; cursor: pointer; display: flex; flex-wrap: wrap; gap: .75rem; padding: .6rem .8rem; }
summary span { opacity: .7; margin-left: auto; }
details > div { border-top: 1px solid var(--line); padding: .25rem .9rem 1rem; }
h3 { font-size: .9rem; margin: 1rem 0 .3rem; opacity: .7; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; }
pre { background: var(--soft); border-radius: .4rem; margin: 0; overflow-x: auto; padding: .7rem; }
b.method { border-radius: .3rem; color: #fff; font: bold .75rem/1.6 ui-monospace, monospace; text-align: center; }
b.method { width: 4.2rem; }
b.get { background: #2563eb; } b.post { background: #15803d; } b.put, b.patch { background: #b45309; }
b.delete { background: #b91c1c; }
table { border-collapse: collapse; width: 100%; } td { padding: .2rem .8rem .2rem 0; vertical-align: top; }
ul { margin: .3rem 0; padding-left: 1.2rem; }
"""


def policy() -> str:
    """The page's `Content-Security-Policy`: its own style, known by its digest, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"


def page(document: dict[str, Any]) -> str:
    """The page."""
    info = document["info"]
    sections = "".join(_section(document, tag) for tag in document["tags"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}: HTTP interface</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1><p>{_text(info['description'])}</p>"
        '<p><a href="/api/openapi.json">OpenAPI document</a></p>'
        f"{sections}</body></html>"
    )


def _section(document: dict[str, Any], tag: dict[str, str]) -> str:
    routes = "".join(
        _route(document, path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    )
    return f"<h2>{escape(tag['name'])}</h2><p>{_text(tag['description'])}</p>{routes}"


def _route(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [_prose(operation.get("description", ""))]
    if operation.get("security") == []:
        parts.append("<p>Needs no token.</p>")
    if parameters := operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
            f"<td>{_text(each.get('description', ''))} {_type(each['schema'])}</td></tr>"
            for each in parameters
        )
        parts.append(f"<h3>Parameters</h3><table>{rows}</table>")
    if request := operation.get("requestBody"):
        parts.append("<h3>Body</h3>" + _content(document, request["content"]))
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            parts.append(f"<h3>{status} {escape(response['description'])}</h3>")
            parts.append(_content(document, response.get("content", {})))
    problems = "".join(
        f"<tr><td>{status}</td><td>{_text(response['description'])}</td></tr>"
        for status, response in operation["responses"].items()
        if status >= "400"
    )
    parts.append(f"<h3>Problems</h3><table>{problems}</table>")
    return (
        f'<details id="{escape(operation["operationId"])}"><summary>'
        f'<b class="method {method}">{method.upper()}</b> <code>{escape(path)}</code> '
        f"<span>{escape(operation['summary'])}</span></summary><div>{''.join(parts)}</div></details>"
    )


def _content(document: dict[str, Any], content: dict[str, Any]) -> str:
    shown = []
    for media_type, described in content.items():
        lines = _lines(document, described["schema"])
        shown.append(f"<p><code>{escape(media_type)}</code></p>" + (f"<table>{lines}</table>" if lines else ""))
    return "".join(shown[:1])


def _lines(document: dict[str, Any], schema: dict[str, Any]) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    found = document["components"]["schemas"].get(name, {})
    required = found.get("required", ())
    return "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_type(described)}</td>"
        f"<td>{'' if field in required else 'optional'}</td></tr>"
        for field, described in found.get("properties", {}).items()
    )


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "$ref" in schema:
        return escape(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return escape(str(schema.get("format") or schema.get("type", "")))


def _prose(text: str) -> str:
    """Paragraphs and lists, which is all that docstrings are made of."""
    blocks = []
    for block in text.split("\n\n"):
        if block.startswith("- "):
            items = re.split(r"(?m)^- ", block)[1:]
            blocks.append("<ul>" + "".join(f"<li>{_text(item)}</li>" for item in items) + "</ul>")
        elif block:
            blocks.append(f"<p>{_text(block)}</p>")
    return "".join(blocks)


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
