"""Reference values of the classes of OLMo and OLMo 2 in Hugging Face's transformers, for transformer_test.go:

    pip install torch transformers
    python olmo.py > olmo.json

Weights are made by a formula that the test knows, so that only what comes of them is kept: some logits, the loss, and of the gradient of
each of our arrays its norm and first numbers.
"""

import json

import numpy as np
import torch
from transformers import Olmo2Config, Olmo2ForCausalLM, OlmoConfig, OlmoForCausalLM

CASES = {
    "olmo": dict(block="olmo", layers=2, width=32, head=8, group=1, mlp=96, vocabulary=50, window=9, theta=10000.0, clip=8.0, tied=False),
    "olmo, clipped": dict(block="olmo", layers=2, width=24, head=12, group=1, mlp=64, vocabulary=37, window=11, theta=10000.0, clip=0.02, tied=False),
    "olmo, not clipped, tied": dict(block="olmo", layers=3, width=16, head=16, group=1, mlp=40, vocabulary=64, window=7, theta=500.0, clip=0.0, tied=True),
    "olmo, grouped queries": dict(block="olmo", layers=1, width=48, head=8, group=3, mlp=64, vocabulary=33, window=12, theta=10000.0, clip=8.0, tied=False),
    "olmo2": dict(block="olmo2", layers=2, width=32, head=8, group=1, mlp=96, vocabulary=50, window=9, theta=500000.0, clip=0.0, tied=False),
    "olmo2, grouped queries, tied": dict(block="olmo2", layers=3, width=40, head=10, group=2, mlp=50, vocabulary=41, window=13, theta=500000.0, clip=0.0, tied=True),
    "olmo2, long window": dict(block="olmo2", layers=1, width=16, head=4, group=4, mlp=32, vocabulary=29, window=300, theta=10000.0, clip=0.0, tied=False),
    "olmo, long window": dict(block="olmo", layers=4, width=8, head=2, group=1, mlp=16, vocabulary=31, window=257, theta=10000.0, clip=1.0, tied=False),
}


def numbers(array, count):
    """The numbers of the array-th array: a hash of array and index, uniform in -1 … 1."""
    h = np.arange(count, dtype=np.uint64) + np.uint64(array * 1000003)
    h = (h * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(0x85EBCA77)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    return (h.astype(np.float64) / 2**31 - 1).astype(np.float32)


def build(c):
    olmo2 = c["block"] == "olmo2"
    heads = c["width"] // c["head"]
    settings = dict(vocab_size=c["vocabulary"], hidden_size=c["width"], intermediate_size=c["mlp"] // 2, num_hidden_layers=c["layers"],
                    num_attention_heads=heads, num_key_value_heads=heads // c["group"], max_position_embeddings=c["window"],
                    rope_theta=c["theta"], tie_word_embeddings=c["tied"], pad_token_id=None, eos_token_id=0, bos_token_id=0, attn_implementation="eager")
    if olmo2:
        model = Olmo2ForCausalLM(Olmo2Config(rms_norm_eps=1e-5, **settings))
    else:
        model = OlmoForCausalLM(OlmoConfig(clip_qkv=c["clip"] or None, **settings))
    keys = c["width"] // c["group"]
    parts = {"embedding": [("model.embed_tokens", c["vocabulary"])]}
    for l in range(c["layers"]):
        at = f"model.layers.{l}."
        parts[f"qkv{l+1}"] = [(at + "self_attn.q_proj", c["width"]), (at + "self_attn.k_proj", keys), (at + "self_attn.v_proj", keys)]
        parts[f"out{l+1}"] = [(at + "self_attn.o_proj", c["width"])]
        parts[f"up_gate{l+1}"] = [(at + "mlp.up_proj", c["mlp"] // 2), (at + "mlp.gate_proj", c["mlp"] // 2)]
        parts[f"down{l+1}"] = [(at + "mlp.down_proj", c["width"])]
        if olmo2:
            parts[f"query_norm{l+1}"] = [(at + "self_attn.q_norm", c["width"])]
            parts[f"key_norm{l+1}"] = [(at + "self_attn.k_norm", keys)]
            parts[f"attention_norm{l+1}"] = [(at + "post_attention_layernorm", c["width"])]
            parts[f"mlp_norm{l+1}"] = [(at + "post_feedforward_layernorm", c["width"])]
    if olmo2:
        parts["norm"] = [("model.norm", c["width"])]
    if not c["tied"]:
        parts["readout"] = [("lm_head", c["vocabulary"])]
    return model, parts


def main():
    out = {}
    for name, c in CASES.items():
        model, parts = build(c)
        weights = dict(model.named_parameters())
        for i, (own, modules) in enumerate(parts.items()):
            tensors = [weights[m + ".weight"] for m, _ in modules]
            values = torch.tensor(numbers(i, sum(t.numel() for t in tensors)))
            gain = tensors[0].dim() == 1
            for t in tensors:
                with torch.no_grad():
                    t.copy_((1 + values[:t.numel()] / 4 if gain else values[:t.numel()] / 3).reshape(t.shape))
                values = values[t.numel():]
        assert sum(len(m) for m in parts.values()) == len(weights), (set(weights), parts)
        tokens = (torch.arange(2 * c["window"]) * 7919 % 104729 % c["vocabulary"]).reshape(2, c["window"])
        logits = model(tokens[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, c["vocabulary"]), tokens[:, 1:].reshape(-1))
        loss.backward()
        gradients = {}
        for own, modules in parts.items():
            g = torch.cat([weights[m + ".weight"].grad.flatten() for m, _ in modules])
            gradients[own] = [round(float(v), 9) for v in [g.norm(), *g[:3], *g[-2:]]]
        shown = torch.cat([logits[0, 0, :5], logits[0, -1, -5:], logits[1, c["window"] // 2, :5], logits[1, -1, :5]])
        out[name] = dict(settings=c, parameters=sum(w.numel() for w in weights.values()), loss=float(loss),
                         logits=[round(float(v), 7) for v in shown], gradients=gradients)
    print(json.dumps(out, indent=1))


main()
