"""PyTorch's times of the cases of gpu_bench.cpp, the same sizes, one JSON line a case. ./gradus gpu runs it where PyTorch sees the GPU."""
import json

import torch
import torch.nn.functional as F

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
n, rows, C, M, pictures, side, channels = 1 << 26, 8192, 4096, 4096, 64, 56, 128


def randn(*shape):
    return torch.randn(*shape, device="cuda")


def backward(f, *inputs):
    leaves = [x.requires_grad_() for x in inputs]
    y = f(*leaves)
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def adamw():
    params = [randn(n // 256).requires_grad_() for _ in range(64)]
    for p in params:
        p.grad = torch.randn_like(p)
    return torch.optim.AdamW(params, fused=True).step


CASES = {
    "add": lambda: (lambda x, y: lambda: x + y)(randn(n), randn(n)),
    "add-row": lambda: (lambda x, y: lambda: x + y)(randn(rows, C), randn(C)),
    "gelu": lambda: (lambda x: lambda: F.gelu(x))(randn(n)),
    "transpose": lambda: (lambda x: lambda: x.t().clone(memory_format=torch.contiguous_format))(randn(rows, C)),
    "dropout": lambda: (lambda x: lambda: F.dropout(x, 0.5))(randn(n)),
    "sum": lambda: (lambda x: lambda: x.sum())(randn(n)),
    "sum-rows": lambda: (lambda x: lambda: x.sum(1))(randn(rows, C)),
    "softmax": lambda: (lambda x: lambda: F.softmax(x, -1))(randn(rows, C)),
    "softmax-bwd": lambda: backward(lambda x: F.softmax(x, -1), randn(rows, C)),
    "layer-norm": lambda: (lambda x, w, b: lambda: F.layer_norm(x, (C,), w, b))(randn(rows, C), randn(C), randn(C)),
    "cross-entropy": lambda: (lambda x, t: lambda: F.cross_entropy(x, t))(randn(rows, C), torch.randint(0, C, (rows,), device="cuda")),
    "matmul": lambda: (lambda x, y: lambda: x @ y)(randn(M, M), randn(M, M)),
    "conv": lambda: (lambda x, w: lambda: F.conv2d(x, w, padding=1))(randn(pictures, channels, side, side), randn(channels, channels, 3, 3)),
    "conv-bwd": lambda: backward(lambda x, w: F.conv2d(x, w, padding=1), randn(pictures, channels, side, side), randn(channels, channels, 3, 3)),
    "max-pool": lambda: (lambda x: lambda: F.max_pool2d(x, 2, return_indices=True))(randn(pictures, channels, side, side)),
    "adamw": adamw,
    "gather-rows": lambda: (lambda x, i: lambda: x.index_select(0, i))(randn(rows, C), torch.randint(0, rows, (rows,), device="cuda")),
    "sort-rows": lambda: (lambda x: lambda: x.sort(-1))(randn(rows, C)),
}


def milliseconds(f):
    f()
    torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def sample(calls):
        begin.record()
        for _ in range(calls):
            f()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / calls

    calls = min(max(int(10 / max(sample(1), 1e-3)), 1), 200)
    return min(sample(calls) for _ in range(20))


for name, make in CASES.items():
    print(json.dumps({"case": name, "device": "torch", "kernel": torch.__version__, "ms": milliseconds(make())}), flush=True)
    torch.cuda.empty_cache()
