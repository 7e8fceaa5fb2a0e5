#!/usr/bin/env python3
"""Records operator cases (values and gradients) from PyTorch into the *.json files beside this script.

    python record.py            write the files; every smooth gradient is first checked by finite differences
    python record.py --list     one line a case: file, name, attributes, inputs -> outputs
    python record.py --ops      one line an operator: the attribute keys and input names it is recorded with

The tests read the files only; PyTorch is needed to record anew. README.md describes the format.
"""
import argparse, json, math, os, random, sys, warnings, zlib

import torch
import torch.nn.functional as F

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
INF, NAN = math.inf, math.nan
f64, i64 = torch.float64, torch.int64
L = torch.linalg

# ---- where inputs come from -----------------------------------------------------------------------------------------
# A generator seeded by case and input name draws each input, so that adding a case changes no other. Reals are
# rounded to three decimals: short files, and the numbers read well in a failure message.


class Draw:
    def __init__(self, shape, dtype, make):
        self.shape, self.dtype, self.make = shape, dtype, make

    def __call__(self, seed):
        values = self.make(random.Random(zlib.crc32(seed.encode())), math.prod(self.shape))
        return torch.tensor(values, dtype=self.dtype).reshape(self.shape)


def real(*shape, lo=-2.0, hi=2.0, far=None):
    """Uniform on [lo, hi]; `far` gives a value's distance from the nearest kink, kept at 0.1 or more."""
    def make(rng, n):
        out = []
        while len(out) < n:
            v = round(rng.uniform(lo, hi), 3)
            if far is None or far(v) >= 0.1:
                out.append(v)
        return out
    return Draw(shape, f64, make)


def distinct(*shape, step=0.25):
    """A shuffled ladder with rungs `step` apart, so that no two values tie and order is safe under small steps."""
    def make(rng, n):
        values = [round((i - n / 2 + rng.uniform(-0.2, 0.2)) * step, 3) for i in range(n)]
        rng.shuffle(values)
        return values
    return Draw(shape, f64, make)


def square(*shape, diagonal=2.0):
    """Square matrices with a heavy diagonal: far from singular."""
    def make(rng, n):
        k = shape[-1]
        return [round(rng.uniform(-1, 1) + diagonal * ((i % (k * k)) % (k + 1) == 0), 3) for i in range(n)]
    return Draw(shape, f64, make)


def whole(*shape, lo=0, hi=5):
    return Draw(shape, i64, lambda rng, n: [rng.randrange(lo, hi) for _ in range(n)])


def flags(*shape):
    return Draw(shape, torch.bool, lambda rng, n: [rng.random() < 0.5 for _ in range(n)])


def given(data, dtype=f64):
    t = torch.tensor(data, dtype=dtype)
    return Draw(tuple(t.shape), dtype, lambda rng, n: t.flatten().tolist())


def ints(*data):
    return given(list(data), i64)


def points(*kinks):
    return lambda v: min(abs(v - k) for k in kinks)


def integers(v):
    return abs(v - round(v))


def halves(v):
    return abs(v - 0.5 - round(v - 0.5))


# ---- the table ------------------------------------------------------------------------------------------------------


class Case:
    def __init__(self, group, name, fn, inputs, attrs, fixed, grad, smooth):
        self.group, self.name, self.op, self.fn = group, name, name.split(".")[0], fn
        self.inputs = {k: draw(f"{name}:{k}") for k, draw in inputs.items()}
        self.attrs, self.smooth = attrs, smooth
        self.note = " ".join((fn.__doc__ or "").split()) if getattr(fn, "noted", False) else ""
        self.free = [k for k, t in self.inputs.items() if grad and t.is_floating_point() and k not in fixed]

    def run(self, inputs):
        out = self.fn(**inputs, **self.attrs)
        return list(out) if isinstance(out, (tuple, list)) else [out]


CASES, GROUP = [], ["pointwise"]


def case(name, fn, inputs, attrs=None, fixed=(), grad=True, smooth=True):
    """fn(**inputs, **attrs) is recorded; `fixed` inputs get no gradient. smooth=False: the gradient is PyTorch's choice
    at a kink or a tie, or differences cannot see it, so it is recorded without the check."""
    assert all(c.name != name for c in CASES), name
    CASES.append(Case(GROUP[0], name, fn, inputs, attrs or {}, fixed, grad, smooth))


def noted(fn):
    """Marks a composed function: its docstring is recorded as the case's note."""
    fn.noted = True
    return fn


def unary(op, lo, hi, far=None, fn=None, **attrs):
    fn = fn or getattr(torch, op, None) or getattr(F, op)
    case(op if not attrs else op + "." + "_".join(attrs), fn, dict(input=real(2, 5, lo=lo, hi=hi, far=far)), attrs)


def pointwise():
    GROUP[0] = "pointwise"
    for op in "exp exp2 expm1 square neg sin cos sinh cosh tanh asinh atan erf erfc sigmoid".split():
        unary(op, -2.5, 2.5)
    for op in "log log2 log10 sqrt rsqrt reciprocal lgamma digamma".split():
        unary(op, 0.2, 4)
    unary("reciprocal.negative", -3, -0.3, fn=torch.reciprocal)
    unary("lgamma.negative", -3.9, -0.1, far=integers, fn=torch.lgamma)
    unary("digamma.negative", -3.9, -0.1, far=integers, fn=torch.digamma)
    unary("log1p", -0.7, 3)
    for op in "asin acos atanh erfinv".split():
        unary(op, -0.9, 0.9)
    unary("tan", -1.2, 1.2)
    unary("acosh", 1.2, 5)
    unary("logit", 0.1, 0.9)
    unary("logit", 0.01, 0.99, far=points(0.2, 0.8), eps=0.2)
    for op in "floor ceil trunc frac".split():
        unary(op, -3.4, 3.4, far=integers)
    unary("round", -3.4, 3.4, far=halves)
    case("round.decimals", torch.round, dict(input=given([1.236, -0.114, 2.5551, 7.001])), dict(decimals=2))
    for op in "abs sign relu leaky_relu elu selu celu softsign".split():
        unary(op, -2.5, 2.5, far=points(0))
    unary("leaky_relu", -2.5, 2.5, far=points(0), negative_slope=0.2)
    unary("elu", -2.5, 2.5, far=points(0), alpha=0.7)
    unary("celu", -2.5, 2.5, far=points(0), alpha=0.7)
    for op in "silu mish logsigmoid softplus gelu".split():
        unary(op, -4, 4)
    unary("gelu", -4, 4, approximate="tanh")
    case("softplus.threshold", F.softplus, dict(input=given([-30.0, -2.5, -0.1, 0.0, 0.6, 1.3, 1.7, 2.5, 40.0])),
         dict(beta=2.0, threshold=3.0))
    unary("hardtanh", -2.5, 2.5, far=points(-1, 1))
    case("hardtanh.range", F.hardtanh, dict(input=real(2, 5, far=points(-0.5, 1.5))), dict(min_val=-0.5, max_val=1.5))
    unary("hardsigmoid", -4.5, 4.5, far=points(-3, 3))
    unary("hardswish", -4.5, 4.5, far=points(-3, 3))
    unary("relu6", -2, 8, far=points(0, 6))
    unary("tanhshrink", -2, 2)
    unary("softshrink", -2, 2, far=points(-0.5, 0.5), lambd=0.5)
    unary("hardshrink", -2, 2, far=points(-0.5, 0.5), lambd=0.5)
    unary("sinc", -2.5, 2.5)
    case("clamp.both", torch.clamp, dict(input=real(2, 5, far=points(-0.5, 1))), dict(min=-0.5, max=1.0))
    case("clamp.min", torch.clamp, dict(input=real(2, 5, far=points(0.25))), dict(min=0.25))
    case("clamp.max", torch.clamp, dict(input=real(2, 5, far=points(0.25))), dict(max=0.25))
    case("clamp.tensors", torch.clamp,
         dict(input=real(3, 4, far=points(-1, 1)), min=given([[-1.0], [-0.9], [-1.02]]), max=given([1.0, 0.96, 1.03, 0.94])))
    special = given([NAN, INF, -INF, 0.0, 1.5, -1.5])
    case("nan_to_num", torch.nan_to_num, dict(input=special), dict(nan=0.5, posinf=7.0, neginf=-8.0))
    case("nan_to_num.default", torch.nan_to_num, dict(input=special))
    # at the kink: the derivative chosen there
    for op in "abs relu leaky_relu elu selu celu hardtanh hardsigmoid hardswish relu6 sign".split():
        at = {"hardtanh": [-1.0, 1.0, 0.0], "hardsigmoid": [-3.0, 3.0, 0.0], "hardswish": [-3.0, 3.0, 0.0],
              "relu6": [0.0, 6.0, 3.0]}.get(op, [0.0, -1.0, 1.0])
        case(op + ".kink", getattr(torch, op, None) or getattr(F, op), dict(input=given(at)), smooth=False)
    case("clamp.kink", torch.clamp, dict(input=given([-0.5, 1.0, 0.0, -2.0, 2.0])), dict(min=-0.5, max=1.0), smooth=False)
    # large arguments: no overflow, no 0 * inf in the gradient
    wide = given([-1000.0, -50.0, -30.0, 30.0, 50.0, 1000.0])
    for op in "sigmoid tanh silu mish logsigmoid softplus gelu elu selu erf erfc".split():
        case(op + ".wide", getattr(torch, op, None) or getattr(F, op), dict(input=wide))
    edge = given([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0])
    for op in ("exp expm1 log log1p sqrt rsqrt reciprocal abs floor round sin asin atan tanh atanh acosh erf erfinv lgamma "
               "sigmoid relu softplus clamp isnan isinf isfinite").split():
        case(op + ".special", getattr(torch, op, None) or getattr(F, op), dict(input=edge),
             dict(min=-0.5, max=0.5) if op == "clamp" else {}, grad=False)
    case("round.half_to_even", torch.round, dict(input=given([0.5, 1.5, 2.5, -0.5, -1.5, -2.5])), grad=False)


def binary():
    GROUP[0] = "binary"
    for op in "add sub mul".split():
        case(op, getattr(torch, op), dict(input=real(2, 3), other=real(2, 3)))
        case(op + ".broadcast", getattr(torch, op), dict(input=real(3, 1, 2), other=real(4, 1)))
        case(op + ".zero_dim", getattr(torch, op), dict(input=real(2, 3), other=given(0.75)))
    case("add.alpha", torch.add, dict(input=real(2, 3), other=real(3)), dict(alpha=-1.5))
    case("add.empty", torch.add, dict(input=real(0, 3), other=real(3)))
    nonzero, positive = dict(lo=-3, hi=3, far=points(0)), dict(lo=0.3, hi=3)
    case("div", torch.div, dict(input=real(2, 3), other=real(2, 3, **nonzero)))
    case("div.broadcast", torch.div, dict(input=real(2, 1, 3), other=real(2, 1, **nonzero)))
    case("div.by_zero", torch.div, dict(input=given([1.0, -1.0, 0.0, INF]), other=given([0.0, 0.0, 0.0, INF])), grad=False)
    case("pow", torch.pow, dict(input=real(2, 3, **positive), exponent=real(2, 3)))
    case("pow.broadcast", torch.pow, dict(input=real(3, 1, **positive), exponent=real(2)))
    case("pow.scalar", torch.pow, dict(input=real(2, 3, **nonzero)), dict(exponent=3))
    case("pow.half", torch.pow, dict(input=real(2, 3, **positive)), dict(exponent=0.5))
    case("pow.inverse_square", torch.pow, dict(input=real(2, 3, **nonzero)), dict(exponent=-2.0))
    case("pow.exponent_zero", torch.pow, dict(input=given([0.0, 2.0, -1.0])), dict(exponent=0.0))
    case("pow.zeros", torch.pow, dict(input=given([0.0, 0.0, 2.0, 0.0]), exponent=given([0.0, 2.0, 0.0, 1.0])), smooth=False)
    case("pow.special", torch.pow, dict(input=given([0.0, -1.0, -1.0, INF, NAN, 1.0]),
                                        exponent=given([-1.0, 0.5, INF, -1.0, 0.0, NAN])),
         grad=False)
    for op in "maximum minimum fmax fmin".split():
        case(op, getattr(torch, op), dict(input=real(2, 3, lo=-2, hi=2, far=integers), other=given([[-1.0], [1.0]])))
    for op in "maximum minimum".split():
        case(op + ".ties", getattr(torch, op), dict(input=given([1.0, 2.0, -1.0, 0.0]), other=given([1.0, 1.0, 0.0, 0.0])),
             smooth=False)
        case(op + ".nan", getattr(torch, op), dict(input=given([NAN, 1.0, NAN, INF]), other=given([1.0, NAN, NAN, -INF])),
             grad=False)
    apart = dict(input=given([[5.3, -5.3, 7.25], [-7.25, 0.4, -0.9]]), other=given([[2.0], [-2.4]]))
    for op in "fmod remainder".split():
        case(op, getattr(torch, op), apart)
        case(op + ".scalar", getattr(torch, op), dict(input=apart["input"]), dict(other=1.5))
    case("floor_divide", torch.floor_divide, apart, grad=False)
    case("div.trunc", torch.div, apart, dict(rounding_mode="trunc"), grad=False)
    case("fmod.integer", torch.fmod, dict(input=ints(7, -7, 7, -7), other=ints(3, 3, -3, -3)))
    case("remainder.integer", torch.remainder, dict(input=ints(7, -7, 7, -7), other=ints(3, 3, -3, -3)))
    case("floor_divide.integer", torch.floor_divide, dict(input=ints(7, -7, 7, -7), other=ints(3, 3, -3, -3)))
    case("atan2", torch.atan2, dict(input=real(2, 4, **nonzero), other=real(2, 4, **nonzero)))
    case("atan2.special", torch.atan2, dict(input=given([0.0, 0.0, 1.0, INF]), other=given([-1.0, 0.0, 0.0, -INF])), grad=False)
    case("hypot", torch.hypot, dict(input=real(2, 3, **nonzero), other=real(3, **nonzero)))
    case("hypot.huge", torch.hypot, dict(input=given([1e200, 3e-200]), other=given([1e200, 4e-200])), grad=False)
    case("lerp", torch.lerp, dict(input=real(2, 3), end=real(2, 3)), dict(weight=0.3))
    case("lerp.tensor", torch.lerp, dict(input=real(2, 3), end=real(3), weight=real(2, 1, lo=0, hi=1)))
    case("where", torch.where, dict(condition=flags(2, 3), input=real(2, 3), other=real(2, 3)))
    case("where.broadcast", torch.where, dict(condition=flags(2, 1), input=real(3), other=real(2, 3)))
    case("xlogy", torch.xlogy, dict(input=real(2, 3), other=real(2, 3, **positive)))
    case("xlogy.zero", torch.xlogy, dict(input=given([0.0, 0.0, 1.0, 0.0]), other=given([0.0, 2.0, 0.0, NAN])), grad=False)
    case("logaddexp", torch.logaddexp, dict(input=real(2, 3), other=real(3)))
    case("logaddexp.wide", torch.logaddexp, dict(input=given([1000.0, -1000.0, 5.0]), other=given([999.0, -1001.0, -800.0])))
    case("logaddexp.infinite", torch.logaddexp, dict(input=given([INF, -INF, -INF]), other=given([1.0, 1.0, -INF])), grad=False)
    case("addcmul", torch.addcmul, dict(input=real(2, 3), tensor1=real(2, 1), tensor2=real(3)), dict(value=0.5))
    case("addcdiv", torch.addcdiv, dict(input=real(2, 3), tensor1=real(2, 1), tensor2=real(3, **positive)), dict(value=0.5))
    for op in "eq ne lt le gt ge".split():
        case(op, getattr(torch, op), dict(input=given([[1.0, 2.0, NAN], [0.0, -1.0, INF]]), other=given([1.0, 1.0, INF])),
             grad=False)
    for op in "logical_and logical_or logical_xor".split():
        case(op, getattr(torch, op), dict(input=flags(2, 3), other=flags(3)))
    case("logical_not", torch.logical_not, dict(input=flags(5)))


def reduce():
    GROUP[0] = "reduce"
    x = real(2, 3, 4)
    forms = {"all": {}, "dim": dict(dim=1), "dims": dict(dim=[0, -1]), "keepdim": dict(dim=[0, 2], keepdim=True)}
    for form, attrs in forms.items():
        for op in "sum mean amax amin".split():
            case(f"{op}.{form}", getattr(torch, op), dict(input=x if op in ("sum", "mean") else distinct(2, 3, 4)), attrs)
        for op in "var std".split():
            case(f"{op}.{form}", getattr(torch, op), dict(input=x), dict(attrs, correction=1))
        attrs = attrs if "dim" in attrs else dict(dim=[0, 1, 2])
        case(f"logsumexp.{form}", torch.logsumexp, dict(input=x), attrs)
    for op in "var std".split():
        case(op + ".population", getattr(torch, op), dict(input=x), dict(dim=[0, 2], correction=0))
    case("var.one_value", torch.var, dict(input=real(3, 1)), dict(dim=1, correction=1), grad=False)
    case("prod.all", torch.prod, dict(input=real(2, 3)))
    case("prod.dim", torch.prod, dict(input=real(2, 3, 2)), dict(dim=1))
    case("prod.keepdim", torch.prod, dict(input=real(2, 3, 2)), dict(dim=-1, keepdim=True))
    zeros = given([[1.5, 0.0, -2.0], [0.0, 0.0, 3.0], [2.0, 0.5, -1.0]])
    case("prod.zeros", torch.prod, dict(input=zeros), dict(dim=1))
    case("prod.one_zero", torch.prod, dict(input=given([1.5, 0.0, -2.0, 0.5])))
    for p in (1, 2, 3, INF, -INF, 0.5):
        draw = distinct(2, 6) if p in (INF, -INF) else real(2, 6, far=points(0))
        case(f"norm.p_{p}", torch.norm, dict(input=draw), dict(p=p, dim=[1]))
        if p in (1, 2, 3):
            case(f"norm.p_{p}_all", torch.norm, dict(input=draw), dict(p=p))
    case("norm.keepdim", torch.norm, dict(input=x), dict(p=2, dim=[0, 2], keepdim=True))
    case("norm.zero", torch.norm, dict(input=given([[0.0, 0.0], [3.0, 4.0]])), dict(p=2, dim=[1]), smooth=False)
    case("norm.p_0", torch.norm, dict(input=given([[0.0, 2.0, NAN], [3.0, 4.0, 0.0]])), dict(p=0, dim=[1]), grad=False)
    tied = given([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0], [0.0, -1.0, -1.0, 5.0]])
    holed = given([[1.0, NAN, 3.0], [NAN, NAN, 0.0], [INF, 2.0, -INF], [-INF, -INF, -INF]])
    for op in "argmax argmin".split():
        case(op + ".all", getattr(torch, op), dict(input=distinct(3, 4)), grad=False)
        case(op + ".dim", getattr(torch, op), dict(input=distinct(3, 4)), dict(dim=1), grad=False)
        case(op + ".keepdim", getattr(torch, op), dict(input=distinct(3, 4)), dict(dim=0, keepdim=True), grad=False)
        case(op + ".ties", getattr(torch, op), dict(input=tied), dict(dim=1), grad=False)
        case(op + ".nan", getattr(torch, op), dict(input=holed), dict(dim=1), grad=False)
    for op in "amax amin".split():
        case(op + ".ties", getattr(torch, op), dict(input=tied), dict(dim=1), smooth=False)
        case(op + ".nan", getattr(torch, op), dict(input=holed), dict(dim=1), grad=False)
    for op in "max min".split():
        case(op + ".dim", getattr(torch, op), dict(input=distinct(3, 4)), dict(dim=1))
        case(op + ".ties", getattr(torch, op), dict(input=tied), dict(dim=1), smooth=False)
    for op in "sum mean var logsumexp".split():
        case(op + ".nan", getattr(torch, op), dict(input=holed), dict(dim=1), grad=False)
    case("logsumexp.wide", torch.logsumexp, dict(input=given([[1000.0, 1001.0], [-1000.0, -1002.0]])), dict(dim=[1]))
    for op in "any all".split():
        case(op + ".all", getattr(torch, op), dict(input=flags(2, 3)))
        case(op + ".dim", getattr(torch, op), dict(input=flags(3, 2)), dict(dim=1))
        case(op + ".empty", getattr(torch, op), dict(input=flags(0, 2)), dict(dim=0))
    for op in "sum prod mean".split():
        case(op + ".empty", getattr(torch, op), dict(input=real(0, 3)), dict(dim=0))
    case("logsumexp.empty", torch.logsumexp, dict(input=real(0, 3)), dict(dim=[0]), grad=False)
    case("sum.integer", torch.sum, dict(input=whole(2, 3)), dict(dim=1))
    for op in "cumsum cumprod logcumsumexp".split():
        for dim in (0, -1):
            case(f"{op}.dim{dim}", getattr(torch, op), dict(input=real(3, 4)), dict(dim=dim))
    case("cumprod.zeros", torch.cumprod, dict(input=zeros), dict(dim=1))
    case("logcumsumexp.wide", torch.logcumsumexp, dict(input=given([-1000.0, 5.0, 1000.0, 999.0])), dict(dim=0))
    for op in "cummax cummin".split():
        case(op, getattr(torch, op), dict(input=distinct(3, 4)), dict(dim=1))
        case(op + ".ties", getattr(torch, op), dict(input=tied), dict(dim=1), smooth=False)
        case(op + ".nan", getattr(torch, op), dict(input=given([1.0, NAN, 3.0, 0.0])), dict(dim=0), grad=False)
    case("median.all", torch.median, dict(input=distinct(3, 4)))
    case("median.dim_even", torch.median, dict(input=distinct(3, 4)), dict(dim=1))
    case("median.dim_odd", torch.median, dict(input=distinct(3, 4)), dict(dim=0, keepdim=True))
    case("median.nan", torch.median, dict(input=given([1.0, NAN, 3.0])), grad=False)
    case("quantile", torch.quantile, dict(input=distinct(3, 5)), dict(q=0.3, dim=1))
    case("quantile.all", torch.quantile, dict(input=distinct(3, 4)), dict(q=0.9))
    case("quantile.many", torch.quantile, dict(input=distinct(3, 5), q=given([0.0, 0.1, 0.55, 1.0])),
         dict(dim=1, keepdim=True), fixed=("q",))
    for mode in "lower higher midpoint nearest".split():
        case("quantile." + mode, torch.quantile, dict(input=distinct(2, 6)), dict(q=0.37, dim=1, interpolation=mode))
    case("count_nonzero", torch.count_nonzero, dict(input=given([[0.0, 1.0, 2.0], [0.0, 0.0, NAN]])), dict(dim=1), grad=False)


def sort():
    GROUP[0] = "sort"
    x = distinct(3, 5)
    case("sort", torch.sort, dict(input=x), dict(dim=1))
    case("sort.descending", torch.sort, dict(input=x), dict(dim=0, descending=True))
    ties = given([2.0, 1.0, 2.0, 1.0, 0.0])
    case("sort.stable", torch.sort, dict(input=ties), dict(dim=0, stable=True), grad=False)
    case("sort.stable_descending", torch.sort, dict(input=ties), dict(dim=0, stable=True, descending=True), grad=False)
    holed = given([2.0, NAN, -INF, INF, 1.0])
    case("sort.nan", torch.sort, dict(input=holed), dict(dim=0, stable=True), grad=False)
    case("sort.nan_descending", torch.sort, dict(input=holed), dict(dim=0, stable=True, descending=True), grad=False)
    case("argsort", torch.argsort, dict(input=x), dict(dim=1), grad=False)
    case("argsort.descending", torch.argsort, dict(input=x), dict(dim=0, descending=True), grad=False)
    case("topk", torch.topk, dict(input=x), dict(k=2, dim=1, largest=True, sorted=True))
    case("topk.smallest", torch.topk, dict(input=x), dict(k=2, dim=0, largest=False, sorted=True))
    case("kthvalue", torch.kthvalue, dict(input=x), dict(k=2, dim=1))
    case("unique", torch.unique, dict(input=given([3.0, 1.0, 2.0, 1.0, 3.0, -1.0])),
         dict(return_inverse=True, return_counts=True), grad=False)
    case("unique.integer", torch.unique, dict(input=ints(5, 2, 2, 5, 0)), dict(return_inverse=True, return_counts=True))
    case("unique.rows", torch.unique, dict(input=given([[1, 2], [0, 3], [1, 2]], i64)),
         dict(return_inverse=True, return_counts=True, dim=0))
    case("bincount", torch.bincount, dict(input=ints(1, 3, 1, 0, 5)), dict(minlength=8))
    case("bincount.weights", torch.bincount, dict(input=ints(1, 3, 1, 0), weights=real(4)), grad=False)
    case("histogram", torch.histogram, dict(input=real(12)), dict(bins=5, range=[-1.5, 1.5]), grad=False)
    case("histogram.weighted", torch.histogram, dict(input=real(12), weight=real(12, lo=0, hi=1)),
         dict(bins=4, range=[-2.0, 2.0], density=True), grad=False)
    case("histogram.edges", torch.histogram, dict(input=given([0.0, 1.0, 1.0, 2.0, 4.0, 4.1, -0.1]),
                                                  bins=given([0.0, 1.0, 2.0, 4.0])), grad=False)
    case("histc", torch.histc, dict(input=real(12)), dict(bins=4, min=-2, max=2), grad=False)
    edges = given([[1.0, 3.0, 3.0, 5.0], [0.0, 2.0, 4.0, 6.0]])
    values = given([[3.0, 0.0, 6.0], [2.0, 5.0, 7.0]])
    case("searchsorted", torch.searchsorted, dict(sorted_sequence=edges, input=values), dict(right=False), grad=False)
    case("searchsorted.right", torch.searchsorted, dict(sorted_sequence=edges, input=values), dict(right=True), grad=False)


@noted
def take_index(input, index, index0=None, index1=None, mask=None):
    """input[index]: an item is an integer, {"slice": [start, stop, step]}, "...", null (a new axis), or the name of an
    input that holds indices or a mask"""
    named = dict(index0=index0, index1=index1, mask=mask)
    items = []
    for it in index:
        if isinstance(it, dict):
            it = slice(*it["slice"])
        elif isinstance(it, str):
            it = ... if it == "..." else named[it]
        items.append(it)
    return input[tuple(items)]


def index():
    GROUP[0] = "index"
    x = real(3, 4)
    at = given([[0, 2, 1, 0], [2, 2, 0, 1]], i64)
    case("gather", torch.gather, dict(input=x, index=at), dict(dim=0))
    case("gather.repeats", torch.gather, dict(input=x, index=given([[0, 0, 3], [1, 1, 1], [2, 0, 2]], i64)), dict(dim=1))
    once = given([[0, 2, 1, 0], [2, 1, 0, 1]], i64)
    case("scatter", torch.scatter, dict(input=x, index=once, src=real(2, 4)), dict(dim=0))
    case("scatter.value", torch.scatter, dict(input=x, index=once), dict(dim=0, value=7.5))
    case("scatter_add", torch.scatter_add, dict(input=x, index=at, src=real(2, 4)), dict(dim=0))
    case("scatter_add.dim1", torch.scatter_add, dict(input=x, index=given([[0, 0, 3], [1, 1, 1]], i64), src=real(2, 3)),
         dict(dim=1))
    for how in "amax amin mean prod sum".split():
        case("scatter_reduce." + how, torch.scatter_reduce,
             dict(input=distinct(3, 4), index=at, src=real(2, 4, lo=-1, hi=1, far=integers)),
             dict(dim=0, reduce=how, include_self=True))
    case("scatter_reduce.exclude_self", torch.scatter_reduce, dict(input=distinct(3, 4), index=at, src=distinct(2, 4)),
         dict(dim=0, reduce="amax", include_self=False))
    case("scatter_reduce.ties", torch.scatter_reduce,
         dict(input=given([1.0, 0.0]), index=ints(0, 0, 1), src=given([1.0, 1.0, -1.0])),
         dict(dim=0, reduce="amax", include_self=True), smooth=False)
    case("index_select", torch.index_select, dict(input=x, index=ints(2, 0, 2)), dict(dim=0))
    case("index_select.dim1", torch.index_select, dict(input=real(2, 4, 2), index=ints(3, 1)), dict(dim=1))
    case("index_add", torch.index_add, dict(input=x, index=ints(2, 0, 2), source=real(3, 4)), dict(dim=0))
    case("index_add.alpha", torch.index_add, dict(input=x, index=ints(1, 1), source=real(3, 2)), dict(dim=1, alpha=-0.5))
    case("index_copy", torch.index_copy, dict(input=x, index=ints(2, 0), source=real(2, 4)), dict(dim=0))
    case("index_fill", torch.index_fill, dict(input=x, index=ints(2, 0)), dict(dim=1, value=0.5))
    case("take_along_dim", torch.take_along_dim, dict(input=x, indices=given([[1], [3], [0]], i64)), dict(dim=1))
    case("take_along_dim.broadcast", torch.take_along_dim, dict(input=x, indices=given([[1, 0, 3]], i64)), dict(dim=1))
    case("masked_fill", torch.masked_fill, dict(input=x, mask=flags(3, 4)), dict(value=-2.0))
    case("masked_fill.broadcast", torch.masked_fill, dict(input=x, mask=flags(4)), dict(value=-9.5))
    case("masked_fill.infinite", torch.masked_fill, dict(input=x, mask=flags(3, 1)), dict(value=-INF), smooth=False)
    case("masked_select", torch.masked_select, dict(input=x, mask=flags(3, 4)))
    case("masked_select.broadcast", torch.masked_select, dict(input=x, mask=given([[True], [False], [True]], torch.bool)))
    case("nonzero", torch.nonzero, dict(input=given([[0.0, 1.0, NAN], [2.0, 0.0, 0.0]])), grad=False)
    case("nonzero.none", torch.nonzero, dict(input=given([[0.0, 0.0]])), grad=False)

    def cut(a=None, b=None, step=None):
        return {"slice": [a, b, step]}
    case("index.integer", take_index, dict(input=x), dict(index=[-1]))
    case("index.steps", take_index, dict(input=real(5, 6)), dict(index=[cut(1, None, 2), cut(0, 6, 3)]))
    case("index.ellipsis", take_index, dict(input=real(2, 3, 4)), dict(index=["...", cut(-3, -1)]))
    case("index.new_axis", take_index, dict(input=x), dict(index=[cut(), None, 2]))
    case("index.empty", take_index, dict(input=x), dict(index=[cut(2, 2)]))
    case("index.tensor", take_index, dict(input=x, index0=given([[2, 0], [-1, 1]], i64)), dict(index=["index0"]))
    case("index.pairs", take_index, dict(input=x, index0=ints(2, 0, 2), index1=ints(1, 1, 1)), dict(index=["index0", "index1"]))
    case("index.outer", take_index, dict(input=x, index0=given([[2], [0]], i64), index1=ints(1, 3)),
         dict(index=["index0", "index1"]))
    case("index.slice_tensor", take_index, dict(input=real(2, 4, 2), index0=ints(3, 0, 3)), dict(index=[cut(), "index0"]))
    case("index.mask", take_index, dict(input=x, mask=flags(3, 4)), dict(index=["mask"]))
    case("index.mask_rows", take_index, dict(input=x, mask=given([True, False, True], torch.bool)), dict(index=["mask"]))


def several(fn):
    """Calls fn with its tensor inputs a, b, c ... as one list."""
    return lambda **k: fn([k.pop(n) for n in "abcd" if n in k], **k)


def shape():
    GROUP[0] = "shape"
    x = real(2, 3)
    case("cat", several(torch.cat), dict(a=x, b=real(1, 3), c=real(2, 3)), dict(dim=0))
    case("cat.last", several(torch.cat), dict(a=x, b=real(2, 0), c=real(2, 1)), dict(dim=-1))
    case("stack", several(torch.stack), dict(a=x, b=x, c=x), dict(dim=0))
    case("stack.last", several(torch.stack), dict(a=x, b=x), dict(dim=-1))
    case("split", torch.split, dict(tensor=real(5, 2)), dict(split_size_or_sections=2, dim=0))
    case("split.sections", torch.split, dict(tensor=real(2, 6)), dict(split_size_or_sections=[1, 3, 2], dim=1))
    case("chunk", torch.chunk, dict(input=real(7, 2)), dict(chunks=3, dim=0))
    case("unbind", torch.unbind, dict(input=real(2, 3)), dict(dim=1))
    y = real(1, 2, 4, 3)
    for mode in "constant reflect replicate circular".split():
        value = dict(value=0.5) if mode == "constant" else {}
        case("pad." + mode, F.pad, dict(input=y), dict(pad=[2, 1, 1, 2], mode=mode, **value))
        case(f"pad.{mode}_1d", F.pad, dict(input=real(1, 2, 4)), dict(pad=[2, 1], mode=mode, **value))
        case(f"pad.{mode}_3d", F.pad, dict(input=real(1, 1, 2, 3, 2)), dict(pad=[1, 1, 2, 1, 0, 1], mode=mode, **value))
    case("pad.crop", F.pad, dict(input=real(3, 4)), dict(pad=[-1, 2, 1, -1], mode="constant", value=0.0))
    case("flip", torch.flip, dict(input=real(2, 3, 2)), dict(dims=[0, 2]))
    case("roll", torch.roll, dict(input=real(3, 4)), dict(shifts=[1, -2], dims=[0, 1]))
    case("roll.flat", torch.roll, dict(input=real(2, 3)), dict(shifts=2))
    case("repeat", lambda input, repeats: input.repeat(*repeats), dict(input=x), dict(repeats=[2, 1, 2]))
    case("tile", torch.tile, dict(input=x), dict(dims=[2, 2]))
    case("repeat_interleave", torch.repeat_interleave, dict(input=x), dict(repeats=2, dim=1))
    case("repeat_interleave.counts", torch.repeat_interleave, dict(input=x, repeats=ints(2, 0, 3)), dict(dim=1))
    case("repeat_interleave.flat", torch.repeat_interleave, dict(input=x), dict(repeats=3))
    case("unfold", F.unfold, dict(input=real(1, 2, 4, 5)), dict(kernel_size=[2, 3]))
    case("unfold.strided", F.unfold, dict(input=real(2, 1, 5, 5)), dict(kernel_size=2, dilation=2, padding=1, stride=2))
    case("fold", F.fold, dict(input=real(1, 8, 6)), dict(output_size=[3, 4], kernel_size=2))
    case("fold.strided", F.fold, dict(input=real(1, 4, 9)),
         dict(output_size=[5, 5], kernel_size=2, dilation=2, padding=1, stride=2))
    case("tensor_unfold", lambda input, dimension, size, step: input.unfold(dimension, size, step),
         dict(input=real(2, 7)), dict(dimension=1, size=3, step=2))
    for op in "tril triu".split():
        case(op, getattr(torch, op), dict(input=real(3, 4)), dict(diagonal=0))
        case(op + ".above", getattr(torch, op), dict(input=real(2, 3, 3)), dict(diagonal=1))
        case(op + ".below", getattr(torch, op), dict(input=real(4, 3)), dict(diagonal=-1))
    case("diag.build", torch.diag, dict(input=real(3)), dict(diagonal=1))
    case("diag.take", torch.diag, dict(input=real(3, 4)), dict(diagonal=-1))
    case("diagonal", torch.diagonal, dict(input=real(2, 3, 3)), dict(offset=0, dim1=1, dim2=2))
    case("diagonal.offset", torch.diagonal, dict(input=real(3, 2, 4)), dict(offset=1, dim1=0, dim2=2))
    case("diag_embed", torch.diag_embed, dict(input=real(2, 3)), dict(offset=0, dim1=-2, dim2=-1))
    case("trace", torch.trace, dict(input=real(3, 4)))
    case("transpose", torch.transpose, dict(input=real(2, 3, 4)), dict(dim0=0, dim1=-1))
    case("permute", torch.permute, dict(input=real(2, 3, 4)), dict(dims=[2, 0, 1]))
    case("movedim", torch.movedim, dict(input=real(2, 3, 4)), dict(source=[0, 1], destination=[2, 0]))
    case("expand", lambda input, size: input.expand(*size), dict(input=real(3, 1)), dict(size=[2, -1, 4]))
    case("reshape", torch.reshape, dict(input=real(2, 6)), dict(shape=[3, -1, 2]))
    case("reshape_transposed", reshape_transposed, dict(input=real(3, 4)), dict(shape=[2, 6]))
    case("flatten", torch.flatten, dict(input=real(2, 3, 2)), dict(start_dim=1, end_dim=-1))
    case("squeeze", torch.squeeze, dict(input=real(2, 1, 3, 1)), dict(dim=1))
    case("unsqueeze", torch.unsqueeze, dict(input=real(2, 3)), dict(dim=-1))
    case("rot90", torch.rot90, dict(input=real(2, 3)), dict(k=1, dims=[0, 1]))
    case("pixel_shuffle", F.pixel_shuffle, dict(input=real(1, 8, 2, 2)), dict(upscale_factor=2))
    case("pixel_unshuffle", F.pixel_unshuffle, dict(input=real(1, 2, 4, 4)), dict(downscale_factor=2))
    case("diff", torch.diff, dict(input=real(2, 5)), dict(n=2, dim=1))


@noted
def reshape_transposed(input, shape):
    """reshape(input.T, shape): a reshape that has to copy"""
    return input.t().reshape(shape)


def contract(a, equation, b=None, c=None):
    return torch.einsum(equation, *[t for t in (a, b, c) if t is not None])


def matmul():
    GROUP[0] = "matmul"
    for name, a, b in (("dot", (4,), (4,)), ("vector_matrix", (3,), (3, 2)), ("matrix_vector", (2, 3), (3,)),
                       ("plain", (2, 3), (3, 4)),
                       ("batch", (2, 2, 3), (2, 3, 2)), ("batch_matrix", (2, 2, 3), (3, 2)),
                       ("matrix_batch", (2, 3), (2, 3, 2)),
                       ("broadcast", (2, 1, 2, 3), (3, 3, 2)), ("batch_vector", (2, 2, 3), (3,)),
                       ("vector_batch", (3,), (2, 3, 2)),
                       ("inner_zero", (2, 0), (0, 3)), ("no_rows", (0, 3), (3, 2)), ("one", (1, 1), (1, 1))):
        case("matmul." + name, torch.matmul, dict(input=real(*a), other=real(*b)))
    for name, eq, *shapes in (("trace", "ii", (3, 3)), ("diagonal", "ii->i", (3, 3)), ("sum_axis", "ij->j", (2, 3)),
                              ("permute", "ijk->kij", (2, 3, 2)), ("matmul", "ik,kj->ij", (2, 3), (3, 2)),
                              ("outer", "i,j->ij", (3,), (2,)),
                              ("batch", "bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
                              ("ellipsis", "...ij,jk->...ik", (2, 1, 2, 3), (3, 2)),
                              ("bilinear", "bn,anm,bm->ba", (2, 3), (2, 3, 2), (2, 2)),
                              ("attention", "bqhd,bkhd->bhqk", (1, 2, 2, 3), (1, 3, 2, 3)),
                              ("implicit", "ab,bc", (2, 3), (3, 2)), ("hadamard", "ij,ij->", (2, 3), (2, 3))):
        case("einsum." + name, contract, {k: real(*s) for k, s in zip("abc", shapes)}, dict(equation=eq))
    case("outer", torch.outer, dict(input=real(3), vec2=real(4)))
    case("addmm", torch.addmm, dict(input=real(2, 4), mat1=real(2, 3), mat2=real(3, 4)), dict(beta=0.5, alpha=-1.5))
    case("addmm.broadcast", torch.addmm, dict(input=real(4), mat1=real(2, 3), mat2=real(3, 4)))
    case("bmm", torch.bmm, dict(input=real(2, 2, 3), mat2=real(2, 3, 2)))
    case("baddbmm", torch.baddbmm, dict(input=real(2, 2, 2), batch1=real(2, 2, 3), batch2=real(2, 3, 2)),
         dict(beta=2.0, alpha=0.5))
    case("linear", F.linear, dict(input=real(2, 2, 3), weight=real(4, 3), bias=real(4)))
    case("linear.no_bias", F.linear, dict(input=real(3), weight=real(4, 3)))
    case("bilinear", F.bilinear, dict(input1=real(2, 3), input2=real(2, 2), weight=real(2, 3, 2), bias=real(2)))
    case("kron", torch.kron, dict(input=real(2, 2), other=real(3, 2)))
    case("cross", L.cross, dict(input=real(2, 3), other=real(2, 3)), dict(dim=-1))
    case("cdist", torch.cdist, dict(x1=real(3, 2), x2=real(4, 2)), dict(p=2.0))
    case("cdist.p1", torch.cdist, dict(x1=distinct(3, 2, step=0.5), x2=distinct(2, 2, step=0.7)), dict(p=1.0))


@noted
def cholesky(x, upper=False):
    """cholesky(x @ x.mT + I): symmetric whatever x is, so that the gradient has no convention"""
    return L.cholesky(x @ x.mT + torch.eye(x.shape[-1], dtype=f64), upper=upper)


@noted
def cholesky_solve(x, b):
    """solves (x @ x.mT + I) y = b through the Cholesky factor"""
    return torch.cholesky_solve(b, cholesky(x))


@noted
def qr(x):
    """Q * s, s[:, None] * R with s = sign(diag(R)): the factorisation with a positive diagonal, which is unique"""
    q, r = L.qr(x)
    s = r.diagonal(dim1=-2, dim2=-1).sign()
    return q * s[..., None, :], s[..., :, None] * r


@noted
def svd(x):
    """S, U * U, Vh * Vh, U @ Vh of the thin SVD: none depends on the signs of the vectors"""
    u, s, vh = L.svd(x, full_matrices=False)
    return s, u * u, vh * vh, u @ vh


@noted
def svdvals(x):
    """the singular values alone, descending"""
    return L.svdvals(x)


@noted
def eigh(x):
    """of A = (x + x.mT) / 2: eigenvalues ascending, V * V, and V diag(exp(lambda)) V.mT; none depends on signs"""
    w, v = L.eigh((x + x.mT) / 2)
    return w, v * v, (v * w.exp()[..., None, :]) @ v.mT


@noted
def logdet_spd(x):
    """logdet(x @ x.mT + I)"""
    return torch.logdet(x @ x.mT + torch.eye(x.shape[-1], dtype=f64))


def linalg():
    GROUP[0] = "linalg"
    a, ab = square(3, 3), square(2, 3, 3)
    case("cholesky", cholesky, dict(x=a))
    case("cholesky.batch", cholesky, dict(x=square(2, 2, 2)))
    case("cholesky.upper", cholesky, dict(x=a), dict(upper=True))
    case("cholesky_solve", cholesky_solve, dict(x=a, b=real(3, 2)))
    case("qr.square", qr, dict(x=a))
    case("qr.tall", qr, dict(x=real(4, 2)))
    case("qr.wide", qr, dict(x=real(2, 4)))
    case("svd.square", svd, dict(x=a))
    case("svd.tall", svd, dict(x=real(4, 2)))
    case("svd.wide", svd, dict(x=real(2, 4)))
    case("svd.batch", svd, dict(x=real(2, 3, 2)))
    case("svdvals", svdvals, dict(x=real(3, 4)))
    case("eigh", eigh, dict(x=real(4, 4)))
    case("eigh.batch", eigh, dict(x=real(2, 3, 3)))
    case("eigh.one", eigh, dict(x=real(1, 1)))
    case("solve", L.solve, dict(A=a, B=real(3, 2)))
    case("solve.vector", L.solve, dict(A=a, B=real(3)))
    case("solve.batch", L.solve, dict(A=ab, B=real(2, 3, 2)))
    case("solve.right", L.solve, dict(A=a, B=real(2, 3)), dict(left=False))
    case("inverse", torch.inverse, dict(input=a))
    case("inverse.batch", torch.inverse, dict(input=ab))
    case("det", torch.det, dict(input=a))
    case("det.batch", torch.det, dict(input=ab))
    case("det.singular", torch.det, dict(input=given([[1.0, 2.0], [2.0, 4.0]])), grad=False)
    case("logdet", torch.logdet, dict(input=a))
    case("logdet_spd", logdet_spd, dict(x=real(3, 3)))
    case("logdet.negative", torch.logdet, dict(input=given([[0.0, 1.0], [1.0, 0.0]])), grad=False)
    case("slogdet", torch.slogdet, dict(input=given([[0.5, 2.0, 0.1], [1.5, -0.3, 0.2], [0.4, 0.7, 1.1]])))
    case("slogdet.batch", torch.slogdet, dict(input=ab))
    case("pinv.tall", L.pinv, dict(input=real(4, 2)))
    case("pinv.wide", L.pinv, dict(input=real(2, 3)))
    case("pinv.rank_one", L.pinv, dict(input=given([[1.0, 2.0], [2.0, 4.0]])), grad=False)
    for n in (0, 1, 3, -2):
        case(f"matrix_power.{n}", L.matrix_power, dict(input=a), dict(n=n))
    case("matrix_exp", torch.matrix_exp, dict(input=real(3, 3, lo=-1, hi=1)))
    for name, attrs in (("lower", dict(upper=False)), ("upper", dict(upper=True)),
                        ("unit", dict(upper=False, unitriangular=True)),
                        ("right", dict(upper=True, left=False))):
        case("solve_triangular." + name, L.solve_triangular, dict(input=a, B=real(3, 2) if name != "right" else real(2, 3)),
             attrs)
    case("solve_triangular.batch", L.solve_triangular, dict(input=ab, B=real(2, 3, 1)), dict(upper=False))
    case("matrix_norm.fro", L.matrix_norm, dict(input=real(3, 4)), dict(ord="fro"))
    case("matrix_norm.nuclear", L.matrix_norm, dict(input=real(3, 2)), dict(ord="nuc"))


def conv():
    GROUP[0] = "conv"
    def each(name, fn, x, w, bias, attrs):
        inputs = dict(input=real(*x), weight=real(*w))
        if bias:
            inputs["bias"] = real(w[0] if "transpose" not in name else w[1] * attrs.get("groups", 1))
        case(name, fn, inputs, attrs)
    each("conv1d", F.conv1d, (2, 2, 5), (3, 2, 3), True, {})
    each("conv1d.strided", F.conv1d, (1, 2, 9), (2, 2, 3), True, dict(stride=2, padding=2, dilation=2))
    each("conv1d.groups", F.conv1d, (2, 4, 6), (4, 2, 2), True, dict(groups=2, padding=1))
    each("conv1d.depthwise", F.conv1d, (1, 3, 6), (6, 1, 3), False, dict(groups=3, padding="same"))
    each("conv1d.pointwise", F.conv1d, (2, 3, 4), (2, 3, 1), True, {})
    each("conv2d", F.conv2d, (2, 2, 4, 5), (2, 2, 3, 3), True, {})
    each("conv2d.no_bias", F.conv2d, (1, 3, 4, 4), (2, 3, 2, 2), False, {})
    each("conv2d.padded", F.conv2d, (1, 2, 5, 4), (3, 2, 3, 3), True, dict(padding=1))
    each("conv2d.strided", F.conv2d, (1, 2, 7, 6), (2, 2, 3, 2), True, dict(stride=[2, 3], padding=[1, 0]))
    each("conv2d.dilated", F.conv2d, (1, 1, 7, 7), (2, 1, 3, 2), True, dict(dilation=[2, 3], padding=[2, 1]))
    each("conv2d.groups", F.conv2d, (1, 4, 4, 4), (2, 2, 3, 3), True, dict(groups=2, padding=1, stride=2))
    each("conv2d.depthwise", F.conv2d, (2, 3, 4, 4), (3, 1, 3, 3), True, dict(groups=3, padding=1))
    each("conv2d.pointwise", F.conv2d, (1, 3, 3, 4), (4, 3, 1, 1), True, dict(stride=2))
    each("conv2d.whole", F.conv2d, (2, 2, 3, 3), (3, 2, 3, 3), True, {})
    each("conv2d.same", F.conv2d, (1, 1, 4, 5), (2, 1, 2, 4), True, dict(padding="same"))
    each("conv3d", F.conv3d, (1, 2, 3, 4, 3), (2, 2, 2, 2, 2), True, {})
    each("conv3d.strided", F.conv3d, (1, 1, 4, 5, 4), (2, 1, 3, 2, 2), True,
         dict(stride=[1, 2, 2], padding=[1, 1, 0], dilation=[1, 2, 1]))
    each("conv3d.groups", F.conv3d, (1, 2, 3, 3, 3), (4, 1, 2, 2, 2), True, dict(groups=2))
    each("conv_transpose1d", F.conv_transpose1d, (2, 2, 4), (2, 3, 3), True, {})
    each("conv_transpose1d.strided", F.conv_transpose1d, (1, 2, 4), (2, 2, 3), True,
         dict(stride=3, padding=1, output_padding=2, dilation=2))
    each("conv_transpose1d.groups", F.conv_transpose1d, (1, 4, 3), (4, 2, 2), True, dict(groups=2, stride=2))
    each("conv_transpose2d", F.conv_transpose2d, (1, 2, 3, 4), (2, 3, 3, 2), True, {})
    each("conv_transpose2d.strided", F.conv_transpose2d, (2, 2, 3, 3), (2, 2, 3, 3), True,
         dict(stride=2, padding=1, output_padding=1))
    each("conv_transpose2d.dilated", F.conv_transpose2d, (1, 1, 3, 2), (1, 2, 2, 3), False,
         dict(dilation=[2, 1], padding=[1, 2], stride=[1, 2]))
    each("conv_transpose2d.groups", F.conv_transpose2d, (1, 4, 2, 3), (4, 1, 2, 2), True, dict(groups=2, stride=2))
    each("conv_transpose3d", F.conv_transpose3d, (1, 2, 2, 2, 2), (2, 2, 2, 2, 2), True, {})
    each("conv_transpose3d.strided", F.conv_transpose3d, (1, 2, 2, 3, 2), (2, 1, 2, 3, 2), True,
         dict(stride=[2, 1, 2], padding=[0, 1, 1], output_padding=[1, 0, 0], groups=2))


def pool():
    GROUP[0] = "pool"
    size = {1: (2, 2, 7), 2: (1, 2, 5, 6), 3: (1, 1, 4, 5, 4)}
    for d in (1, 2, 3):
        x, name = distinct(*size[d]), f"max_pool{d}d"
        case(name, getattr(F, name), dict(input=x), dict(kernel_size=2))
        case(name + ".padded", getattr(F, name), dict(input=x), dict(kernel_size=3, stride=2, padding=1))
        case(name + ".ceil", getattr(F, name), dict(input=x), dict(kernel_size=2, stride=3, padding=1, ceil_mode=True))
        case(name + ".dilated", getattr(F, name), dict(input=x), dict(kernel_size=2, stride=1, dilation=2))
        case(name + ".indices", getattr(F, name), dict(input=x), dict(kernel_size=2, return_indices=True))
        x, name = real(*size[d]), f"avg_pool{d}d"
        case(name, getattr(F, name), dict(input=x), dict(kernel_size=2))
        case(name + ".padded", getattr(F, name), dict(input=x),
             dict(kernel_size=3, stride=2, padding=1, count_include_pad=True))
        case(name + ".no_pad_count", getattr(F, name), dict(input=x),
             dict(kernel_size=3, stride=2, padding=1, count_include_pad=False))
        case(name + ".ceil", getattr(F, name), dict(input=x), dict(kernel_size=2, stride=3, padding=1, ceil_mode=True))
        case(f"adaptive_avg_pool{d}d", getattr(F, f"adaptive_avg_pool{d}d"), dict(input=x), dict(output_size=[3, 4, 2][:d]))
        case(f"adaptive_max_pool{d}d", getattr(F, f"adaptive_max_pool{d}d"), dict(input=distinct(*size[d])),
             dict(output_size=[3, 4, 2][:d]))
        case(f"lp_pool{d}d", getattr(F, f"lp_pool{d}d"), dict(input=x), dict(norm_type=2.0, kernel_size=2, stride=2))
        case(f"lp_pool{d}d.p3", getattr(F, f"lp_pool{d}d"), dict(input=real(*size[d], lo=0.2, hi=2)),
             dict(norm_type=3.0, kernel_size=3, stride=1))
    case("max_pool2d.rectangle", F.max_pool2d, dict(input=distinct(2, 1, 5, 4)),
         dict(kernel_size=[3, 2], stride=[1, 2], padding=[1, 0]))
    case("max_pool2d.ties", F.max_pool2d, dict(input=given([[[[1.0, 1.0], [1.0, 1.0]]]])), dict(kernel_size=2), smooth=False)
    case("max_pool2d.nan", F.max_pool2d, dict(input=given([[[[1.0, NAN, 2.0, 0.0], [1.0, 3.0, -INF, 1.0]]]])),
         dict(kernel_size=2), grad=False)
    case("avg_pool2d.divisor", F.avg_pool2d, dict(input=real(1, 1, 4, 4)), dict(kernel_size=2, divisor_override=3))
    case("adaptive_avg_pool2d.global", F.adaptive_avg_pool2d, dict(input=real(2, 3, 2, 3)), dict(output_size=[1, 1]))


@noted
def affine_sample(theta, input, size, mode, padding_mode, align_corners):
    """grid_sample(input, affine_grid(theta, size, align_corners), mode, padding_mode, align_corners)"""
    return F.grid_sample(input, F.affine_grid(theta, size, align_corners), mode, padding_mode, align_corners)


def resample():
    GROUP[0] = "resample"
    x = {1: real(1, 2, 5), 2: real(1, 2, 3, 4), 3: real(1, 1, 2, 3, 2)}
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}
    for d in (1, 2, 3):
        up, down = [7, 6, 5][:d], [3, 2, 1][:d]
        for mode in ("nearest", "nearest-exact", "area"):
            case(f"interpolate.{mode}_{d}d", F.interpolate, dict(input=x[d]), dict(size=up, mode=mode))
            case(f"interpolate.{mode}_{d}d_down", F.interpolate, dict(input=x[d]), dict(size=down, mode=mode))
        for corners in (False, True):
            tag = "_corners" if corners else ""
            case(f"interpolate.{linear[d]}{tag}", F.interpolate, dict(input=x[d]),
                 dict(size=up, mode=linear[d], align_corners=corners))
            case(f"interpolate.{linear[d]}{tag}_down", F.interpolate, dict(input=x[d]),
                 dict(size=down, mode=linear[d], align_corners=corners))
    for corners in (False, True):
        tag = "_corners" if corners else ""
        case(f"interpolate.bicubic{tag}", F.interpolate, dict(input=x[2]),
             dict(size=[5, 7], mode="bicubic", align_corners=corners))
    case("interpolate.bicubic_down", F.interpolate, dict(input=real(1, 1, 6, 5)),
         dict(size=[3, 2], mode="bicubic", align_corners=False))
    case("interpolate.scale", F.interpolate, dict(input=x[2]), dict(scale_factor=2.5, mode="bilinear", align_corners=False))
    case("interpolate.scale_nearest", F.interpolate, dict(input=x[2]), dict(scale_factor=[2.0, 0.6], mode="nearest"))
    # grid values are drawn off the pixel centres of both conventions, where bilinear sampling has kinks
    for pad in "zeros border reflection".split():
        for mode in "bilinear nearest bicubic".split():
            for corners in (False, True):
                tag = f"{mode}_{pad}" + ("_corners" if corners else "")
                case("grid_sample." + tag, F.grid_sample, dict(input=real(1, 2, 3, 4), grid=grid(2, (3, 4), corners)),
                     dict(mode=mode, padding_mode=pad, align_corners=corners))
        for mode in "bilinear nearest".split():
            case(f"grid_sample.3d_{mode}_{pad}", F.grid_sample, dict(input=real(1, 1, 2, 3, 4), grid=grid(3, (2, 3, 4), False)),
                 dict(mode=mode, padding_mode=pad, align_corners=False))
    case("grid_sample.3d_corners", F.grid_sample, dict(input=real(1, 1, 2, 3, 4), grid=grid(3, (2, 3, 4), True)),
         dict(mode="bilinear", padding_mode="zeros", align_corners=True))
    for corners in (False, True):
        tag = "_corners" if corners else ""
        case("affine_grid.2d" + tag, F.affine_grid, dict(theta=real(2, 2, 3)), dict(size=[2, 1, 3, 2], align_corners=corners))
        case("affine_grid.3d" + tag, F.affine_grid, dict(theta=real(1, 3, 4)),
             dict(size=[1, 1, 2, 3, 2], align_corners=corners))
    case("affine_sample", affine_sample, dict(theta=given([[[0.83, -0.31, 0.07], [0.27, 0.91, -0.13]]]),
                                              input=real(1, 2, 4, 5)),
         dict(size=[1, 2, 3, 4], mode="bilinear", padding_mode="zeros", align_corners=False))


def grid(d, size, corners):
    """Sampling points [1, 6 or 2 x 3, ..., d] from -1.4 to 1.4, at least 0.1 of a pixel away from centres and midpoints."""
    shape = (1, 2, 3, 2) if d == 2 else (1, 1, 2, 3, 3)

    def make(rng, n):
        out = []
        for i in range(n):
            extent = size[::-1][i % d]  # the last axis of the grid is x, y, z
            while True:
                v = round(rng.uniform(-1.4, 1.4), 3)
                pixel = (v + 1) / 2 * (extent - 1) if corners else ((v + 1) * extent - 1) / 2
                if abs(2 * pixel - round(2 * pixel)) >= 0.1:
                    break
            out.append(v)
        return out
    return Draw(shape, f64, make)


@noted
def batch_norm(input, running_mean, running_var, weight=None, bias=None, **attrs):
    """y, and the running mean and variance after the call"""
    m, v = running_mean.clone(), running_var.clone()
    return F.batch_norm(input, m, v, weight, bias, **attrs), m, v


def layers():
    GROUP[0] = "layers"
    x = real(2, 3, 4)
    for op in "softmax log_softmax".split():
        case(op, getattr(F, op), dict(input=x), dict(dim=-1))
        case(op + ".middle", getattr(F, op), dict(input=x), dict(dim=1))
        case(op + ".wide", getattr(F, op), dict(input=given([[1000.0, 0.0, -1000.0], [1e4, 1e4, 0.0]])), dict(dim=1))
        case(op + ".infinite", getattr(F, op), dict(input=given([[0.0, -INF, 1.0], [-INF, -INF, -INF], [INF, 0.0, 1.0]])),
             dict(dim=1), grad=False)
    case("softmin", F.softmin, dict(input=x), dict(dim=-1))
    case("layer_norm", F.layer_norm, dict(input=x, weight=real(4), bias=real(4)), dict(normalized_shape=[4], eps=1e-5))
    case("layer_norm.two_axes", F.layer_norm, dict(input=x, weight=real(3, 4), bias=real(3, 4)),
         dict(normalized_shape=[3, 4], eps=1e-3))
    case("layer_norm.plain", F.layer_norm, dict(input=x), dict(normalized_shape=[4], eps=1e-5))
    case("rms_norm", F.rms_norm, dict(input=x, weight=real(4)), dict(normalized_shape=[4], eps=1e-6))
    case("rms_norm.plain", F.rms_norm, dict(input=x), dict(normalized_shape=[3, 4], eps=1e-3))
    for name, size in (("batch_norm", (4, 3)), ("batch_norm.images", (2, 3, 2, 3)), ("batch_norm.sequence", (3, 2, 4))):
        c = size[1]
        case(name, batch_norm, dict(input=real(*size), running_mean=real(c), running_var=real(c, lo=0.5, hi=2), weight=real(c),
                                    bias=real(c)),
             dict(training=True, momentum=0.1, eps=1e-5), fixed=("running_mean", "running_var"))
    case("batch_norm.eval", batch_norm, dict(input=real(2, 3, 2), running_mean=real(3), running_var=real(3, lo=0.5, hi=2),
                                             weight=real(3), bias=real(3)),
         dict(training=False, momentum=0.1, eps=1e-3), fixed=("running_mean", "running_var"))
    case("group_norm", F.group_norm, dict(input=real(2, 4, 3), weight=real(4), bias=real(4)), dict(num_groups=2, eps=1e-5))
    case("group_norm.images", F.group_norm, dict(input=real(1, 4, 2, 3)), dict(num_groups=4, eps=1e-5))
    case("instance_norm", F.instance_norm, dict(input=real(2, 3, 4), weight=real(3), bias=real(3)), dict(eps=1e-5))
    case("local_response_norm", F.local_response_norm, dict(input=real(1, 5, 2, 2)), dict(size=3, alpha=0.1, beta=0.75, k=1.0))
    case("normalize", F.normalize, dict(input=real(2, 4)), dict(p=2.0, dim=1, eps=1e-12))
    case("cosine_similarity", F.cosine_similarity, dict(x1=real(3, 4), x2=real(3, 4)), dict(dim=1, eps=1e-8))
    case("embedding", F.embedding, dict(input=given([[1, 4, 1], [0, 2, 4]], i64), weight=real(5, 3)))
    case("embedding.padding", F.embedding, dict(input=ints(1, 2, 1, 0), weight=real(4, 2)), dict(padding_idx=1), smooth=False)
    for mode in "sum mean max".split():
        case("embedding_bag." + mode, F.embedding_bag, dict(input=given([[1, 4, 1], [0, 2, 4]], i64), weight=distinct(5, 3)),
             dict(mode=mode))
    case("one_hot", F.one_hot, dict(input=ints(1, 0, 3)), dict(num_classes=5))
    case("prelu", F.prelu, dict(input=real(2, 3, 2, far=points(0)), weight=real(3, lo=0.1, hi=0.4)))
    case("glu", F.glu, dict(input=real(2, 6)), dict(dim=1))
    qkv = dict(query=real(1, 2, 3, 4), key=real(1, 2, 3, 4), value=real(1, 2, 3, 4))
    attend = F.scaled_dot_product_attention
    case("scaled_dot_product_attention", attend, qkv)
    case("scaled_dot_product_attention.causal", attend, qkv, dict(is_causal=True))
    case("scaled_dot_product_attention.cross", attend,
         dict(query=real(2, 1, 2, 3), key=real(2, 1, 4, 3), value=real(2, 1, 4, 5)), dict(scale=0.4))
    case("scaled_dot_product_attention.bias", attend, dict(qkv, attn_mask=real(1, 2, 3, 3)))
    mask = given([[True, False, True], [True, True, False], [False, True, True]], torch.bool)
    case("scaled_dot_product_attention.mask", attend, dict(qkv, attn_mask=mask))
    case("scaled_dot_product_attention.grouped", attend,
         dict(query=real(1, 4, 2, 3), key=real(1, 2, 2, 3), value=real(1, 2, 2, 3)), dict(enable_gqa=True))


# ---- modules: parameters are inputs like any others, under PyTorch's names ---------------------------------------------


def module(name, make, call, inputs, attrs=None, **options):
    """call(m, tensors of `inputs`) with the parameters of make(), drawn from [-0.8, 0.8], in m's place."""
    m = make().double().eval()
    names = list(inputs)
    draws = dict(inputs, **{k: real(*t.shape, lo=-0.8, hi=0.8) for k, t in m.named_parameters()})

    def run(**tensors):
        kept = {k: v for k, v in tensors.items() if k in draws and k not in names}
        class Bound:
            def __call__(self, *args, **kwargs):
                return torch.func.functional_call(m, kept, args, kwargs)
        return call(Bound(), **{k: tensors[k] for k in names})
    case(name, lambda **t: run(**{k: v for k, v in t.items() if k not in (attrs or {})}), draws, attrs, **options)


def recurrent():
    GROUP[0] = "recurrent"
    nn = torch.nn
    x = real(2, 3, 2)

    def flat(y):  # (output, state) as a flat list
        return [y[0], *(y[1] if isinstance(y[1], tuple) else [y[1]])]
    module("rnn", lambda: nn.RNN(2, 3, batch_first=True), lambda m, input: flat(m(input)), dict(input=x))
    module("rnn.relu", lambda: nn.RNN(2, 3, batch_first=True, nonlinearity="relu"),
           lambda m, input: flat(m(input)), dict(input=x))
    module("lstm", lambda: nn.LSTM(2, 3, batch_first=True), lambda m, input, h, c: flat(m(input, (h, c))),
           dict(input=x, h=real(1, 2, 3), c=real(1, 2, 3)))
    module("lstm.deep", lambda: nn.LSTM(2, 2, 2, batch_first=True, bidirectional=True),
           lambda m, input: flat(m(input)), dict(input=x))
    module("gru", lambda: nn.GRU(2, 3, batch_first=True), lambda m, input, h: flat(m(input, h)), dict(input=x, h=real(1, 2, 3)))
    module("gru.deep", lambda: nn.GRU(2, 2, 2, batch_first=True, bidirectional=True),
           lambda m, input: flat(m(input)), dict(input=x))

    def packed(m, input):
        run = nn.utils.rnn.pack_padded_sequence(input, torch.tensor([1, 3]), batch_first=True, enforce_sorted=False)
        y, state = m(run)
        return [nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0], *(state if isinstance(state, tuple) else [state])]
    module("lstm.packed", lambda: nn.LSTM(2, 2, batch_first=True, bidirectional=True), packed, dict(input=x))
    module("gru.packed", lambda: nn.GRU(2, 2, batch_first=True, bidirectional=True), packed, dict(input=x))


def modules():
    GROUP[0] = "modules"
    nn = torch.nn
    q, kv = real(2, 3, 4), real(2, 5, 4)
    padding = given([[False, False, True, False, True], [False] * 5], torch.bool)
    module("multihead_attention", lambda: nn.MultiheadAttention(4, 2, batch_first=True),
           lambda m, input: list(m(input, input, input, average_attn_weights=False)), dict(input=q))
    module("multihead_attention.cross", lambda: nn.MultiheadAttention(4, 2, batch_first=True),
           lambda m, input, context, padding: m(input, context, context, key_padding_mask=padding)[0],
           dict(input=q, context=kv, padding=padding))
    layer = dict(d_model=4, nhead=2, dim_feedforward=6, dropout=0.0, batch_first=True)
    module("encoder_layer.post", lambda: nn.TransformerEncoderLayer(**layer, activation="gelu"),
           lambda m, input: m(input), dict(input=q))
    module("encoder_layer.pre", lambda: nn.TransformerEncoderLayer(**layer, activation="gelu", norm_first=True),
           lambda m, input: m(input), dict(input=q))
    causal = torch.triu(torch.full((3, 3), -INF, dtype=f64), 1)
    module("decoder_layer", lambda: nn.TransformerDecoderLayer(**layer, activation="gelu"),
           lambda m, input, context: m(input, context, tgt_mask=causal),
           dict(input=q, context=kv))
    module("adaptive_softmax", lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [2, 5], div_value=2.0),
           lambda m, input, target: list(m(input, target)),
           dict(input=real(6, 4), target=ints(0, 3, 8, 1, 4, 6)))
    case("weight_norm", lambda v, g: torch._weight_norm(v, g, 0), dict(v=real(3, 2, 2), g=real(3, 1, 1)))
    bag = given([4, 1, 0, 2, 4, 1], i64)
    for mode in "sum mean max".split():
        case("embedding_bag_offsets." + mode,
             lambda input, weight, offsets, mode: F.embedding_bag(input, weight, offsets, mode=mode),
             dict(input=bag, weight=distinct(5, 3), offsets=ints(0, 2, 2, 5)), dict(mode=mode))
    case("embedding_bag_offsets.weights",
         lambda input, weight, offsets, weights, mode:
         F.embedding_bag(input, weight, offsets, mode=mode, per_sample_weights=weights),
         dict(input=bag, weight=real(5, 3), offsets=ints(0, 2, 2, 5), weights=real(6)), dict(mode="sum"))


def ctc_of_logits(log_probs, **attrs):
    """ctc_loss of log_softmax(log_probs, -1), times 1"""
    inputs = {k: attrs.pop(k) for k in ("targets", "input_lengths", "target_lengths")}
    return F.ctc_loss(F.log_softmax(log_probs, -1), **inputs, **attrs)


def distillation(student, teacher, T):
    """T^2 kl_div(log_softmax(student / T), softmax(teacher / T), reduction="batchmean")"""
    return T * T * F.kl_div(F.log_softmax(student / T, -1), F.softmax(teacher / T, -1), reduction="batchmean")


def focal(input, target, gamma, alpha):
    """alpha_t (1 - p_t)^gamma bce, the mean (torchvision.ops.sigmoid_focal_loss)"""
    p, ce = torch.sigmoid(input), F.binary_cross_entropy_with_logits(input, target, reduction="none")
    p_t, a_t = p * target + (1 - p) * (1 - target), alpha * target + (1 - alpha) * (1 - target)
    return (a_t * (1 - p_t) ** gamma * ce).mean()


def nt_xent(a, b, temperature):
    """cross_entropy of cosines / temperature over the 2 N rows of both views, the row itself left out"""
    z = F.normalize(torch.cat([a, b]), dim=1)
    n = len(a)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.cat([torch.arange(n) + n, torch.arange(n)]))


def barlow(a, b):
    """Zbontar et al., algorithm 1: batch_norm without weights, cross-correlation, lambda 5e-3"""
    c = F.batch_norm(a, None, None, training=True).T @ F.batch_norm(b, None, None, training=True) / len(a)
    off = c - torch.diag(torch.diagonal(c))
    return (torch.diagonal(c) - 1).pow(2).sum() + 5e-3 * off.pow(2).sum()


def vicreg(a, b):
    """Bardes et al., algorithm 1: weights 25, 25, 1"""
    loss = 25 * F.mse_loss(a, b)
    for z in (a, b):
        loss = loss + 25 * F.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean() / 2
        cov = torch.cov(z.T)
        loss = loss + (cov - torch.diag(torch.diagonal(cov))).pow(2).sum() / z.shape[1]
    return loss


def dpo(chosen, rejected, ref_chosen, ref_rejected, beta):
    """-logsigmoid(beta ((chosen - ref_chosen) - (rejected - ref_rejected))), the mean"""
    return -F.logsigmoid(beta * ((chosen - ref_chosen) - (rejected - ref_rejected))).mean()


def losses():
    GROUP[0] = "losses"
    reductions = "none mean sum".split()
    x, t, w = real(4, 3), ints(2, 0, 1, 2), given([0.5, 2.0, 1.25])
    probabilities = given([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8], [0.4, 0.35, 0.25]])
    for r in reductions:
        case("cross_entropy." + r, F.cross_entropy, dict(input=x, target=t), dict(reduction=r))
        case("cross_entropy.full_" + r, F.cross_entropy, dict(input=x, target=ints(2, -100, 1, 0), weight=w),
             dict(reduction=r, label_smoothing=0.1, ignore_index=-100), fixed=("weight",))
        case("cross_entropy.soft_" + r, F.cross_entropy, dict(input=x, target=probabilities, weight=w),
             dict(reduction=r, label_smoothing=0.2), fixed=("weight",))
        case("nll_loss." + r, F.nll_loss, dict(input=x, target=ints(2, 1, 1, 0), weight=w), dict(reduction=r, ignore_index=1),
             fixed=("weight",))
    case("cross_entropy.weights", F.cross_entropy, dict(input=x, target=t, weight=w), fixed=("weight",))
    case("cross_entropy.ignore", F.cross_entropy, dict(input=x, target=ints(2, 1, 1, 0)), dict(ignore_index=1))
    case("cross_entropy.smooth", F.cross_entropy, dict(input=x, target=t), dict(label_smoothing=0.3))
    case("cross_entropy.soft", F.cross_entropy, dict(input=x, target=probabilities))
    case("cross_entropy.images", F.cross_entropy, dict(input=real(2, 3, 2, 2), target=whole(2, 2, 2, hi=3)))
    case("cross_entropy.all_ignored", F.cross_entropy, dict(input=real(2, 3), target=ints(-100, -100)), grad=False)
    case("cross_entropy.wide", F.cross_entropy, dict(input=given([[1000.0, 0.0, -1000.0], [-1e4, 1e4, 0.0]]),
                                                     target=ints(2, 1)))
    case("nll_loss.images", F.nll_loss, dict(input=real(1, 3, 2, 2), target=whole(1, 2, 2, hi=3)))
    p, y = real(2, 3, lo=0.1, hi=0.9), real(2, 3, lo=0, hi=1)
    for r in reductions:
        case("binary_cross_entropy." + r, F.binary_cross_entropy, dict(input=p, target=y, weight=real(3, lo=0.5, hi=2)),
             dict(reduction=r), fixed=("weight",))
        case("binary_cross_entropy_with_logits." + r, F.binary_cross_entropy_with_logits, dict(input=real(2, 3), target=y),
             dict(reduction=r))
        case("kl_div." + r, F.kl_div, dict(input=real(2, 3, lo=-2, hi=-0.2), target=p), dict(reduction=r, log_target=False))
        for op in "mse_loss l1_loss smooth_l1_loss huber_loss".split():
            extra = {"smooth_l1_loss": dict(beta=0.5), "huber_loss": dict(delta=0.8)}.get(op, {})
            case(f"{op}.{r}", getattr(F, op), dict(input=given([[0.3, -1.2, 2.0], [0.1, 0.75, -0.4]]),
                 target=given([[0.1, 0.4, 1.75], [-1.6, 0.45, -2.3]])), dict(reduction=r, **extra))
    case("binary_cross_entropy.saturated", F.binary_cross_entropy,
         dict(input=given([0.0, 1.0, 0.0, 1.0]), target=given([0.0, 1.0, 1.0, 0.0])), grad=False)
    case("binary_cross_entropy_with_logits.weights", F.binary_cross_entropy_with_logits,
         dict(input=real(2, 3), target=y, weight=real(2, 1, lo=0.5, hi=2), pos_weight=real(3, lo=0.5, hi=3)),
         fixed=("weight", "pos_weight"))
    case("binary_cross_entropy_with_logits.wide", F.binary_cross_entropy_with_logits,
         dict(input=given([-1000.0, 1000.0, 50.0, -50.0]), target=given([1.0, 1.0, 0.0, 0.0])), dict(reduction="none"),
         fixed=("target",))
    case("kl_div.batchmean", F.kl_div, dict(input=real(2, 3, lo=-2, hi=-0.2), target=p), dict(reduction="batchmean"))
    case("kl_div.log_target", F.kl_div, dict(input=real(2, 3, lo=-2, hi=-0.2), target=real(2, 3, lo=-2, hi=-0.2)),
         dict(reduction="sum", log_target=True))
    case("kl_div.zero_target", F.kl_div, dict(input=given([-1.0, -2.0]), target=given([0.0, 1.0])), dict(reduction="none"),
         fixed=("target",))
    sign = given([1.0, -1.0, 1.0])
    case("poisson_nll_loss", F.poisson_nll_loss, dict(input=real(2, 3), target=real(2, 3, lo=0, hi=4)),
         dict(log_input=True, full=False), fixed=("target",))
    case("gaussian_nll_loss", F.gaussian_nll_loss, dict(input=real(2, 3), target=real(2, 3), var=real(2, 3, lo=0.3, hi=2)),
         dict(full=True, eps=1e-6))
    case("soft_margin_loss", F.soft_margin_loss, dict(input=real(3), target=sign), fixed=("target",))
    case("hinge_embedding_loss", F.hinge_embedding_loss, dict(input=given([0.3, 0.4, 1.7]), target=sign), dict(margin=1.0),
         fixed=("target",))
    case("margin_ranking_loss", F.margin_ranking_loss,
         dict(input1=given([0.3, 1.4, 0.2]), input2=given([0.9, 0.1, -1.5]), target=sign),
         dict(margin=0.5), fixed=("target",))
    case("cosine_embedding_loss", F.cosine_embedding_loss, dict(input1=real(3, 4), input2=real(3, 4), target=sign),
         dict(margin=-0.9), fixed=("target",))
    case("triplet_margin_loss", F.triplet_margin_loss, dict(anchor=real(2, 3), positive=real(2, 3), negative=real(2, 3)),
         dict(margin=4.0, p=2.0))
    case("multi_margin_loss", F.multi_margin_loss, dict(input=given([[0.1, 0.45, 0.9], [1.3, -0.5, 0.6]]), target=ints(1, 0)),
         dict(p=1, margin=1.0))
    case("ctc_loss", F.ctc_loss, dict(log_probs=real(5, 2, 4, lo=-3, hi=-0.3), targets=given([[1, 2, 2], [3, 1, 0]], i64),
         input_lengths=ints(5, 4), target_lengths=ints(3, 2)), dict(blank=0, reduction="sum"), smooth=False)
    for r in reductions:
        case("ctc_loss.logits_" + r, noted(ctc_of_logits), dict(log_probs=real(6, 3, 4), targets=given([[1, 2, 2], [3, 1, 0], [2, 0, 0]], i64),
             input_lengths=ints(6, 4, 5), target_lengths=ints(3, 2, 1)), dict(blank=0, reduction=r))
        case("poisson_nll_loss." + r, F.poisson_nll_loss, dict(input=real(2, 3, lo=0.2, hi=3), target=real(2, 3, lo=0, hi=4)),
             dict(log_input=False, full=True, eps=1e-4, reduction=r), fixed=("target",))
        case("gaussian_nll_loss." + r, F.gaussian_nll_loss, dict(input=real(2, 3), target=real(2, 3), var=real(2, 3, lo=0.3, hi=2)),
             dict(full=False, reduction=r))
        case("multilabel_soft_margin_loss." + r, F.multilabel_soft_margin_loss, dict(input=real(2, 3), target=given([[1.0, 0, 1], [0, 0, 1]])),
             dict(reduction=r), fixed=("target",))
        case("triplet_margin_loss." + r, F.triplet_margin_loss, dict(anchor=real(2, 3), positive=real(2, 3), negative=real(2, 3)),
             dict(margin=4.0, p=2.0, swap=True, reduction=r))
        case("multi_margin_loss." + r, F.multi_margin_loss, dict(input=given([[0.1, 0.45, 0.9], [1.3, -0.5, 0.6]]), target=ints(1, 0),
             weight=given([0.5, 2.0, 1.5])), dict(p=2, margin=0.8, reduction=r), fixed=("weight",))
    case("distillation", noted(distillation), dict(student=real(3, 4), teacher=real(3, 4)), dict(T=3.0))
    case("sigmoid_focal_loss", noted(focal), dict(input=real(2, 3), target=given([[1.0, 0, 1], [0, 0, 1]])), dict(gamma=1.5, alpha=0.25),
         fixed=("target",))
    case("nt_xent_loss", noted(nt_xent), dict(a=real(4, 3), b=real(4, 3)), dict(temperature=0.5))
    case("barlow_twins_loss", noted(barlow), dict(a=real(5, 3), b=real(5, 3)))
    case("vicreg_loss", noted(vicreg), dict(a=real(5, 3), b=real(5, 3)))
    case("dpo_loss", noted(dpo), dict(chosen=real(4), rejected=real(4), ref_chosen=real(4), ref_rejected=real(4)), dict(beta=0.3))


# ---- recording ------------------------------------------------------------------------------------------------------


def number(v):
    if isinstance(v, bool):
        return str(int(v))
    if isinstance(v, int):
        return str(v)
    if math.isnan(v) or math.isinf(v):
        return f'"{v}"'
    # the shortest text that reads back to the same double, 17 digits at most; -0.0 keeps its point, hence its sign
    return str(int(v)) if v == int(v) and abs(v) < 1e15 and not (v == 0 and math.copysign(1, v) < 0) else repr(v)


def numbers(t):
    return "[" + ",".join(number(v) for v in t.detach().flatten().tolist()) + "]"


def attributes(v):
    """Attribute values as JSON; infinities as strings."""
    if isinstance(v, dict):
        return {k: attributes(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [attributes(x) for x in v]
    return str(v) if isinstance(v, float) and (math.isinf(v) or math.isnan(v)) else v


def kind(t):
    return str(t.dtype).removeprefix("torch.")


def array(t, extra=""):
    return f'{{{extra}"shape":{json.dumps(list(t.shape), separators=(",", ":"))},"dtype":"{kind(t)}","data":{numbers(t)}}}'


def record(c):
    """One case as one line of JSON."""
    inputs = {k: t.clone().requires_grad_(k in c.free) for k, t in c.inputs.items()}
    outputs = c.run(inputs)
    # integer outputs and those that no input reaches have no cotangent
    live = [y for y in outputs if y.requires_grad]
    if c.free and not live:
        raise SystemExit(f"{c.name}: no output depends on {c.free}")
    seeds = [real(*y.shape, lo=-1, hi=1)(f"{c.name}:cotangent{i}") if y.requires_grad else None for i, y in enumerate(outputs)]
    grads = {}
    if live:
        free = [inputs[k] for k in c.free]
        got = torch.autograd.grad(live, free, [s for s in seeds if s is not None], allow_unused=True)
        grads = {k: torch.zeros_like(x) if g is None else g for k, x, g in zip(c.free, free, got)}
        if c.smooth:
            def smooth_part(*xs):
                return tuple(y for y in c.run({**inputs, **dict(zip(c.free, xs))}) if y.requires_grad)
            torch.autograd.gradcheck(smooth_part, free, eps=1e-6, atol=1e-5, rtol=1e-4, check_undefined_grad=False)
    parts = [f'"name":"{c.name}"', f'"op":"{c.op}"', f'"attrs":{json.dumps(attributes(c.attrs), separators=(",", ":"))}']
    if c.note:
        parts.append(f'"note":{json.dumps(c.note)}')
    if not c.smooth:
        parts.append('"smooth":false')
    ins = [array(t, f'"name":"{k}","requires_grad":{str(k in c.free).lower()},') for k, t in c.inputs.items()]
    parts += [f'"inputs":[{",".join(ins)}]', f'"outputs":[{",".join(array(y) for y in outputs)}]']
    parts.append(f'"cotangents":[{",".join("null" if s is None else numbers(s) for s in seeds)}]')
    parts.append(f'"grads":[{",".join(numbers(grads[k]) if k in grads else "null" for k in c.inputs)}]')
    return "{" + ",".join(parts) + "}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the cases, write nothing")
    parser.add_argument("--ops", action="store_true", help="print the operators, write nothing")
    args = parser.parse_args()
    for build in (pointwise, binary, reduce, sort, index, shape, matmul, linalg, conv, pool, resample, layers, recurrent, modules,
                  losses):
        build()
    if args.ops:
        table = {}
        for c in CASES:
            keys, names, n = table.setdefault((c.group, c.op), ({}, {}, [0]))
            keys.update(c.attrs), names.update(c.inputs)
            n[0] += 1
        for (group, op), (keys, names, n) in table.items():
            print(f"{group:9} {op} x{n[0]}  ({', '.join(names)})  {', '.join(keys)}".rstrip())
        return
    if args.list:
        for c in CASES:
            sizes = " ".join(f"{k}{list(t.shape)}" for k, t in c.inputs.items())
            results = " ".join(str(list(y.shape)) for y in c.run(c.inputs))
            print(f"{c.group:9} {c.name:36} {json.dumps(attributes(c.attrs)):44} {sizes} -> {results}")
        return
    here = os.path.dirname(os.path.abspath(__file__))
    total, failed = 0, []
    for group in dict.fromkeys(c.group for c in CASES):
        lines = []
        for c in (c for c in CASES if c.group == group):
            try:
                lines.append(record(c))
            except Exception as e:
                failed.append(f"{c.name}: {e}")
        text = f'{{"engine":"PyTorch {torch.__version__}","cases":[\n' + ",\n".join(lines) + "\n]}\n"
        total += len(text)
        if not failed:
            with open(os.path.join(here, group + ".json"), "w") as f:
                f.write(text)
        print(f"{group:9} {len(lines):4} cases {len(text):8} bytes")
    print(f"{len(CASES)} cases of {len({c.op for c in CASES})} operators, {total} bytes")
    if failed:
        sys.exit("not recorded:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
