# Makes smollm2.json and minilm.json beside this file: both models in NumPy, in float64, from the same weights.
#   python record.py SmolLM2-135M-Instruct.Q4_1.gguf FOLDER_OF_MINILM
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
from gguf_numpy import read_gguf

here = Path(__file__).parent
encodings = json.loads((here.parent / "tokenizers" / "models.json").read_text())


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def llama(meta, w, ids):
    """Logits [T, V]."""
    heads, kv = meta["llama.attention.head_count"], meta["llama.attention.head_count_kv"]
    size = meta["llama.embedding_length"] // heads
    T = len(ids)
    norm = lambda x, g: x / np.sqrt((x * x).mean(-1, keepdims=True) + meta["llama.attention.layer_norm_rms_epsilon"]) * g
    angle = np.outer(np.arange(T), meta["llama.rope.freq_base"] ** (-np.arange(0, size, 2) / size))

    def turn(x):   # [T, heads, size] as complex numbers of adjacent features: GGUF's order of rows
        z = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)[:, None]
        return np.stack([z.real, z.imag], -1).reshape(x.shape)

    x = w["token_embd.weight"][ids].astype(np.float64)
    for l in range(meta["llama.block_count"]):
        g = lambda name: w[f"blk.{l}.{name}.weight"].astype(np.float64)
        h = norm(x, g("attn_norm"))
        q = turn((h @ g("attn_q").T).reshape(T, heads, size))
        k = turn((h @ g("attn_k").T).reshape(T, kv, size))
        v = (h @ g("attn_v").T).reshape(T, kv, size)
        k, v = np.repeat(k, heads // kv, 1), np.repeat(v, heads // kv, 1)
        s = np.einsum("tha,sha->hts", q, k) / math.sqrt(size)
        s[:, np.triu(np.ones((T, T), bool), 1)] = -np.inf
        x = x + np.einsum("hts,sha->tha", softmax(s), v).reshape(T, -1) @ g("attn_output").T
        h = norm(x, g("ffn_norm"))
        a = h @ g("ffn_gate").T
        x = x + (a / (1 + np.exp(-a)) * (h @ g("ffn_up").T)) @ g("ffn_down").T
    return norm(x, w["output_norm.weight"]) @ w["token_embd.weight"].astype(np.float64).T


def safetensors(path):
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, e in json.loads(data[8:8 + n]).items():
        if name != "__metadata__" and e["dtype"] == "F32":
            a, b = e["data_offsets"]
            out[name] = np.frombuffer(data[8 + n + a:8 + n + b], "<f4").reshape(e["shape"]).astype(np.float64)
    return out


def bert(w, ids, heads=12):
    """The embedding: mean over tokens, of length 1."""
    def norm(x, p):
        m = x - x.mean(-1, keepdims=True)
        return m / np.sqrt((m * m).mean(-1, keepdims=True) + 1e-12) * w[p + ".weight"] + w[p + ".bias"]
    lin = lambda x, p: x @ w[p + ".weight"].T + w[p + ".bias"]
    T = len(ids)
    e = "embeddings."
    x = norm(w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][:T] + w[e + "token_type_embeddings.weight"][0],
             e + "LayerNorm")
    erf = np.vectorize(math.erf)
    for l in range(6):
        p = f"encoder.layer.{l}."
        q, k, v = (lin(x, p + "attention.self." + n).reshape(T, heads, -1) for n in ("query", "key", "value"))
        s = softmax(np.einsum("tha,sha->hts", q, k) / math.sqrt(q.shape[-1]))
        x = norm(x + lin(np.einsum("hts,sha->tha", s, v).reshape(T, -1), p + "attention.output.dense"), p + "attention.output.LayerNorm")
        h = lin(x, p + "intermediate.dense")
        x = norm(x + lin(h * 0.5 * (1 + erf(h / math.sqrt(2))), p + "output.dense"), p + "output.LayerNorm")
    m = x.mean(0)
    return m / np.sqrt((m * m).sum())


meta, w = read_gguf(sys.argv[1])
cases = []
for c in [c for c in encodings["smollm2"] if 2 <= len(c["ids"]) <= 30][:4]:
    logits = llama(meta, w, c["ids"])
    last = logits[-1]
    p = np.log(softmax(logits[:-1]))
    at = list(range(0, len(last), 997)) + [int(i) for i in np.argsort(-last)[:8]]
    cases.append({"ids": c["ids"], "at": at, "logits": [round(float(last[i]), 6) for i in at],
                  "log_likelihood": round(float(sum(p[t, i] for t, i in enumerate(c["ids"][1:]))), 6)})
ids = list(cases[0]["ids"])
for _ in range(8): ids.append(int(llama(meta, w, ids)[-1].argmax()))
(here / "smollm2.json").write_text(json.dumps({"cases": cases, "greedy": ids}))

w = safetensors(Path(sys.argv[2]) / "model.safetensors")
picked = [c for c in encodings["minilm"] if 3 <= len(c["ids"]) <= 40][:5]
(here / "minilm.json").write_text(json.dumps([{"text": c["text"], "embedding": [round(float(v), 7) for v in bert(w, c["ids"])]} for c in picked]))
