"""The peer in JAX.

Program jax is the sweep as people write it: vmap over seeds, lax.scan over steps, jit, one program for each width, and
every sample's prediction by all K decoders, of which its own is kept. Program jax-tiles is our algorithm in JAX: one
program and one batch for all widths, the batch sorted by task and cut into pairs of a tile and a task (package mixture). It has
no program for a language.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax


class Trainer:
    def __init__(self, case, program):
        self.case, self.version = case, f"jax {jax.__version__}, optax {optax.__version__}"
        initial = jax.tree.map(jnp.asarray, case.initial())
        # A group is what one program trains: a width with its seeds, or all widths.
        build = {
            ("regression", "jax"): train_width,
            ("regression", "jax-tiles"): train_tiles,
            ("parity", "jax"): train_parity,
            ("parity", "jax-tiles"): train_parity_own,
            ("language", "jax"): train_language,
        }[case.family, program]
        self.groups = [initial] if program == "jax-tiles" else [[weights] for weights in initial]
        begin = time.perf_counter()
        self.programs = [jax.jit(build(case)).lower(weights, self.key(0)).compile() for weights in self.groups]
        self.compile_seconds = time.perf_counter() - begin

    def key(self, round):
        """The key of the data: one stream for all seeds, or one for each."""
        if self.case.shared:
            return jax.random.key(round)
        return jax.vmap(jax.random.key)(round * self.case.seeds + jnp.arange(self.case.seeds))

    def train(self, round, clock):
        losses, final = [], []
        for weights, program in zip(self.groups, self.programs):
            with clock:
                trained, loss = jax.block_until_ready(program(weights, self.key(round)))
            final += [{name: np.asarray(v) for name, v in w.items()} for w in trained]
            losses += np.asarray(loss).T.ravel().tolist()  # [seeds, widths] to widths x seeds
        return losses, final


def optimizer(case):
    """AdamW after clipping, for t = 1, 2, … at rate·t/warmup until that is rate, and then at rate (constant), rate·sqrt(warmup/t), or
    along a cosine that ends at floor·rate with the whole training."""

    def rate(count):
        t = count + 1.0
        if case.schedule == "constant":
            fall = 1.0
        elif case.schedule == "cosine":
            cosine = (1 + jnp.cos(jnp.pi * (t - case.warmup) / (case.all_steps - case.warmup))) / 2
            fall = jnp.where(t < case.warmup, 1.0, case.floor + (1 - case.floor) * cosine)
        else:
            fall = jnp.sqrt(case.warmup / t)
        return case.rate * jnp.minimum(t / case.warmup, fall)

    clip = [optax.clip_by_global_norm(case.clip)] if case.clip > 0 else []
    moments = dict(b1=case.betas[0], b2=case.betas[1], eps=case.epsilon)
    adam = optax.adamw(rate, weight_decay=case.decay, **moments) if case.decay > 0 else optax.adam(rate, **moments)
    return optax.chain(*clip, adam)


def scan(case, draw, losses):
    """Returns train(weights, key): case.steps steps of one run of each width in weights; losses(weights, batch) holds
    the loss of each width."""
    tx = optimizer(case)

    def train(weights, key):
        def step(carry, i):
            weights, states = carry
            batch = draw(jax.random.fold_in(key, i))

            def total(weights):
                loss = losses(weights, batch)
                return loss.sum(), loss

            gradients, loss = jax.grad(total, has_aux=True)(weights)
            pairs = [tx.update(g, s, w) for g, s, w in zip(gradients, states, weights)]
            weights = [optax.apply_updates(w, update) for w, (update, _) in zip(weights, pairs)]
            return (weights, [state for _, state in pairs]), loss

        (weights, _), loss = jax.lax.scan(step, (weights, [tx.init(w) for w in weights]), jnp.arange(case.steps))
        return weights, loss[case.since :].mean(0)

    return jax.vmap(train, in_axes=(0, None if case.shared else 0))


def blocks(case):
    """What a task's target is made of: each task's coordinates of x, and their amplitudes."""
    amplitude = jnp.asarray(case.amplitude, jnp.float32)
    tasks, block = amplitude.shape
    return amplitude, lambda x: x[:, : tasks * block].reshape(-1, tasks, block)


def train_width(case):
    amplitude, own_block = blocks(case)
    tasks, frequency = len(amplitude), jnp.asarray(case.frequency, jnp.float32)

    def draw(key):
        key_task, key_x = jax.random.split(key)
        task = jax.random.choice(key_task, tasks, (case.batch,), p=frequency)
        x = jax.random.normal(key_x, (case.batch, case.dim))
        y = amplitude[task] * jnp.take_along_axis(own_block(x), task[:, None, None], axis=1)[:, 0]
        return x, task, y

    def losses(weights, batch):
        x, task, y = batch
        h = x @ weights[0]["encoder"].T
        predictions = jnp.einsum("bn,kon->bko", h, weights[0]["decoder"])
        own = jnp.einsum("bko,bk->bo", predictions, jax.nn.one_hot(task, tasks))
        return jnp.mean((own - y) ** 2)[None]

    return scan(case, draw, losses)


def train_tiles(case):
    amplitude, own_block = blocks(case)
    tasks, rows = len(amplitude), max(r for r in range(1, 17) if case.batch % r == 0)
    tiles = case.batch // rows
    cumulative = jnp.cumsum(jnp.asarray(case.frequency, jnp.float32)).at[-1].set(1.0)

    def draw(key):
        key_task, key_x = jax.random.split(key)
        u = jax.random.uniform(key_task, (case.batch,))
        end = (u[:, None] < cumulative).sum(0)
        begin = jnp.concatenate([jnp.zeros(1, end.dtype), end[:-1]])
        between = lambda v, a, b: ((v[:, None] >= a) & (v[:, None] < b)).astype(jnp.float32)
        one_hot = between(jnp.arange(case.batch), begin, end)
        x = jax.random.normal(key_x, (case.batch, case.dim))
        y = jnp.einsum("bko,bk,ko->bo", own_block(x), one_hot, amplitude)

        first, last = begin // rows, (end - 1) // rows
        pair_end = jnp.cumsum(jnp.where(end > begin, last - first + 1, 0))
        pair_begin = jnp.concatenate([jnp.zeros(1, pair_end.dtype), pair_end[:-1]])
        pair = jnp.arange(tiles + tasks - 1)
        pair_task = between(pair, pair_begin, pair_end)
        pick = lambda v: (pair_task * v).sum(1)
        tile = jnp.where(pair < pair_end[-1], pick(first) + pair - pick(pair_begin), -2 * tiles)
        pair_tile = (tile[:, None] == jnp.arange(tiles)).astype(jnp.float32)
        row = tile[:, None] * rows + jnp.arange(rows)
        mask = ((row >= pick(begin)[:, None]) & (row < pick(end)[:, None])).astype(jnp.float32)
        return x, y, pair_tile, pair_task, mask

    def losses(weights, batch):
        x, y, pair_tile, pair_task, mask = batch
        of_pairs = lambda v: (pair_tile @ v.reshape(tiles, -1)).reshape(-1, rows, v.shape[-1])
        target, all_losses = of_pairs(y), []
        for w in weights:
            decoder = jnp.einsum("pk,kon->pon", pair_task, w["decoder"])
            prediction = jnp.einsum("prn,pon->pro", of_pairs(x @ w["encoder"].T), decoder)
            all_losses.append((((prediction - target) ** 2).mean(-1) * mask).sum() / case.batch)
        return jnp.stack(all_losses)

    return scan(case, draw, losses)


def draw_parity(case):
    """Draws bits, 0 or 1, tasks and the parity of each task's own bits."""
    subsets, frequency = jnp.asarray(case.subsets), jnp.asarray(case.frequency, jnp.float32)

    def draw(key):
        key_task, key_bits = jax.random.split(key)
        task = jax.random.choice(key_task, len(subsets), (case.batch,), p=frequency)
        bits = jax.random.bernoulli(key_bits, shape=(case.batch, case.dim)).astype(jnp.float32)
        label = jnp.take_along_axis(bits, subsets[task], axis=1).sum(1).astype(jnp.int32) % 2
        return bits, task, label

    return draw


def loss_parity(w, h, label):
    """The cross-entropy in bits of a readout of the hidden layer."""
    logits = jax.nn.relu(h) @ w["readout"].T + w["readout_bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean() / jnp.log(2.0)


def train_parity(case):
    def losses(weights, batch):
        (w,), (bits, task, label) = weights, batch
        x = jnp.concatenate([bits, jax.nn.one_hot(task, len(case.subsets))], axis=1)
        return loss_parity(w, x @ w["weight1"].T + w["bias1"], label)[None]

    return scan(case, draw_parity(case), losses)


def train_parity_own(case):
    """The code's part of the first layer is a choice of a column, and one batch serves all widths."""

    def losses(weights, batch):
        bits, task, label = batch
        all_losses = []
        for w in weights:
            code = w["weight1"][:, case.dim :].T[task]
            all_losses.append(loss_parity(w, bits @ w["weight1"][:, : case.dim].T + code + w["bias1"], label))
        return jnp.stack(all_losses)

    return scan(case, draw_parity(case), losses)


def draw_windows(case):
    """Draws windows token after token, each by the distribution that the one before it says, and puts instances of the novel task in
    the place of the first four tokens of some."""
    language = case.language
    cumulative, instances = jnp.asarray(language.cumulative, jnp.float32), jnp.asarray(language.instances)

    def draw(key):
        key_tokens, key_instances = jax.random.split(key)

        def next_token(token, u):
            token = (u[:, None] >= cumulative[token]).sum(1)
            return token, token

        first = jnp.full(case.batch, len(cumulative) - 1)
        _, tokens = jax.lax.scan(next_token, first, jax.random.uniform(key_tokens, (language.window, case.batch)))
        novel = jax.random.choice(key_instances, instances, (language.injected,))
        return tokens.T.at[: language.injected, :4].set(novel)

    return draw


def logits(language, w, tokens):
    """The logits of the token after each of tokens [B, L]: [B, L, V]."""
    width, (batch, length) = w["embedding"].shape[1], tokens.shape
    head = min(language.head, width)
    angle = np.arange(length)[:, None, None] * language.theta ** (-2 * np.arange(head // 2) / head)
    cosine, sine = jnp.asarray(np.cos(angle), jnp.float32), jnp.asarray(np.sin(angle), jnp.float32)

    def rotate(v):
        first, second = jnp.split(v, 2, axis=-1)
        return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)

    def attention(v, l):
        qkv = v @ w[f"qkv{l}"].T
        if language.clip > 0:
            qkv = jnp.clip(qkv, -language.clip, language.clip)
        q, k, v = jnp.split(qkv.reshape(batch, length, -1, head), 3, axis=2)
        mixed = jax.nn.dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        return mixed.reshape(batch, length, width) @ w[f"out{l}"].T

    def mlp(v, l):
        up, gate = jnp.split(v @ w[f"up_gate{l}"].T, 2, axis=-1)
        return (jax.nn.silu(gate) * up) @ w[f"down{l}"].T

    norm = lambda v: jax.nn.standardize(v, axis=-1, epsilon=language.epsilon)
    stream = w["embedding"][tokens]
    for l in range(1, language.layers + 1):
        stream += attention(norm(stream), l)
        stream += mlp(norm(stream), l)
    return norm(stream) @ w["readout"].T


def loss_language(language, w, windows):
    """The mean cross-entropy, in nats, of the tokens of windows [B, L] that follow others."""
    prediction = logits(language, w, windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(prediction, windows[:, 1:]).mean()


def train_language(case):
    return scan(case, draw_windows(case), lambda weights, windows: loss_language(case.language, weights[0], windows)[None])
