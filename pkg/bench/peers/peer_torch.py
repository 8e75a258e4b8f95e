"""The peer in PyTorch.

The runs of a width are stacked: one product serves all seeds, AdamW works on the stacked arrays, and each run's gradient is
clipped by its own norm. Every sample's prediction is made by all K decoders, of which its own is gathered. Program
torch-compile draws the batch and computes the loss, and its gradient, in one compiled function.
"""

import math
import time

import torch


class Trainer:
    def __init__(self, case, program):
        torch.set_num_threads(case.threads)
        torch.set_float32_matmul_precision("highest")
        self.case, self.version = case, f"torch {torch.__version__}"
        self.initial = [{name: torch.from_numpy(v) for name, v in w.items()} for w in case.initial()]
        build = parity_losses if case.coded else losses
        self.loss = [build(case) for _ in self.initial]
        self.compile_seconds = 0.0
        if program == "torch-compile":
            torch.compiler.reset()
            self.loss = [torch.compile(f, dynamic=False, fullgraph=True) for f in self.loss]
            begin = time.perf_counter()
            for weights, loss in zip(self.initial, self.loss):  # the first step compiles
                train(case, loss, weights, 1)
            self.compile_seconds = time.perf_counter() - begin

    def train(self, round, clock):
        torch.manual_seed(round)
        every, final = [], []
        for weights, loss in zip(self.initial, self.loss):
            with clock:
                trained, mean = train(self.case, loss, weights, self.case.steps)
            final.append({name: v.detach().numpy() for name, v in trained.items()})
            every += mean.tolist()
        return every, final


def losses(case):
    """Returns loss(encoder [S, N, D], decoder [S, K, O, N]): the losses [S] of a fresh batch."""
    amplitude, frequency = torch.tensor(case.amplitude), torch.tensor(case.frequency)
    tasks, block = amplitude.shape
    cumulative = torch.cumsum(frequency, 0)
    streams = 1 if case.shared else case.seeds

    def loss(encoder, decoder):
        seeds, width = encoder.shape[:2]
        task = torch.searchsorted(cumulative, torch.rand(streams, case.batch)).clamp(max=tasks - 1)
        x = torch.randn(streams, case.batch, case.dim)
        index = task[..., None, None].expand(-1, -1, 1, block)
        own = x[..., : tasks * block].reshape(streams, case.batch, tasks, block).gather(2, index)[:, :, 0]
        y = amplitude[task] * own
        if case.shared:
            h = (x[0] @ encoder.view(seeds * width, case.dim).T).view(case.batch, seeds, width).transpose(0, 1)
        else:
            h = torch.bmm(x, encoder.transpose(1, 2))
        every = torch.bmm(h, decoder.view(seeds, tasks * block, width).transpose(1, 2))
        every = every.view(seeds, case.batch, tasks, block)
        prediction = every.gather(2, index.expand(seeds, -1, -1, -1))[:, :, 0]
        return ((prediction - y) ** 2).mean((1, 2))

    return loss


def parity_losses(case):
    """Returns loss of the weights of a net with one hidden layer: the losses [S], in bits, of a fresh batch."""
    subsets, cumulative = torch.tensor(case.subsets), torch.cumsum(torch.tensor(case.frequency), 0)
    tasks, streams = len(subsets), 1 if case.shared else case.seeds

    def loss(weight1, bias1, readout, readout_bias):
        seeds, width = weight1.shape[:2]
        task = torch.searchsorted(cumulative, torch.rand(streams, case.batch)).clamp(max=tasks - 1)
        bits = torch.randint(0, 2, (streams, case.batch, case.dim)).float()
        label = bits.gather(2, subsets[task]).sum(2).long() % 2
        x = torch.cat([bits, torch.nn.functional.one_hot(task, tasks).float()], 2)
        if case.shared:
            h = (x[0] @ weight1.view(seeds * width, -1).T).view(case.batch, seeds, width).transpose(0, 1)
        else:
            h = torch.bmm(x, weight1.transpose(1, 2))
        h = torch.relu(h + bias1[:, None])
        logits = torch.bmm(h, readout.transpose(1, 2)) + readout_bias[:, None]
        label = label.expand(seeds, -1)
        entropy = torch.nn.functional.cross_entropy(logits.flatten(0, 1), label.flatten(), reduction="none")
        return entropy.view(seeds, -1).mean(1) / math.log(2)

    return loss


def train(case, losses, initial, steps):
    weights = {name: v.clone().requires_grad_() for name, v in initial.items()}
    parameters = list(weights.values())
    optimizer = torch.optim.AdamW(parameters, lr=case.rate, weight_decay=case.decay, fused=True)
    fall = (lambda t: 1.0) if case.schedule == "constant" else (lambda t: (case.warmup / (t + 1)) ** 0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min((t + 1) / case.warmup, fall(t)))
    total = torch.zeros(case.seeds)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = losses(**weights)
        loss.sum().backward()
        if case.clip > 0:
            clip(parameters, case.clip)
        optimizer.step()
        schedule.step()
        total += loss.detach()
    return weights, total / steps


@torch.no_grad()
def clip(parameters, limit):
    """Scales the gradient of each run, the leading axis, to a norm of at most limit."""
    norm = torch.stack([p.grad.flatten(1).norm(dim=1) for p in parameters]).norm(dim=0)
    scale = (limit / (norm + 1e-6)).clamp(max=1)
    for p in parameters:
        p.grad.mul_(scale.view(-1, *[1] * (p.dim() - 1)))
