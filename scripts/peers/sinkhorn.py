"""Entropic transport: `sinkhorn.py plain|log|gradient transport.safetensors`.

Twenty iterations over costs with a dummy row and column. POT updates columns first, this project rows first, so POT is
given the transposed problem, and starts from the same potentials.
"""

import sys

import numpy as np
from safetensors.numpy import load_file

from protocol import agree, serve

ITERATIONS = 20


def main(mode, path):
    task = load_file(path)
    epsilon = float(task["epsilon"][0])
    if mode == "gradient":
        return autograd(task, epsilon)
    import ot

    # Doubles are what POT is used with; nothing is converted while time is taken.
    cost, rows, columns = (task[name].astype(np.float64) for name in ("cost", "rows", "columns"))
    cost_t = np.ascontiguousarray(cost.T)
    start = (np.log(columns), np.zeros_like(rows))

    def solve():
        if mode == "plain":
            return ot.sinkhorn(
                columns, rows, cost_t, epsilon, numItermax=ITERATIONS, stopThr=0, warn=False, warmstart=start
            )
        return ot.bregman.sinkhorn_log(
            columns, rows, cost_t, epsilon, numItermax=ITERATIONS, stopThr=0, warn=False, warmstart=start
        )

    plan = solve().T
    check(task, plan, cost)
    serve(solve)


def check(task, plan, cost):
    agree("transport cost", float((plan * cost).sum()), float(task["value"][0]))
    worst = np.abs(plan[:-1, :-1] - task["plan"]).max()
    agree("largest error of the plan", float(worst), 0.0)


def autograd(task, epsilon):
    import torch

    torch.set_num_threads(1)
    cost, rows, columns = (torch.from_numpy(task[name]) for name in ("cost", "rows", "columns"))
    log_rows, log_columns = rows.log(), columns.log()

    def solve():
        c = cost.detach().requires_grad_()
        g = torch.zeros_like(columns)
        for _ in range(ITERATIONS):
            f = -epsilon * torch.logsumexp(log_columns + (g - c) / epsilon, dim=1)
            g = -epsilon * torch.logsumexp((log_rows + f / epsilon)[:, None] - c / epsilon, dim=0)
        plan = torch.exp((log_rows + f / epsilon)[:, None] + log_columns + (g - c) / epsilon)
        value = (plan * c).sum()
        value.backward()
        return value, plan, c.grad

    value, plan, dcost = solve()
    check(task, plan.detach().numpy(), cost.numpy())
    scale = np.abs(task["dcost"]).max()
    worst = np.abs(dcost.numpy()[:-1, :-1] - task["dcost"]).max() / scale
    agree("largest error of the gradient", float(worst), 0.0)
    serve(solve)


main(*sys.argv[1:])
