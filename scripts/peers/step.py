"""A training step in PyTorch: `step.py small|words eager|compiled task.json`, the weights in `weights.safetensors` beside it.

Graphs are padded to the longest of their batch. Names of parameters are those of the checkpoint.
"""

import json
import math
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from protocol import agree, serve

NEVER = -1e9
EPSILON, ITERATIONS, DELETION, INSERTION = 0.5, 20, 2.0, 4.0


class Batch:
    """Some examples as padded tensors: B examples of at most n nodes and m labels."""

    def __init__(self, examples, slots):
        n = max(len(e["rows"]) for e in examples)
        m = max(len(e["target"]) for e in examples)

        def pad(values, length, filler):
            return values + [filler] * (length - len(values))

        hashes = len(examples[0]["rows"][0])
        self.rows = torch.tensor([pad(e["rows"], n, [0] * hashes) for e in examples])
        self.positions = torch.tensor([pad([min(p, 7) for p in e["positions"]], n, 0) for e in examples])
        self.nodes = torch.tensor([pad([True] * len(e["rows"]), n, False) for e in examples])
        self.can_copy = torch.tensor([pad(e["can_copy"], n, False) for e in examples])
        self.copies = torch.tensor([pad(e["copies"], n, -1) for e in examples])
        self.labels = torch.tensor([pad([True] * len(e["target"]), m, False) for e in examples])
        self.target = torch.tensor([pad(e["target"], m, 0) for e in examples])
        self.target_length = self.labels.sum(1)
        self.candidates = self.nodes.repeat_interleave(slots, dim=1)
        # Whether candidate i would write label j by copying.
        copies = self.copies[:, :, None] == self.target[:, None, :]
        self.copied = copies.repeat_interleave(slots, dim=1)
        self.may_copy = self.can_copy.repeat_interleave(slots, dim=1)
        self.padded = not bool(self.nodes.all())


class Net(torch.nn.Module):
    def __init__(self, kind, weights, task):
        super().__init__()
        self.kind, self.task = kind, task
        self.width, self.slots, self.temperature = task["width"], task["slots"], task["temperature"]
        self.weights = torch.nn.ParameterDict()
        recurrent = sorted({name.split(".down.")[0] for name in weights if ".down." in name})
        self.lstms = torch.nn.ModuleDict()
        for name in recurrent:
            self.lstms[name.replace(".", "_")] = self.lstm(weights, name)
        for name, value in weights.items():
            if not any(name.startswith(f"{r}.{side}") for r in recurrent for side in ("down", "up")):
                self.weights[name.replace(".", "_")] = torch.nn.Parameter(value.clone())

    def lstm(self, weights, name):
        module = torch.nn.LSTM(self.width, self.width, batch_first=True, bidirectional=True)
        with torch.no_grad():
            for suffix, side in (("", "down"), ("_reverse", "up")):
                getattr(module, f"weight_ih_l0{suffix}").copy_(weights[f"{name}.{side}.input.weight"].T)
                getattr(module, f"weight_hh_l0{suffix}").copy_(weights[f"{name}.{side}.state"].T)
                getattr(module, f"bias_ih_l0{suffix}").copy_(weights[f"{name}.{side}.input.bias"])
                getattr(module, f"bias_hh_l0{suffix}").zero_()
        return module

    def p(self, name):
        return self.weights[name.replace(".", "_")]

    def linear(self, x, name):
        return torch.matmul(x, self.p(f"{name}.weight")) + self.p(f"{name}.bias")

    def norm(self, x, name):
        return F.layer_norm(x, (self.width,), self.p(f"{name}.gain"), self.p(f"{name}.shift"), 1e-5)

    def gated(self, x, batch, name, distance):
        h = self.norm(x, f"{name}.norm")
        if batch.padded:
            h = h * batch.nodes[:, :, None]
        n = h.shape[1]
        before = F.pad(h, (0, 0, distance, 0))[:, :n]
        after = F.pad(h, (0, 0, 0, distance))[:, distance : distance + n]
        message = F.glu(self.linear(torch.cat((before, h, after), 2), f"{name}.gather"), dim=2)
        return x + F.dropout(self.linear(message, f"{name}.project"), self.task["dropout"], self.training)

    def recurrent(self, x, batch, name):
        assert not batch.padded, "batches of the words model hold one length each"
        states, _ = self.lstms[name.replace(".", "_")](self.norm(x, f"{name}.norm"))
        return x + F.dropout(self.linear(states, f"{name}.project"), self.task["dropout"], self.training)

    def forward(self, batch):
        x = F.embedding(batch.rows, self.p("embedding.table")).sum(2)
        x = x + F.embedding(batch.positions, self.p("embedding.positions"))
        x = F.dropout(x, self.task["embedding_dropout"], self.training)
        if self.kind == "small":
            for i, distance in enumerate((1, 2, 4)):
                x = self.gated(x, batch, f"stages.0.rounds.{i}", distance)
        else:
            x = self.gated(x, batch, "stages.0.rounds.0", 1)
            x = self.recurrent(x, batch, "stages.0.rounds.1")
            x = self.recurrent(x, batch, "stages.0.rounds.2")
        candidates, logit = self.morph(x)
        return self.realised(candidates, logit, batch) if self.kind == "small" else self.marginal(candidates, logit, batch)

    def morph(self, x):
        """Candidates, B x nK x d, and the logits of their gates."""
        h = self.norm(x, "stages.0.morph.norm")
        c = h[:, :, None] + self.p("stages.0.morph.slots")
        weight = torch.stack([self.p(f"stages.0.morph.read.{k}.weight") for k in range(self.slots)])
        bias = torch.stack([self.p(f"stages.0.morph.read.{k}.bias") for k in range(self.slots)])
        c = c + F.gelu(torch.einsum("bnkd,kde->bnke", c, weight) + bias, approximate="tanh")
        c = c.flatten(1, 2)
        query, key = (self.linear(c, f"stages.0.morph.gate.{name}") for name in ("query", "key"))
        first = self.p("stages.0.morph.gate.key.bias").expand(c.shape[0], 1, -1)
        targets = torch.cat((first, key[:, :-1]), 1)
        similarity = (query * targets).sum(2) / math.sqrt(query.shape[2])
        thresholds = self.p("stages.0.morph.gate.thresholds").repeat(c.shape[1] // self.slots)
        return c, (similarity - thresholds) / self.temperature

    def labels(self, x, may_copy):
        """Log probabilities of all outcomes."""
        scores = self.linear(x, "head.linear")
        copy = F.pad(~may_copy[:, :, None], (scores.shape[2] - 1, 0))
        return scores.masked_fill(copy, -torch.inf).log_softmax(2)

    def of_targets(self, log, copied, batch):
        """`ln p(label j | node i)`, B x nodes x m: by its own symbol, by copying, or by both."""
        outcomes = log.shape[2]
        known = batch.target < outcomes - 1
        symbol = log.gather(2, (batch.target * known)[:, None, :].expand(-1, log.shape[1], -1))
        symbol = symbol.masked_fill(~known[:, None, :], NEVER)
        copy = log[:, :, -1:].clamp_min(NEVER).expand_as(symbol).masked_fill(~copied, NEVER)
        return torch.logaddexp(symbol, copy)

    def marginal(self, c, logit, batch):
        """Minus the log of the sum over all ways to merge or to stay; the losses, B."""
        log = self.of_targets(self.labels(c, batch.may_copy), batch.copied, batch)
        merge, stay = F.logsigmoid(logit), F.logsigmoid(-logit)
        written = log + stay[:, :, None]
        alpha = torch.full((c.shape[0], batch.target.shape[1] + 1), NEVER)
        alpha[:, 0] = 0
        for i in range(c.shape[1]):
            kept = alpha + merge[:, i, None]
            moved = F.pad(alpha[:, :-1] + written[:, i], (1, 0), value=NEVER)
            alpha = torch.logaddexp(kept, moved)
        return -alpha.gather(1, batch.target_length[:, None])[:, 0]

    def realised(self, c, logit, batch):
        """The likeliest choices held fixed, and transport with a dummy row and column; the losses, B."""
        merge, stay = F.logsigmoid(logit), F.logsigmoid(-logit)
        stays = (merge <= stay) & batch.candidates
        owner = (stays.cumsum(1) - 1).clamp_min(0)
        weight = torch.where(stays, 1.0, merge.exp()) * batch.candidates
        rows = F.one_hot(owner, c.shape[1]).transpose(1, 2) * weight[:, None, :]
        total = rows.sum(2, keepdim=True)
        h = torch.bmm(rows / total.clamp_min(1e-30), c)
        # Which candidate each output node is: kept ones first, in order.
        kept = torch.argsort(~stays, dim=1, stable=True)
        exists = torch.arange(c.shape[1]) < stays.sum(1, keepdim=True)
        mass = stay.gather(1, kept).exp() * exists
        may_copy = batch.may_copy.gather(1, kept)
        copied = batch.copied.gather(1, kept[:, :, None].expand(-1, -1, batch.copied.shape[2]))
        cost = -self.of_targets(self.labels(h, may_copy), copied, batch)
        return self.transport(cost, mass, exists, batch)

    def transport(self, cost, mass, exists, batch):
        cost = F.pad(cost, (0, 1), value=DELETION)
        cost = torch.cat((cost, torch.full_like(cost[:, :1], INSERTION)), 1)
        corner = torch.zeros_like(cost)
        corner[:, -1, -1] = INSERTION
        cost = cost - corner
        log_rows = torch.where(exists, mass, 1.0).log().masked_fill(~exists, NEVER)
        log_rows = torch.cat((log_rows, batch.target_length[:, None].float().log()), 1)
        log_columns = torch.zeros_like(batch.target, dtype=torch.float).masked_fill(~batch.labels, NEVER)
        log_columns = torch.cat((log_columns, mass.sum(1, keepdim=True).log()), 1)
        g = torch.zeros_like(log_columns)
        scaled = cost / EPSILON
        for _ in range(ITERATIONS):
            f = -torch.logsumexp((log_columns + g)[:, None, :] - scaled, dim=2)
            g = -torch.logsumexp((log_rows + f)[:, :, None] - scaled, dim=1)
        plan = torch.exp((log_rows + f)[:, :, None] + (log_columns + g)[:, None, :] - scaled)
        return (plan * cost).sum((1, 2))


def main(kind, mode, path):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    with open(path) as file:
        task = json.load(file)
    net = Net(kind, load_file(os.path.join(os.path.dirname(path), "weights.safetensors")), task)
    order = list(range(len(task["examples"])))
    if kind == "words":
        order.sort(key=lambda i: len(task["examples"][i]["rows"]))
    size = task["batch"]
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    tensors = [Batch([task["examples"][i] for i in batch], task["slots"]) for batch in batches]

    net.eval()
    with torch.no_grad():
        for batch, tensor in zip(batches, tensors):
            for i, loss in zip(batch, net(tensor).tolist()):
                agree(f"loss of example {i}", loss, task["losses"][i])

    if kind == "words":
        net.train()
    # Weights hardly move at this rate, as on the other side.
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=task["rate"], betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01, fused=True
    )
    forward = torch.compile(lambda batch: net(batch).sum()) if mode == "compiled" else lambda batch: net(batch).sum()

    def steps():
        for batch in tensors:
            optimiser.zero_grad(set_to_none=True)
            forward(batch).backward()
            optimiser.step()

    steps()
    steps()
    serve(steps)


main(*sys.argv[1:])
