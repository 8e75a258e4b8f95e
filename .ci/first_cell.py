"""Runs the first cells of the quickstart in a fresh kernel and says after how many seconds the first output came; as many are allowed."""
import json
import os
import sys
import time

from jupyter_client.manager import KernelManager

with open(os.environ["RARETASK_ROOT"] + "/notebooks/00_quickstart.ipynb") as f:
    cells = ["".join(c["source"]) for c in json.load(f)["cells"] if c["cell_type"] == "code"]

outputs = []
begin = time.monotonic()
kernel = KernelManager(kernel_name="gonb")
kernel.start_kernel(cwd=os.environ["RARETASK_ROOT"] + "/notebooks")
client = kernel.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=60)


def told(message):
    if message["msg_type"] in ("stream", "display_data", "execute_result"):
        outputs.append((time.monotonic() - begin, message["content"]))


for source in cells[:2]:
    reply = client.execute_interactive(source, timeout=120, output_hook=told)
    assert reply["content"]["status"] == "ok", (reply, outputs)
client.stop_channels()
kernel.shutdown_kernel(now=True)
seconds, content = outputs[0]
assert "width for its first direction" in str(content), content
print(f"first output {seconds:.1f} s after the kernel's start")
sys.exit(seconds > float(sys.argv[1]))
