"""What the peers' decoders make of given weights and windows of tokens, for language_test.go.

Usage: decoders.py PEERS, the folder of peer.py. Standard input is a JSON object: the case as peers are told of it, whose file of initial
values holds the weights, and the windows. The answer has, of each peer and width, the logits [S, B, L-1, V], the losses [S] and the
gradients of their sum, by weight.
"""

import json
import sys

import numpy as np

sys.path.append(sys.argv[1])
import jax
import peer_jax
import peer_torch
import torch
from peer import Case


def of_jax(language, weights, windows):
    def total(weights):
        losses = jax.vmap(lambda w: peer_jax.loss_language(language, w, windows))(weights)
        return losses.sum(), losses

    gradients, losses = jax.grad(total, has_aux=True)(weights)
    return jax.vmap(lambda w: peer_jax.logits(language, w, windows[:, :-1]))(weights), losses, gradients


def of_torch(language, weights, windows):
    weights = {name: torch.from_numpy(v).requires_grad_() for name, v in weights.items()}
    windows = torch.from_numpy(windows)[None]
    losses = peer_torch.windows_loss(language, weights, windows)
    losses.sum().backward()
    with torch.no_grad():
        logits = peer_torch.logits(language, weights, windows[..., :-1])
    return logits, losses.detach(), {name: w.grad for name, w in weights.items()}


request = json.load(sys.stdin)
case, windows = Case(request["case"]), np.array(request["windows"])
flat = lambda v: np.asarray(v).ravel().tolist()
answer = {}
for name, evaluate in [("jax", of_jax), ("torch", of_torch)]:
    answer[name] = []
    for weights in case.initial():
        logits, losses, gradients = evaluate(case.language, weights, windows)
        answer[name].append({"logits": flat(logits), "losses": flat(losses), "gradients": {n: flat(g) for n, g in gradients.items()}})
print(json.dumps(answer))
