"""Executes notebooks with the gonb kernel, draws their charts as pictures, and prints one JSON event per line, for pkg/lab to read.

The job is the first line of standard input. When standard input ends, whoever asked is gone, and so must the kernel be.
"""
import asyncio
import base64
import io
import json
import os
import re
import signal
import sys
import threading
import time

import nbformat
import vl_convert
from PIL import Image
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

# Whatever a library or a kernel prints stays out of the events, whose pipe ends with this process alone.
events = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def tell(**event):
    print(json.dumps(event), file=events, flush=True)


def stop_when_abandoned():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def stop_on_signal():
    """Cancels the work on SIGTERM, so that leaving the kernel's context shuts it down; nbclient's handler pulls it from under us."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def why(cell, failure):
    """What the cell wrote to standard error, then the kernel's verdict."""
    written = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stderr")
    text = written.strip()
    if not text.endswith(failure.evalue.strip()):
        text += "\n" + failure.evalue
    return plain(text).strip()[-4000:]


def raster(svg, scale):
    """The picture as a PNG of 96 colours, which has a sixth of the bytes."""
    picture, png = Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=scale))), io.BytesIO()
    picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(png, "PNG", optimize=True)
    return png.getvalue()


def bare(chart):
    """The chart without invisible marks, which are there for the mouse."""
    if isinstance(chart, list):
        return [bare(part) for part in chart]
    if not isinstance(chart, dict):
        return chart
    def visible(layer):
        return not isinstance(layer.get("mark"), dict) or layer["mark"].get("opacity") != 0

    return {key: bare(list(filter(visible, value)) if key == "layer" else value) for key, value in chart.items()}


def draw(outputs, folder):
    """Adds a picture to every output that holds a Vega-Lite chart, and writes it as NAME.svg and NAME.png."""
    for output in outputs:
        chart = output.get("data", {}).get("application/vnd.vegalite.v5+json")
        if chart is None:
            continue
        svg = vl_convert.vegalite_to_svg(bare(chart), vl_version="5.20")
        for scale in (1.5, 1):  # a chart of many panels need not be sharp on every screen
            png = raster(svg, scale)
            if len(png) < 25_000:
                break
        output["data"]["image/png"] = base64.b64encode(png).decode()
        for suffix, content in ((".svg", svg.encode()), (".png", png)):
            if chart.get("name"):
                with open(os.path.join(folder, os.path.basename(chart["name"]) + suffix), "wb") as file:
                    file.write(content)


def scrub(value, replacements):
    """Outputs without this machine's paths."""
    if isinstance(value, str):
        for path, name in replacements:
            value = value.replace(path, name)
        return value
    if isinstance(value, list):
        return [scrub(item, replacements) for item in value]
    if isinstance(value, dict):
        return type(value)({key: scrub(item, replacements) for key, item in value.items()})
    return value


def write(notebook, path, replacements):
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = scrub(cell.outputs, replacements)
    notebook.metadata.pop("widgets", None)
    partial = f"{path}.{os.getpid()}.new"
    nbformat.write(notebook, partial)
    os.replace(partial, path)


async def execute(job, item):
    path, chosen = item["path"], set(item["cells"])
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="gonb",
        timeout=None,
        startup_timeout=300,
        record_timing=False,
        extra_arguments=["-raw_error"],
        resources={"metadata": {"path": os.path.dirname(path)}},
    )
    async with client.async_setup_kernel():
        stop_on_signal()
        for index, cell in enumerate(notebook.cells):
            if index not in chosen:
                if cell.cell_type == "code" and not job["in_place"]:
                    cell.outputs, cell.execution_count = [], None
                continue
            tell(state="start", notebook=path, cell=index)
            begin = time.monotonic()
            try:
                await client.async_execute_cell(cell, index)
            except CellExecutionError as failure:
                return tell(state="failed", notebook=path, cell=index, error=why(cell, failure))
            except DeadKernelError:  # which is what nbclient makes of a cancelled task, too
                return tell(state="failed", notebook=path, cell=index, error="the kernel died; is there enough memory?")
            seconds = time.monotonic() - begin
            try:
                await asyncio.to_thread(draw, cell.outputs, os.environ["RARETASK_FIGURES"])
            except (ValueError, RuntimeError) as failure:
                return tell(state="failed", notebook=path, cell=index, error=f"its chart can't be drawn: {failure}")
            tell(state="done", notebook=path, cell=index, seconds=seconds)
    write(notebook, item["out"], job["replacements"])
    tell(state="written", notebook=path)
    return True


async def main():
    job = json.loads(sys.stdin.readline())
    vl_convert.register_font_directory(job["fonts"])
    threading.Thread(target=stop_when_abandoned, daemon=True).start()
    for item in job["notebooks"]:
        if not await execute(job, item):
            sys.exit(1)


try:
    asyncio.run(main())
except (asyncio.CancelledError, BrokenPipeError):  # told to stop, or nobody listens
    sys.exit(1)
