"""The peer in PyTorch.

The runs of a width are stacked: one product serves all seeds, AdamW works on the stacked arrays, and each run's gradient is
clipped by its own norm. Every sample's prediction is made by all K decoders, of which its own is gathered. Program
torch-compile draws the batch and computes the loss, and its gradient, in one compiled function.
"""

import math
import time

import torch
from torch.nn import functional


class Trainer:
    def __init__(self, case, program):
        torch.set_num_threads(case.threads)
        torch.set_float32_matmul_precision("highest")
        self.case, self.version = case, f"torch {torch.__version__}"
        self.initial = [{name: torch.from_numpy(v) for name, v in w.items()} for w in case.initial()]
        build = {"regression": losses, "parity": parity_losses, "language": language_losses}[case.family]
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
        x = torch.cat([bits, functional.one_hot(task, tasks).float()], 2)
        if case.shared:
            h = (x[0] @ weight1.view(seeds * width, -1).T).view(case.batch, seeds, width).transpose(0, 1)
        else:
            h = torch.bmm(x, weight1.transpose(1, 2))
        h = torch.relu(h + bias1[:, None])
        logits = torch.bmm(h, readout.transpose(1, 2)) + readout_bias[:, None]
        label = label.expand(seeds, -1)
        entropy = functional.cross_entropy(logits.flatten(0, 1), label.flatten(), reduction="none")
        return entropy.view(seeds, -1).mean(1) / math.log(2)

    return loss


def draw_windows(case):
    """Returns draw(): windows [S, B, L], or [1, B, L] for all seeds, token after token, each by the distribution that the one before it
    says, with instances of the novel task in the place of the first four tokens of some."""
    language, streams = case.language, 1 if case.shared else case.seeds
    cumulative, instances = torch.tensor(language.cumulative), torch.tensor(language.instances)

    def draw():
        token, tokens = torch.full((streams, case.batch), len(cumulative) - 1), []
        for u in torch.rand(language.window, streams, case.batch, 1):
            token = torch.searchsorted(cumulative[token], u, right=True)[..., 0]
            tokens.append(token)
        windows = torch.stack(tokens, 2)
        windows[:, : language.injected, :4] = instances[torch.randint(len(instances), (streams, language.injected))]
        return windows

    return draw


def logits(language, w, tokens):
    """The logits of the token after each of tokens [S, B, L], or [1, B, L], by stacked weights: [S, B, L, V]."""
    seeds, vocabulary, width = w["embedding"].shape
    batch, length = tokens.shape[1:]
    head = min(language.head, width)
    angle = torch.arange(length).double()[:, None] * language.theta ** (-2 * torch.arange(head // 2).double() / head)
    cosine, sine = angle.cos().float(), angle.sin().float()

    def linear(v, name):
        return torch.bmm(v, w[name].transpose(1, 2))

    def rotate(v):
        first, second = v.chunk(2, -1)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)

    def attention(v, l):
        qkv = linear(v, f"qkv{l}")
        if language.clip > 0:
            qkv = qkv.clamp(-language.clip, language.clip)
        q, k, v = qkv.view(seeds * batch, length, 3, width // head, head).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        return linear(mixed.transpose(1, 2).reshape(seeds, batch * length, width), f"out{l}")

    def mlp(v, l):
        up, gate = linear(v, f"up_gate{l}").chunk(2, -1)
        return linear(functional.silu(gate) * up, f"down{l}")

    def norm(v):
        return functional.layer_norm(v, (width,), eps=language.epsilon)

    own = tokens.flatten(1) + vocabulary * torch.arange(seeds)[:, None]
    stream = functional.embedding(own, w["embedding"].flatten(0, 1))
    for l in range(1, language.layers + 1):
        stream = stream + attention(norm(stream), l)
        stream = stream + mlp(norm(stream), l)
    return linear(norm(stream), "readout").view(seeds, batch, length, -1)


def windows_loss(language, weights, windows):
    """The mean cross-entropy [S], in nats, of the tokens of windows that follow others."""
    prediction = logits(language, weights, windows[..., :-1])
    target = windows[..., 1:].expand(len(prediction), -1, -1)
    entropy = functional.cross_entropy(prediction.flatten(0, 2), target.flatten(), reduction="none")
    return entropy.view(len(prediction), -1).mean(1)


def language_losses(case):
    """Returns loss of the weights of a decoder: the losses [S] of a fresh batch."""
    draw = draw_windows(case)
    return lambda **weights: windows_loss(case.language, weights, draw())


def share(case, t):
    """The share of the peak rate that step t = 1, 2, … has."""
    rise = t / case.warmup
    if case.schedule == "constant":
        return min(rise, 1.0)
    if case.schedule == "cosine":
        fall = (1 + math.cos(math.pi * (t - case.warmup) / (case.all_steps - case.warmup))) / 2
        return rise if rise < 1 else case.floor + (1 - case.floor) * fall
    return min(rise, (case.warmup / t) ** 0.5)


def train(case, losses, initial, steps):
    weights = {name: v.clone().requires_grad_() for name, v in initial.items()}
    parameters = list(weights.values())
    optimizer = torch.optim.AdamW(parameters, lr=case.rate, betas=case.betas, eps=case.epsilon, weight_decay=case.decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: share(case, t + 1))
    every = torch.zeros(steps, case.seeds)
    for i in range(steps):
        optimizer.zero_grad()
        loss = losses(**weights)
        loss.sum().backward()
        if case.clip > 0:
            clip(parameters, case.clip)
        optimizer.step()
        schedule.step()
        every[i] = loss.detach()
    return weights, every[case.since :].mean(0)


@torch.no_grad()
def clip(parameters, limit):
    """Scales the gradient of each run, the leading axis, to a norm of at most limit."""
    norm = torch.stack([p.grad.flatten(1).norm(dim=1) for p in parameters]).norm(dim=0)
    scale = (limit / (norm + 1e-6)).clamp(max=1)
    for p in parameters:
        p.grad.mul_(scale.view(-1, *[1] * (p.dim() - 1)))
