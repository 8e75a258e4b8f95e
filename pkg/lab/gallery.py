"""Turns executed notebooks into the bodies of HTML pages, for pkg/lab to read: one JSON object per line.

The arguments are where Vega's JavaScript goes, and the notebooks. Nothing in the pages asks the network: formulas are MathML, charts are
drawn by the JavaScript that vl-convert brings.
"""
import html
import json
import os
import re
import sys

import nbformat
import vl_convert
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

VEGA = "application/vnd.vegalite.v5+json"


class Renderer(IPythonRenderer):
    """Markdown with formulas in MathML."""

    def inline_math(self, body):
        return convert(html.unescape(body))

    def block_math(self, body):
        return convert(html.unescape(body), display="block")

    def multiline_math(self, text):
        return self.block_math(text.strip().strip("$"))


class Exporter(HTMLExporter):
    def markdown2html(self, source):
        return MarkdownWithMath(renderer=Renderer(escape=False, anchor_link_text="")).render(source)

    def default_filters(self):
        yield from super().default_filters()
        yield "markdown2html", self.markdown2html


def chart(output):
    """A chart's description for Vega, under the name by which the index links to it; its picture where there are no scripts."""
    spec = output["data"][VEGA]
    name, told = spec.get("name", ""), html.escape(spec.get("description", ""))
    text = json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c")
    picture = f'<noscript><img src="figures/{name}.svg" alt="{told}"></noscript>' if name else ""
    return (f'<figure class="chart" id="{html.escape(name)}" role="img" aria-label="{told}">'
            f'<script type="application/json">{text}</script>{picture}</figure>')


def page(path):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if VEGA in output.get("data", {}):
                output["data"] = {"text/html": chart(output)}
    notebook.metadata.language_info = {"name": "go", "pygments_lexer": "go"}
    exporter = Exporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(r'(href="[\w-]+)\.ipynb(["#])', r"\1.html\2", body)
    headings = re.findall(r"(?m)^# +(.+?) *$", "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"))
    name = os.path.basename(path)
    return {"notebook": name, "title": headings[0] if headings else name.removesuffix(".ipynb"), "body": body}


partial = f"{sys.argv[1]}.{os.getpid()}.new"
with open(partial, "w") as file:
    file.write(vl_convert.javascript_bundle(vl_version="5.20"))
os.replace(partial, sys.argv[1])
styles = {"light": "default", "dark": "github-dark"}
print(json.dumps({name: HtmlFormatter(style=style).get_style_defs(".highlight") for name, style in styles.items()}))
for path in sys.argv[2:]:
    print(json.dumps(page(path)))
