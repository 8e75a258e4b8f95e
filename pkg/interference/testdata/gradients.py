"""Gram matrix and cosines of per-task gradients by JAX in float64, recorded once in gradients.json (JAX 0.10.2).

The model is the toy of interference_test.go: prediction = tanh(x A) C, task k the squared error of output k, with
numbers that both sides compute from sines.
"""
import json
import pathlib

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)


def sines(rows, columns, phase):
    return jnp.sin(phase + jnp.arange(rows * columns, dtype=jnp.float64) * 1.7).reshape(rows, columns)


x, y, hidden, readout = sines(12, 5, 0.1), sines(12, 3, 0.2), sines(5, 4, 0.3), sines(4, 3, 0.4)


def loss(weights, task):
    return jnp.mean(((jnp.tanh(x @ weights[0]) @ weights[1])[:, task] - y[:, task]) ** 2)


rows = [jnp.concatenate([g.ravel() for g in jax.grad(loss)((hidden, readout), task)]) for task in range(3)]
g = jnp.stack(rows)
gram = g @ g.T
norm = jnp.sqrt(jnp.diag(gram))
record = {"gram": gram.tolist(), "cosine": (gram / norm[:, None] / norm[None, :]).tolist()}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
