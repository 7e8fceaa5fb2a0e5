#!/usr/bin/env python3
"""Records trajectories of PyTorch's optimisers and values of its schedules into the two JSON files beside this script.

Parameters W [3, 4] and b [3] are numbered 0 ... 14 in that order. At step k = 0, 1, ... the gradient of entry i is
    g_i = a_i (w_i - c_i) + cos(w_i + k),   a_i = 0.5 + 0.1 i,  c_i = 0.3 i - 1,  w_i = sin(i + 1) at first
which is that of sum a_i (w_i - c_i)^2 / 2 + sin(w_i + k). L-BFGS sees the function with k = 0. All in float64.
"""
import json, math, os, warnings

import torch

warnings.filterwarnings("ignore")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch.bfloat16 = torch.float64  # Muon's Newton-Schulz steps in the parameters' dtype, as ours
O = torch.optim
N = 15
a = torch.tensor([0.5 + 0.1 * i for i in range(N)])
c = torch.tensor([0.3 * i - 1 for i in range(N)])


def params(matrices_only):
    w = torch.tensor([math.sin(i + 1) for i in range(N)])
    W, b = w[:12].reshape(3, 4).clone().requires_grad_(), w[12:].clone().requires_grad_()
    return [W] if matrices_only else [W, b]


def flat(ps):
    return torch.cat([p.detach().reshape(-1) for p in ps])


def set_grads(ps, k):
    w, i = flat(ps), 0
    g = a[:len(w)] * (w - c[:len(w)]) + torch.cos(w + k)
    for p in ps:
        p.grad = g[i:i + p.numel()].reshape(p.shape).clone()
        i += p.numel()
    return float((a[:len(w)] * (w - c[:len(w)]) ** 2 / 2 + torch.sin(w + k)).sum())


def trajectory(name, cls, matrices_only=False, **options):
    ps = params(matrices_only)
    opt = cls(ps, **options)
    after = []
    for k in range(20):
        if cls is O.LBFGS:
            def closure():
                return torch.tensor(set_grads(ps, 0))
            opt.step(closure)
        else:
            set_grads(ps, k)
            opt.step()
        if k in (2, 19):
            after.append(flat(ps).tolist())
    states = sorted({key for s in opt.state.values() for key in s})
    return {"name": name, "options": options, "states": states, "after3": after[0], "after20": after[1]}


def trajectories():
    t = trajectory
    yield t("sgd", O.SGD, lr=0.05)
    yield t("sgd.momentum", O.SGD, lr=0.02, momentum=0.9, dampening=0.1, weight_decay=0.01)
    yield t("sgd.nesterov", O.SGD, lr=0.02, momentum=0.9, weight_decay=0.01, nesterov=True)
    yield t("adam", O.Adam, lr=0.05, weight_decay=0.01)
    yield t("adam.amsgrad", O.Adam, lr=0.05, betas=(0.8, 0.95), amsgrad=True)
    yield t("adamw", O.AdamW, lr=0.05, weight_decay=0.1)
    yield t("adagrad", O.Adagrad, lr=0.1, lr_decay=0.05, weight_decay=0.01)
    yield t("adadelta", O.Adadelta, lr=1.0, rho=0.8, weight_decay=0.01)
    yield t("rmsprop", O.RMSprop, lr=0.02, alpha=0.9, weight_decay=0.01)
    yield t("rmsprop.momentum", O.RMSprop, lr=0.01, alpha=0.9, momentum=0.8)
    yield t("rmsprop.centered", O.RMSprop, lr=0.01, alpha=0.9, centered=True)
    yield t("rmsprop.both", O.RMSprop, lr=0.01, alpha=0.9, momentum=0.8, centered=True, weight_decay=0.01)
    yield t("nadam", O.NAdam, lr=0.02, weight_decay=0.01)
    yield t("nadam.decoupled", O.NAdam, lr=0.02, weight_decay=0.1, momentum_decay=0.01, decoupled_weight_decay=True)
    yield t("radam", O.RAdam, lr=0.02, weight_decay=0.01)
    yield t("radam.decoupled", O.RAdam, lr=0.02, betas=(0.8, 0.95), weight_decay=0.1, decoupled_weight_decay=True)
    yield t("adamax", O.Adamax, lr=0.02, weight_decay=0.01)
    yield t("adafactor", O.Adafactor, lr=0.1, weight_decay=0.1)
    yield t("muon", O.Muon, matrices_only=True, lr=0.05)
    yield t("muon.rms", O.Muon, matrices_only=True, lr=0.05, nesterov=False, adjust_lr_fn="match_rms_adamw", weight_decay=0)
    yield t("lbfgs", O.LBFGS, lr=0.5, max_iter=2, history_size=3)
    yield t("lbfgs.wolfe", O.LBFGS, lr=1, max_iter=4, history_size=5, line_search_fn="strong_wolfe")


def schedule(name, make, n=30, metrics=None):
    opt = O.SGD([torch.zeros(1, requires_grad=True)], lr=0.4, momentum=0.9)
    s = make(opt)
    values = []
    for t in range(n):
        values.append(opt.param_groups[0]["lr"])
        opt.step()
        s.step(metrics[t]) if metrics else s.step()
    return {"name": name, "values": values}


def schedules():
    S, s = O.lr_scheduler, schedule
    yield s("step", lambda o: S.StepLR(o, 4, 0.5))
    yield s("multi_step", lambda o: S.MultiStepLR(o, [3, 9, 20], 0.3))
    yield s("exponential", lambda o: S.ExponentialLR(o, 0.9))
    yield s("polynomial", lambda o: S.PolynomialLR(o, 20, 2.0))
    yield s("linear", lambda o: S.LinearLR(o, 0.25, 1.0, 10))
    yield s("cosine", lambda o: S.CosineAnnealingLR(o, 29, 0.01))
    yield s("restarts", lambda o: S.CosineAnnealingWarmRestarts(o, 4, 2, 0.01))
    yield s("restarts.equal", lambda o: S.CosineAnnealingWarmRestarts(o, 7, 1, 0.01))
    yield s("one_cycle", lambda o: S.OneCycleLR(o, 0.4, total_steps=31))
    yield s("one_cycle.linear", lambda o: S.OneCycleLR(o, 0.4, total_steps=31, anneal_strategy="linear", pct_start=0.4))
    yield s("one_cycle.three", lambda o: S.OneCycleLR(o, 0.4, total_steps=31, three_phase=True, div_factor=10))
    yield s("cyclic", lambda o: S.CyclicLR(o, 0.1, 0.4, 3, 5))
    yield s("cyclic.triangular2", lambda o: S.CyclicLR(o, 0.1, 0.4, 4, mode="triangular2"))
    yield s("cyclic.exponential", lambda o: S.CyclicLR(o, 0.1, 0.4, 4, mode="exp_range", gamma=0.95))
    yield s("sequential", lambda o: S.SequentialLR(o, [S.ConstantLR(o, 0.1, 100), S.ExponentialLR(o, 0.9)], [5]))
    yield s("chained", lambda o: S.ChainedScheduler([S.LinearLR(o, 0.25, 1.0, 10), S.ExponentialLR(o, 0.9)]))
    metrics = [1, 0.9, 0.95, 0.91, 0.92, 0.93, 0.8, 0.8, 0.81, 0.8, 0.79999, 0.8, 0.8, 0.8, 0.7, 0.7] + [0.7] * 14
    yield s("plateau", lambda o: S.ReduceLROnPlateau(o, factor=0.5, patience=2, cooldown=1, min_lr=0.02), metrics=metrics)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    for file, rows in (("trajectories", trajectories()), ("schedules", schedules())):
        lines = ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows)
        with open(os.path.join(here, file + ".json"), "w") as f:
            f.write(f'{{"engine":"PyTorch {torch.__version__.split("+")[0]}","cases":[\n{lines}\n]}}\n')
        print(file, lines.count("\n") + 1)
