"""A peer of the benchmark: trains one case with another framework, on request, and says how long that took.

Usage: peer.py PROGRAM, where PROGRAM is jax, jax-tiles, torch or torch-compile. Standard input holds JSON objects, one on
a line: first the case, then {"round": r} for each training from the initial values on fresh data. Each is answered by one
line on standard output. Weights come and go in files of float32, run by run, each array row-major.
"""

import importlib
import json
import os
import sys
import time
import types

import numpy as np


class Case:
    """A sweep as the benchmark describes it: widths x seeds runs of one mixture, ordered by width."""

    def __init__(self, settings):
        self.__dict__.update(settings)
        self.language = types.SimpleNamespace(**(self.language or {}))
        self.shapes = [{a["name"]: tuple(a["dims"]) for a in net} for net in self.nets]

    def initial(self):
        """Initial values: for each width a dict of arrays [seeds, ...]."""
        flat, at, weights = np.fromfile(self.initial_file, np.float32), 0, []
        for shapes in self.shapes:
            runs = []
            for _ in range(self.seeds):
                run = {}
                for name, dims in shapes.items():
                    n = int(np.prod(dims))
                    run[name], at = flat[at : at + n].reshape(dims), at + n
                runs.append(run)
            weights.append({name: np.stack([run[name] for run in runs]) for name in shapes})
        return [self.joined(w) for w in weights]

    def joined(self, weights):
        """The weights as people write the net: a one-hot code of the task is part of the input, its weights of the first layer's."""
        if "code" not in weights:
            return weights
        weights = dict(weights)
        code = np.swapaxes(weights.pop("code"), 1, 2)
        return weights | {"weight1": np.concatenate([weights["weight1"], code], axis=2)}

    def separated(self, weights):
        """The inverse of joined."""
        if "code" not in self.shapes[0]:
            return weights
        first = np.asarray(weights["weight1"])
        return weights | {"weight1": first[:, :, : self.dim], "code": np.swapaxes(first[:, :, self.dim :], 1, 2)}

    def write(self, weights):
        """Writes final values: for each width a dict of arrays [seeds, ...]."""
        with open(self.final_file, "wb") as file:
            for shapes, stacked in zip(self.shapes, map(self.separated, weights)):
                for seed in range(self.seeds):
                    for name in shapes:
                        file.write(np.ascontiguousarray(stacked[name][seed], np.float32).tobytes())


class Clock:
    """Wall and processor seconds spent inside of it."""

    wall = cpu = 0.0

    def __enter__(self):
        self.begin = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        self.wall += time.perf_counter() - self.begin[0]
        self.cpu += time.process_time() - self.begin[1]


def main():
    program, answers = sys.argv[1], sys.stdout
    sys.stdout = sys.stderr  # what a framework prints is no answer
    requests = (json.loads(line) for line in sys.stdin)
    case = Case(next(requests))
    sys.path.append(os.path.dirname(__file__))  # -I leaves it out
    framework = importlib.import_module("peer_" + program.split("-")[0])
    trainer = framework.Trainer(case, program)

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    answer({"compile": trainer.compile_seconds, "version": trainer.version})
    for request in requests:
        clock = Clock()
        loss, weights = trainer.train(request["round"], clock)
        case.write(weights)
        answer({"seconds": clock.wall, "cpu": clock.cpu, "loss": loss})


if __name__ == "__main__":
    main()
