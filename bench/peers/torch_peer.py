#!/usr/bin/env python3
"""PyTorch beside gradus_bench, case by case, in one interleaved run.

    ./gradus bench --peer torch --case 'overhead' --threads 1
    taskset -c 0 ./gradus bench --peer torch --case 'gemm.nn/m=512' --rounds 7 --json ratios.json

A row is one case, shape and dtype. In each of --rounds rounds both programs measure it, one after the other, and the
order turns round every round; the ratio of a round is time(torch) / time(gradus), above 1 where gradus is faster. The
table shows the median over rounds with the smallest and the largest. PyTorch runs twice: as it ships, and with a C
library told to keep large blocks ("kept"), because otherwise page faults of fresh memory hide the kernels; `best` is
the ratio against the faster of the two. README.md in bench/ has the rules.
"""
import argparse
import json
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ELEMENT_SIZE = {"f32": 4, "f64": 8, "bf16": 2}
ALLOCATORS = {"shipped": {}, "kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}}
OPS_IN_CHAIN = 1000
MISSING = "missing in gradus_bench"

# ---- the cases: a function that prepares the work, under every name, shape and dtype it serves --------------------

CASES = []          # (name, shape, dtypes, function)


def case(name, *shapes, dtypes="f32"):
    def register(function):
        for shape in shapes:
            CASES.append((name, dict(shape), dtypes.split(), function))
        return function
    return register


def sizes(keys, *rows):
    """sizes("m n k", (1, 2, 3)) is one shape, m=1,n=2,k=3."""
    return [dict(zip(keys.split(), row if isinstance(row, tuple) else (row,))) for row in rows]


class Work:
    """What is timed: run() once is `count` units."""

    def __init__(self, run, unit="call", count=1, flops=0, bytes=0):
        self.run, self.unit, self.count, self.flops, self.bytes = run, unit, count, flops, bytes


class Maker:
    """Tensors of one case, in its dtype."""

    def __init__(self, torch, dtype, optim):
        self.torch, self.F, self.nn, self.optim = torch, torch.nn.functional, torch.nn, optim
        self.name, self.size = dtype, ELEMENT_SIZE[dtype]
        self.dtype = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16}[dtype]

    def normal(self, *shape, grad=False):
        return self.torch.randn(*shape).to(self.dtype).requires_grad_(grad)

    def like(self, x):
        return self.torch.randn_like(x)

    def classes(self, n, count):
        return self.torch.randint(count, (n,))

    def forward(self, f, *inputs):
        def run():
            with self.torch.no_grad():
                return f(*inputs)
        return run

    def backward(self, f, *leaves, dy=None):
        """Gradients are dropped, not zeroed, before each backward."""
        def run():
            for leaf in leaves:
                leaf.grad = None
            f(*leaves).backward(dy)
        return run

    def adam(self, parameters, **options):
        kinds = {"fused": {"fused": True}, "foreach": {"foreach": True}, "default": {}}
        decoupled = "weight_decay" in options
        return (self.torch.optim.AdamW if decoupled else self.torch.optim.Adam)(parameters, **options, **kinds[self.optim])

    def training_step(self, net, x, target, flops):
        adam = self.adam(net.parameters(), lr=1e-3)
        low = self.name == "bf16"

        def run():
            adam.zero_grad(set_to_none=True)
            with self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=low):
                loss = self.F.cross_entropy(net(x), target)
            loss.backward()
            adam.step()
        return Work(run, unit="step", flops=flops)


CHAIN_LENGTHS = sizes("n", 1, 16, 1024)


def overhead(operation, mode):
    """A chain of x = f(x), whose cost is that of building, walking and dropping its graph."""
    def prepare(make, n):
        recorded = mode != "nograd"
        start = make.torch.ones(n).requires_grad_(recorded)
        others = [make.torch.full((n,), 1e-6).requires_grad_(recorded) for _ in range(2)]
        step = {"add": lambda x: x + others[0],
                "muladd": lambda x: x * others[0] + others[1],
                "relu": lambda x: x.relu()}[operation]

        def forward():
            x = start
            for _ in range(OPS_IN_CHAIN):
                x = step(x)
            return x
        if mode != "fwdbwd":
            return Work(forward, unit="op", count=OPS_IN_CHAIN)
        ones = make.torch.ones(n)

        def forward_backward():
            for leaf in (start, *others):
                leaf.grad = None
            forward().backward(ones)
        return Work(forward_backward, unit="op", count=OPS_IN_CHAIN)
    return prepare


for _operation, _modes in (("add", ("nograd", "fwd", "fwdbwd")), ("muladd", ("fwd", "fwdbwd")), ("relu", ("fwd", "fwdbwd"))):
    for _mode in _modes:
        case(f"overhead.{_operation}.{_mode}", *CHAIN_LENGTHS)(overhead(_operation, _mode))


@case("overhead.sum.fwd", *CHAIN_LENGTHS)
def sum_forward(make, n):
    x = make.torch.ones(n).requires_grad_(True)
    return Work(lambda: [x.sum() for _ in range(OPS_IN_CHAIN)], unit="op", count=OPS_IN_CHAIN)


@case("overhead.sum.fwdbwd", *CHAIN_LENGTHS)
def sum_forward_backward(make, n):
    x = make.torch.ones(n).requires_grad_(True)
    one = make.backward(lambda t: t.sum(), x)

    def run():
        for _ in range(OPS_IN_CHAIN):
            one()
    return Work(run, unit="op", count=OPS_IN_CHAIN)


LONG = sizes("n", 65536, 4194304, 16777216)


@case("bw.copy", *sizes("n", 16777216, 67108864), dtypes="f32 bf16")
def copy(make, n):
    x = make.normal(n)
    y = make.torch.empty_like(x)
    return Work(lambda: y.copy_(x), bytes=2 * n * make.size)


@case("bw.add", *LONG, dtypes="f32 bf16")
def add(make, n):
    return Work(make.forward(make.torch.add, make.normal(n), make.normal(n)), bytes=3 * n * make.size)


@case("bw.add_out", *LONG, dtypes="f32 bf16")
def add_out(make, n):
    a, b = make.normal(n), make.normal(n)
    y = make.torch.empty_like(a)
    return Work(lambda: make.torch.add(a, b, out=y), bytes=3 * n * make.size)


def gelu_of(make):
    return lambda x: make.F.gelu(x, approximate="tanh")


@case("bw.gelu", *LONG, dtypes="f32 bf16")
def gelu(make, n):
    return Work(make.forward(gelu_of(make), make.normal(n)), bytes=2 * n * make.size)


@case("bw.gelu_fb", *LONG, dtypes="f32 bf16")
def gelu_backward(make, n):
    return Work(make.backward(gelu_of(make), make.normal(n, grad=True), dy=make.normal(n)), bytes=5 * n * make.size)


@case("bw.exp", *LONG)
def exp(make, n):
    return Work(make.forward(make.torch.exp, make.normal(n)), bytes=2 * n * make.size)


@case("bw.dropout", *LONG, dtypes="f32 bf16")
def dropout(make, n):
    return Work(make.forward(lambda x: make.F.dropout(x, 0.1, training=True), make.normal(n)), bytes=2 * n * make.size)


@case("bw.dropout2d", *sizes("N C H W", (64, 64, 32, 32)))
def dropout2d(make, N, C, H, W):
    return Work(make.forward(lambda x: make.F.dropout2d(x, 0.1, training=True), make.normal(N, C, H, W)), bytes=2 * N * C * H * W * make.size)


@case("bw.dropout2d_fb", *sizes("N C H W", (64, 64, 32, 32)))
def dropout2d_backward(make, N, C, H, W):
    x = make.normal(N, C, H, W, grad=True)
    return Work(make.backward(lambda t: make.F.dropout2d(t, 0.1, training=True), x, dy=make.like(x)), bytes=4 * N * C * H * W * make.size)


@case("loss.ctc_fb", *sizes("T N C S", (200, 16, 32, 40), (800, 16, 128, 120)))
def ctc(make, T, N, C, S):
    labels = make.torch.randint(1, C, (N, S))
    times, lengths = make.torch.full((N,), T), make.torch.full((N,), S)
    return Work(make.backward(lambda x: make.F.ctc_loss(make.F.log_softmax(x, -1), labels, times, lengths), make.normal(T, N, C, grad=True)))


ROWS = sizes("rows cols", (4096, 1024))
MATRICES = sizes("rows cols", (4096, 1024), (4096, 4096))


@case("bw.softmax", *ROWS, dtypes="f32 bf16")
def softmax(make, rows, cols):
    return Work(make.forward(lambda x: make.F.softmax(x, -1), make.normal(rows, cols)), bytes=2 * rows * cols * make.size)


@case("bw.softmax_fb", *ROWS, dtypes="f32 bf16")
def softmax_backward(make, rows, cols):
    x = make.normal(rows, cols, grad=True)
    return Work(make.backward(lambda t: make.F.softmax(t, -1), x, dy=make.like(x)), bytes=5 * rows * cols * make.size)


@case("bw.layernorm", *ROWS, dtypes="f32 bf16")
def layernorm(make, rows, cols):
    f = make.forward(lambda x, w, b: make.F.layer_norm(x, (cols,), w, b), make.normal(rows, cols), make.normal(cols), make.normal(cols))
    return Work(f, bytes=2 * rows * cols * make.size)


@case("bw.layernorm_fb", *ROWS, dtypes="f32 bf16")
def layernorm_backward(make, rows, cols):
    x, w, b = (make.normal(*s, grad=True) for s in ((rows, cols), (cols,), (cols,)))
    f = make.backward(lambda x, w, b: make.F.layer_norm(x, (cols,), w, b), x, w, b, dy=make.like(x))
    return Work(f, bytes=5 * rows * cols * make.size)


@case("bw.adamw", *sizes("n tensors", (10000000, 1), (10000000, 100)))
def adamw(make, n, tensors):
    parameters = [make.normal(n // tensors, grad=True) for _ in range(tensors)]
    for p in parameters:
        p.grad = 1e-3 * make.like(p)
    return Work(make.adam(parameters, lr=1e-3, weight_decay=0.1).step, bytes=28 * n)


@case("bw.transpose", *MATRICES, dtypes="f32 bf16")
def transpose(make, rows, cols):
    return Work(make.forward(lambda x: x.t().contiguous(), make.normal(rows, cols)), bytes=2 * rows * cols * make.size)


def total(axis):
    def prepare(make, rows, cols):
        f = (lambda x: x.sum()) if axis is None else (lambda x: x.sum(axis))
        return Work(make.forward(f, make.normal(rows, cols)), bytes=rows * cols * make.size)
    return prepare


for _name, _axis in (("sum_all", None), ("sum_rows", 1), ("sum_cols", 0)):
    case(f"bw.{_name}", *MATRICES, dtypes="f32 bf16")(total(_axis))

LAYER_PRODUCTS = sizes("m n k", (1, 1024, 1024), (8, 4096, 1024), (128, 512, 784), (128, 10, 512), (2048, 384, 384),
                       (2048, 1536, 384), (2048, 384, 1536), (384, 1536, 2048))
SQUARES = sizes("m n k", *[(s, s, s) for s in (64, 128, 256, 512, 1024, 2048)])


def product(a_transposed, b_transposed):
    def prepare(make, m, n, k):
        a = make.normal(k, m).t() if a_transposed else make.normal(m, k)
        b = make.normal(n, k).t() if b_transposed else make.normal(k, n)
        c = make.torch.empty(m, n, dtype=make.dtype)
        return Work(lambda: make.torch.mm(a, b, out=c), flops=2 * m * n * k)
    return prepare


case("gemm.nn", *SQUARES, *LAYER_PRODUCTS, dtypes="f32 f64 bf16")(product(False, False))
case("gemm.nt", *LAYER_PRODUCTS, dtypes="f32 f64 bf16")(product(False, True))
case("gemm.tn", *LAYER_PRODUCTS, dtypes="f32 f64 bf16")(product(True, False))

IMAGES = sizes("n c h k r", (8, 64, 56, 64, 3), (8, 128, 28, 128, 3), (8, 256, 14, 256, 3), (8, 512, 7, 512, 3),
               (8, 256, 14, 256, 1), (128, 1, 28, 32, 3), (128, 32, 14, 64, 3))


def convolution(backward):
    def prepare(make, n, c, h, k, r):
        tensors = make.normal(n, c, h, h), make.normal(k, c, r, r), make.normal(k)
        flops = 2 * n * k * c * (h * r) ** 2

        def f(x, w, b):
            return make.F.conv2d(x, w, b, padding=r // 2)
        if not backward:
            return Work(make.forward(f, *tensors), flops=flops)
        tensors = [t.requires_grad_(True) for t in tensors]
        return Work(make.backward(f, *tensors, dy=make.normal(n, k, h, h)), flops=3 * flops)
    return prepare


case("conv2d.fwd", *IMAGES, dtypes="f32 bf16")(convolution(False))
case("conv2d.fwdbwd", *IMAGES, dtypes="f32 bf16")(convolution(True))


def attention(fused, backward):
    def prepare(make, b, h, t, d):
        q, k, v = (make.normal(b, h, t, d, grad=backward) for _ in range(3))

        def composed(q, k, v):
            scores = (q @ k.transpose(-1, -2)) * d ** -0.5
            hidden = make.torch.ones(t, t, dtype=make.torch.bool).triu(1)
            return make.F.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v
        f = (lambda q, k, v: make.F.scaled_dot_product_attention(q, k, v, is_causal=True)) if fused else composed
        flops = 2 * b * h * t * t * d
        if not backward:
            return Work(make.forward(f, q, k, v), flops=flops)
        return Work(make.backward(f, q, k, v, dy=make.like(q)), flops=3.5 * flops)
    return prepare


ATTENTION = sizes("b h t d", (4, 8, 256, 64), (4, 8, 1024, 64))
case("attn.fwd", *ATTENTION)(attention(True, False))
case("attn.fwdbwd", *ATTENTION)(attention(True, True))
case("attn_composed.fwdbwd", *ATTENTION)(attention(False, True))


@case("ce.fwdbwd", *sizes("tokens vocab", (2048, 32768)), dtypes="f32 bf16")
def cross_entropy(make, tokens, vocab):
    target = make.classes(tokens, vocab)
    run = make.backward(lambda logits: make.F.cross_entropy(logits, target), make.normal(tokens, vocab, grad=True))
    return Work(run, bytes=3 * tokens * vocab * make.size)


@case("step.mlp", *sizes("b i h o", (128, 784, 512, 10)), dtypes="f32 bf16")
def step_mlp(make, b, i, h, o):
    nn = make.nn
    net = nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, o))
    # The first layer has two products, no gradient of its input; the others have three.
    return make.training_step(net, make.torch.randn(b, i), make.classes(b, o), 2 * b * (2 * i * h + 3 * h * (h + o)))


@case("step.cnn", *sizes("b h", (128, 28)), dtypes="f32 bf16")
def step_cnn(make, b, h):
    nn, half, quarter = make.nn, h // 2, h // 4
    net = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Flatten(), nn.Linear(64 * quarter ** 2, 128), nn.ReLU(), nn.Linear(128, 10))
    products = 2 * h ** 2 * 288 + 3 * half ** 2 * 288 * 64 + 3 * 64 * quarter ** 2 * 128 + 3 * 128 * 10
    return make.training_step(net, make.torch.randn(b, 1, h, h), make.classes(b, 10), 2 * b * products)


# ---- measuring, in a process of its own that has PyTorch loaded ---------------------------------------------------

def memory_mb(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def sample_us(run, inner):
    begin = time.perf_counter_ns()
    for _ in range(inner):
        run()
    return (time.perf_counter_ns() - begin) / 1000 / inner


def measure(torch, request):
    """One line, with the keys that gradus_bench prints."""
    torch.manual_seed(0)
    name, shape, dtype = request["case"], request["shape"], request["dtype"]
    prepare = next(f for n, s, d, f in CASES if n == name and text(s) == shape and dtype in d)
    Path("/proc/self/clear_refs").write_text("5")              # VmHWM starts again from here
    base = memory_mb("VmRSS")
    work = prepare(Maker(torch, dtype, request["optim"]), **dict((k, int(v)) for k, v in (p.split("=") for p in shape.split(","))))
    warm_until, calls = time.perf_counter() + request["warmup_s"], 0
    while calls < 2 or (calls < 200 and time.perf_counter() < warm_until):
        work.run()
        calls += 1
    once = max(0.1, min(sample_us(work.run, 1) for _ in range(3)))
    inner = min(10000, max(1, math.ceil(1000 * request["min_sample_ms"] / once)))
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    samples = sorted(sample_us(work.run, inner) / work.count for _ in range(request["reps"]))
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
    median, last = statistics.median(samples), len(samples) - 1
    line = {"case": name, "shape": shape, "dtype": dtype, "device": "cpu", "threads": request["threads"],
            "impl": "torch-eager", "version": torch.__version__, "unit": work.unit,
            "median_us": round(median, 4), "min_us": round(samples[0], 4), "p90_us": round(samples[round(0.9 * last)], 4),
            "spread": round((samples[round(0.75 * last)] - samples[round(0.25 * last)]) / median, 3),
            "preempted": switches, "reps": len(samples), "inner": inner}
    if work.flops:
        line.update(flops=work.flops, gflops=round(work.flops / median / 1000, 2))
    if work.bytes:
        line.update(bytes=work.bytes, gbs=round(work.bytes / median / 1000, 2))
    return {**line, "base_rss_mb": base, "peak_rss_mb": memory_mb("VmHWM")}


def serve(threads):
    """Answers requests, one JSON object a line, until its input ends."""
    import torch
    torch.set_num_threads(threads)
    for text_in in sys.stdin:
        request = json.loads(text_in)
        try:
            answer = measure(torch, request)
        except Exception as error:                             # one case that fails must not hide the others
            answer = {**{k: request[k] for k in ("case", "shape", "dtype")}, "error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


class Torch:
    def __init__(self, args, allocator):
        self.args, self.environment, self.process = args, ALLOCATORS[allocator], None

    def line(self, request):
        if self.process is None:
            threads = str(self.args.threads)
            environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **self.environment}
            self.process = subprocess.Popen([sys.executable, __file__, "--serve", "--threads", threads], text=True,
                                            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if self.args.isolate or not answer:
            self.stop()
        return json.loads(answer) if answer else {"error": "the PyTorch process ended"}

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def gradus_line(args, request):
    command = [args.gradus, "--case", f"{request['case']}/{request['shape']}", "--dtype", request["dtype"], "--device", "cpu",
               "--threads", str(args.threads), "--reps", str(args.reps), "--min-sample-ms", str(args.min_sample_ms)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    for out in done.stdout.splitlines():
        if not out.startswith("{"):
            continue
        line = json.loads(out)
        if all(line.get(k) == request[k] for k in ("case", "shape", "dtype", "threads")):
            return line if line.get("median_us") else {"error": line.get("error", "no time")}
    if done.returncode:
        return {"error": f"gradus_bench ended with status {done.returncode}: {done.stderr.strip()[-200:]}"}
    return {"error": MISSING}


# ---- ratios -------------------------------------------------------------------------------------------------------

def text(shape):
    return ",".join(f"{k}={v}" for k, v in shape.items())


def restless(line):
    return line.get("spread", 0) > 0.15 or line.get("preempted", 0) > line["reps"]


def summary(ratios):
    return {"median": round(statistics.median(ratios), 3), "min": round(min(ratios), 3), "max": round(max(ratios), 3)}


def compare(args, peers, request):
    """A row of the table: both programs in every round, in an order that turns round."""
    rounds = []
    for number in range(args.rounds):
        order = [("gradus", None), *peers.items()]
        lines = {}
        for name, peer in order if number % 2 else reversed(order):
            lines[name] = gradus_line(args, request) if peer is None else peer.line(request)
            if "error" in lines[name]:
                return {**request, "error": f"{name}: {lines[name]['error']}"}
        rounds.append(lines)
    # `best`: in each round against the faster PyTorch.
    against = {name: [r[name]["median_us"] / r["gradus"]["median_us"] for r in rounds] for name in peers}
    best = [min(r[name]["median_us"] for name in peers) / r["gradus"]["median_us"] for r in rounds]
    row = {k: request[k] for k in ("case", "shape", "dtype", "threads")}
    row["ratio"] = {**{name: summary(ratios) for name, ratios in against.items()}, "best": summary(best)}
    row["noisy"] = max(best) > 1.25 * min(best) or any(restless(line) for r in rounds for line in r.values())
    row["rounds"] = rounds
    return row


def middle(row, program, key):
    values = [r[program].get(key) for r in row["rounds"]]
    return statistics.median(values) if all(v is not None for v in values) else None


HEADER = (f"{'case':<46} {'dtype':<5} {'torch us':>11} {'kept us':>11} {'gradus us':>11} {'rate':>13}"
          f" {'ratio':>7} {'best':>7} {'min':>6} {'max':>6}")


def memory_line(row):
    """Peak above what was resident before the case; of fresh processes only."""
    def above(program):
        peak, base = middle(row, program, "peak_rss_mb"), middle(row, program, "base_rss_mb")
        return "-" if peak is None or base is None else f"{peak - base:.1f} MB"
    return f"{'':<46} memory {'  '.join(f'{name} {above(name)}' for name in (*row['ratio'], 'gradus') if name != 'best')}"


def table_line(row):
    label = f"{row['case']}/{row['shape']}"
    if "error" in row:
        return f"{label:<46} {row['dtype']:<5} {row['error']}"

    def number(value, width, digits):
        return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
    shipped, kept = (middle(row, p, "median_us") if p in row["ratio"] else None for p in ("shipped", "kept"))
    rate, unit = middle(row, "gradus", "gflops"), "GFLOP/s"
    if rate is None:
        rate, unit = middle(row, "gradus", "gbs"), "GB/s"
    ratio, best = row["ratio"].get("shipped", {}).get("median"), row["ratio"]["best"]
    return (f"{label:<46} {row['dtype']:<5} {number(shipped, 11, 3)} {number(kept, 11, 3)}"
            f" {number(middle(row, 'gradus', 'median_us'), 11, 3)} {'' if rate is None else f'{rate:.1f} {unit}':>13}"
            f" {number(ratio, 7, 2)} {best['median']:>7.2f} {best['min']:>6.2f} {best['max']:>6.2f}{'  noisy' if row['noisy'] else ''}")


# ---- what the figures belong to -----------------------------------------------------------------------------------

def first_match(file, pattern, default=""):
    try:
        found = re.search(pattern, Path(file).read_text(errors="replace"), re.M)
    except OSError:
        return default
    return found.group(1).strip() if found else default


def machine(args):
    build = Path(args.gradus).resolve().parent.parent
    compiler = first_match(build / "CMakeCache.txt", r"^CMAKE_CXX_COMPILER:\w+=(.*)$")
    version = subprocess.run([compiler, "--version"], stdout=subprocess.PIPE, text=True).stdout.splitlines()[0] if compiler else "unknown"
    flags = "unknown"
    try:
        for entry in json.loads((build / "compile_commands.json").read_text()):
            if entry["file"].endswith("cpu/matmul.cpp"):
                words = entry["command"].split()
                flags = " ".join(w for w in words if w.startswith(("-O", "-f", "-m", "-std", "-DEIGEN", "-DNDEBUG")))
    except (OSError, ValueError):
        pass
    root = Path(__file__).resolve().parents[2]
    commit = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True).stdout.strip()
    torch = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"], stdout=subprocess.PIPE, text=True)
    return {"cpu": first_match("/proc/cpuinfo", r"^model name\s*:\s*(.*)$", platform.processor() or "unknown"),
            "cores": len(os.sched_getaffinity(0)), "load_at_start": round(os.getloadavg()[0], 2), "system": platform.platform(),
            "compiler": version, "flags": flags, "gradus": commit or "unknown", "torch": torch.stdout.strip(),
            "python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}


def arguments():
    p = argparse.ArgumentParser(prog="./gradus bench --peer torch", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--case", metavar="REGEX", default="", help="cases whose name/shape contains a match")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--dtype", default="f32", help="comma-separated: f32,f64,bf16")
    p.add_argument("--rounds", type=int, default=5, help="alternations of the programs (default 5)")
    p.add_argument("--reps", type=int, default=15, help="samples a measurement (default 15)")
    p.add_argument("--min-sample-ms", type=float, default=20.0, help="calls are repeated until a sample lasts this long")
    p.add_argument("--warmup-s", type=float, default=0.3)
    p.add_argument("--optim", choices=("fused", "foreach", "default"), default="fused", help="PyTorch's kind of Adam")
    p.add_argument("--allocators", default="shipped,kept", help="PyTorch with which memory settings: shipped,kept")
    p.add_argument("--isolate", action="store_true", help="a new process for every PyTorch measurement, for its memory figures")
    p.add_argument("--json", metavar="FILE", help="write machine, rows and every measurement")
    p.add_argument("--list", action="store_true", help="print the chosen cases")
    p.add_argument("--gradus", metavar="PROGRAM", default="build/bin/gradus_bench", help=argparse.SUPPRESS)
    p.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return p.parse_args()


def main():
    args = arguments()
    if args.serve:
        serve(args.threads)
        return 0
    wanted = [(n, text(s), d) for n, s, dtypes, _ in CASES for d in dtypes
              if d in args.dtype.split(",") and re.search(args.case, f"{n}/{text(s)}")]
    if not wanted:
        print(f"no case matches --case '{args.case}' --dtype {args.dtype}; --list shows them", file=sys.stderr)
        return 2
    if args.list:
        for name, shape, dtype in wanted:
            print(f"{name}/{shape} {dtype}")
        return 0

    about = machine(args)
    print(f"{about['cpu']}, {about['cores']} cores, load {about['load_at_start']}; {args.threads} threads; torch {about['torch']}")
    print(f"{about['compiler']}; {about['flags']}")
    print(HEADER, flush=True)
    peers = {name: Torch(args, name) for name in args.allocators.split(",")}
    rows = []

    def save():
        if args.json:
            Path(args.json).write_text(json.dumps({"machine": about, "threads": args.threads, "rows": rows}, indent=1) + "\n")
    try:
        for name, shape, dtype in wanted:
            request = {"case": name, "shape": shape, "dtype": dtype, "threads": args.threads, "reps": args.reps,
                       "min_sample_ms": args.min_sample_ms, "warmup_s": args.warmup_s, "optim": args.optim}
            rows.append(compare(args, peers, request))
            print(table_line(rows[-1]), flush=True)
            if args.isolate and "error" not in rows[-1]:
                print(memory_line(rows[-1]), flush=True)
            save()                                             # a run that is stopped keeps what it has
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        for peer in peers.values():
            peer.stop()
        save()
    return 1 if any("error" in row and MISSING not in row["error"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
