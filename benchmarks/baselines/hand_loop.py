"""The loop that a careful user writes by hand: everything in memory, plain torch, DistributedDataParallel for two.

With --silent the ranks do not talk at all: what two could do at most.

Run by `benchmarks/fit.py` in a process of its own; prints one line of JSON with rows per second of each epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from sparkdl.nn import MLP


def data(rows: int, columns: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (rows, columns) and a target (rows, 1)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, columns, generator=generator)
    return x, x.sum(dim=1, keepdim=True)


def train(rank: int, world: int, port: int, args: argparse.Namespace, results: mp.SimpleQueue | None) -> list[float]:
    """Train on this rank's rows and return rows per second of each epoch, over all ranks."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network: nn.Module = MLP(inputs=args.columns, outputs=1, hidden=args.hidden)
    if world > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
        dist.init_process_group("gloo", rank=rank, world_size=world)
        network = network if args.silent else nn.parallel.DistributedDataParallel(network)
    x, y = data(args.rows // world, args.columns, seed=rank)
    batch = args.batch // world
    loss_of = nn.MSELoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    speeds = []
    for _ in range(args.epochs):
        began = time.perf_counter()
        order = torch.randperm(len(x))
        total = 0.0
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            optimizer.zero_grad()
            loss = loss_of(network(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item()
        if world > 1:
            dist.barrier()
        speeds.append(len(x) * world / (time.perf_counter() - began))
    if world > 1:
        dist.destroy_process_group()
    if results is not None and rank == 0:
        results.put(speeds)
    return speeds


def main() -> None:
    """Run one or two ranks and print what rank 0 has measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 512])
    args = parser.parse_args()
    if args.ranks == 1:
        speeds = train(0, 1, 0, args, None)
    else:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        results: mp.SimpleQueue = mp.get_context("spawn").SimpleQueue()
        mp.spawn(train, args=(args.ranks, port, args, results), nprocs=args.ranks)
        speeds = results.get()
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
