"""Train the starter detector on generated boards alone, and export it.

    python -m andon.training.pcb.train --out pcb.onnx --seed 7 --steps 6000 --work /tmp/pcb

Seeded: the boards, the crops of every step and the first weights follow from `--seed`, so the same
command gives the same model (up to the order in which a machine's cores add numbers). Resumable: a
checkpoint is written to `--work` every few hundred steps, and the same command carries on from it.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from andon.training.pcb.export import calibrate, export
from andon.training.pcb.loss import Targets, detection_loss, make_targets
from andon.training.pcb.network import Detector
from andon.training.pcb.samples import CROP, Pool, build_pool, draw_batch

_WARM_UP = 200
_EMA = 0.998
_BOX_WEIGHT = 1.0


def train(
    *,
    out: Path,
    work: Path,
    seed: int = 7,
    steps: int = 6000,
    boards: int = 8000,
    batch: int = 32,
    rate: float = 2e-3,
    width: int = 32,
    threads: int = 2,
    half: bool = False,
    version: str = "1",
    start: Path | None = None,
    save_every: int = 250,
    calibration_boards: int = 160,
    say: Callable[[str], object] = str,
) -> None:
    """Train for `steps` batches, then write the ONNX model to `out`.

    `work` keeps the pool of boards and the checkpoint. `start` is a checkpoint of an earlier
    training whose weights to begin with (fine-tuning); without it training begins at random.
    `half` computes in bfloat16 where that is safe: twice as fast on processors that know it.
    A checkpoint is written every `save_every` steps; `calibration_boards` fresh boards decide where
    a score of 0.5 lies. `say` is called with a line of text now and then, about progress.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    work.mkdir(parents=True, exist_ok=True)
    pool = build_pool(seed, boards, processes=threads, cache=work / f"pool-{seed}-{boards}.npz")
    detector = Detector(width)
    # Twice as fast on CPUs; the overload is missing from PyTorch's types.
    detector = cast("Any", detector).to(memory_format=torch.channels_last)
    if start is not None:
        detector.load_state_dict(torch.load(start, weights_only=True)["average"])
    average = copy.deepcopy(detector)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=rate, weight_decay=0.02)
    checkpoint = work / "checkpoint.pt"
    done = _resume(checkpoint, detector, average, optimiser)
    begin, losses = time.monotonic(), [0.0, 0.0]
    # The next batch is cut while this one is learned from.
    with ThreadPoolExecutor(1) as helper:
        ahead = helper.submit(_prepare, pool, seed, done, batch)
        for step in range(done, steps):
            images, targets = ahead.result()
            ahead = helper.submit(_prepare, pool, seed, step + 1, batch)
            for group in optimiser.param_groups:
                group["lr"] = rate * _schedule(step, steps)
            both = _step(detector, optimiser, images, targets, half=half)
            _follow(average, detector, step)
            losses = [0.98 * old + 0.02 * new for old, new in zip(losses, both, strict=True)]
            if (step + 1) % save_every == 0 or step + 1 == steps:
                _save(checkpoint, step + 1, detector, average, optimiser)
                minutes = (time.monotonic() - begin) / 60
                say(
                    f"step {step + 1}/{steps}  classes {losses[0]:.3f}  boxes {losses[1]:.3f}  "
                    f"{minutes:.1f} min"
                )
    finish(average, out=out, seed=seed, version=version, boards=calibration_boards, say=say)


def finish(
    detector: Detector,
    *,
    out: Path,
    seed: int,
    version: str,
    boards: int = 160,
    say: Callable[[str], object] = str,
) -> None:
    """Calibrate the scores on boards that were not trained on, and export."""
    thresholds = calibrate(detector, seed=seed + 1000, boards=boards)
    say("logits that become a score of 0.5: " + " ".join(f"{t:.2f}" for t in thresholds))
    export(
        detector,
        thresholds,
        out,
        version=version,
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        description="Andon starter detector for bare-board defects in binarised scans; "
        "trained on generated boards only",
    )


def _prepare(pool: Pool, seed: int, step: int, batch: int) -> tuple[torch.Tensor, Targets]:
    """The batch of one step: it depends on nothing but the seed and the step's number."""
    images, truths = draw_batch(pool, np.random.default_rng([seed, step]), batch)
    return (
        torch.from_numpy(images).to(memory_format=torch.channels_last),
        make_targets(truths, CROP),
    )


def _step(
    detector: Detector,
    optimiser: torch.optim.Optimizer,
    images: torch.Tensor,
    targets: Targets,
    *,
    half: bool,
) -> tuple[float, float]:
    detector.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        raw = detector(images)
    classification, boxes = detection_loss(raw.float(), targets)
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward([classification + _BOX_WEIGHT * boxes])
    torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
    optimiser.step()
    return float(classification.detach()), float(boxes.detach())


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: a linear rise, then a cosine down to 1 %."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    progress = (step - _WARM_UP) / max(1, steps - _WARM_UP)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def _follow(average: Detector, detector: Detector, step: int) -> None:
    """Let the averaged weights (the ones that are shipped) follow the trained ones."""
    keep = min(_EMA, (step + 1) / (step + 10))
    with torch.no_grad():
        followers = average.state_dict()
        for name, value in detector.state_dict().items():
            if value.dtype.is_floating_point:
                followers[name].lerp_(value, 1 - keep)
            else:
                followers[name].copy_(value)


def _save(
    path: Path, step: int, detector: Detector, average: Detector, optimiser: torch.optim.Optimizer
) -> None:
    state: dict[str, Any] = {
        "step": step,
        "detector": detector.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)  # never a half-written checkpoint


def _resume(
    path: Path, detector: Detector, average: Detector, optimiser: torch.optim.Optimizer
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    detector.load_state_dict(state["detector"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Entry point of `python -m andon.training.pcb.train`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--work", type=Path, required=True, help="folder for pool and checkpoint")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6000, help="batches to train for")
    parser.add_argument("--boards", type=int, default=8000, help="boards to generate")
    parser.add_argument("--batch", type=int, default=32, help="crops in a batch")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--half", action="store_true", help="compute in bfloat16 where safe")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--version", default="1", help="version to write into the model")
    options = parser.parse_args()
    train(**vars(options), say=_say)


if __name__ == "__main__":
    main()
