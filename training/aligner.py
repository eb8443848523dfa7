"""Fits the aligner: from EfficientNet-Lite0's features into a space shared with MiniLM's captions, by InfoNCE.

Shapes: R rows, features [R,1280], M captions [M,384], points [B,E] of length 1.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from data.dataset import Dataset, open_dataset
from data.record import MAX_CAPTIONS
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.extractors.protocol import extractor_identity
from evaluation.extractors.store import FeatureStore
from evaluation.fidelity.aligner import CARD_FILE, WEIGHTS_FILE, AlignerNetwork
from evaluation.fidelity.captions import PooledCaptions
from training.aligner_card import aligner_readme
from training.aligner_pairs import LEAST_ROWS, Pairs, measure
from training.corpus_pictures import CorpusPictures, Shown, paint
from training.errors import TrainingError
from training.export import attribution, dataset_entry, now, written_whole
from training.run import code_commit

FIRST_SCALE = 20.0  # of cosines in the loss; learnt from here on
MOST_SCALE = 100.0
WARMUP_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class AlignerFit:
    """What the aligner learns from, and how; see ``conf/fitted/aligner.yaml``."""

    name: str = "aligner"
    dataset: str
    out: str
    cache: str = "var/cache"
    device: str = "cpu"
    seed: int = 0
    most_per_set: int = 1500
    most_held_out_per_set: int = 350
    painted_share: float = 0.0
    side_px: int = 64
    width: int = 512
    epochs: int = 30
    batch: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float = 0.2
    phrasings: bool = True

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "most_per_set": (0, 10**7),
            "most_held_out_per_set": (0, 10**7),
            "painted_share": (0, 1),
        }
        ranges |= {"side_px": (16, 1024), "width": (1, 4096), "epochs": (1, 10_000), "batch": (2, 65_536)}
        ranges |= {"learning_rate": (0, 1), "weight_decay": (0, 10), "dropout": (0, 0.95), "seed": (0, 2**63 - 1)}
        for name, (lowest, highest) in ranges.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
                raise TrainingError(f"fitted.{name} {value} must lie in {lowest} to {highest}")

    def fit(self) -> Path:
        """Take features, learn, measure on held-out subjects, and write weights, card, README and attributions.

        Equal settings, data and seed give equal weights: all is learnt by one thread on the CPU.
        Raises TrainingError when the dataset holds too little to learn from or to be measured by.
        """
        begin = time.monotonic()
        dataset = open_dataset(self.dataset)
        chosen = {split: chosen_rows(dataset, split, most) for split, most in self._splits().items()}
        for split, rows in chosen.items():
            if len(rows) < LEAST_ROWS:
                raise TrainingError(f"{dataset.folder} has {len(rows)} drawings of {split}: {LEAST_ROWS} are needed")
        extractor, captions = EfficientNetLite0(device=self.device), PooledCaptions(Path(self.cache))
        texts = _distinct(dataset.records[row] for rows in chosen.values() for row in rows)
        print(f"{len(texts):,} captions, {sum(map(len, chosen.values())):,} drawings of {dataset.folder}")
        texts_ME = captions(list(texts))
        learn, held = (self._pairs(dataset, self._shown(dataset, rows), texts, extractor) for rows in chosen.values())
        network = learnt(self, learn, texts_ME)
        measured = measure(network, [dataset.records[row] for row in chosen["heldout_subject"]], learn, held, texts_ME)
        card = self._card(dataset, len(chosen["train"]), measured, time.monotonic() - begin)
        card["fitted_to"] = {"pictures": extractor_identity(extractor), "captions": captions.digest}
        return self._written(network, card, attribution(dataset))

    def _splits(self) -> dict[str, int]:
        return {"train": self.most_per_set, "heldout_subject": self.most_held_out_per_set}

    def _shown(self, dataset: Dataset, rows: Sequence[int]) -> list[Shown]:
        """Every row as it is, and of one-colour training ones a share painted."""
        shown = [Shown(row) for row in rows]
        for row in rows:
            record = dataset.records[row]
            if record.split == "train" and record.monochrome and _lot(record.key, self.seed) < self.painted_share:
                shown.append(Shown(row, *paint(record.key, self.seed)))
        return shown

    def _pairs(
        self, dataset: Dataset, shown: list[Shown], texts: dict[str, int], extractor: EfficientNetLite0
    ) -> Pairs:
        store = FeatureStore(extractor, Path(self.cache) / "features")
        with tqdm(total=len(shown), desc=f"looking at {dataset.records[shown[0].row].split}", unit=" drawings") as bar:
            features = store(CorpusPictures(dataset, shown, self.side_px), bar.update)
        records = [dataset.records[one.row] for one in shown]
        captions = torch.zeros(len(records), MAX_CAPTIONS, dtype=torch.long)
        for place, record in enumerate(records):
            captions[place, : len(record.captions)] = torch.tensor([texts[text] for text in record.captions])
        number = {subject: place for place, subject in enumerate(dict.fromkeys(record.subject for record in records))}
        return Pairs(
            features=features,
            captions=captions,
            caption_counts=torch.tensor([len(record.captions) for record in records]),
            subjects=torch.tensor([number[record.subject] for record in records]),
        )

    def _card(self, dataset: Dataset, rows: int, measured: dict[str, Any], seconds: float) -> dict[str, Any]:
        return {
            "kind": "aligner",
            "name": self.name,
            "summary": "Puts drawings (EfficientNet-Lite0's features) and captions (MiniLM's) into one space. It learnt"
            " from icons and emoji of 64 px alone; it is no CLIP.",
            "datasets": [dataset_entry(dataset, rows, rows * self.epochs)],
            "licence": "Apache-2.0",
            "obligations": ["Keep the attributions of the training drawings (ATTRIBUTION.md) with the weights."],
            "seed": self.seed,
            "code_commit": code_commit(),
            "config": asdict(self),
            "retrieval": measured,
            "run": {"seconds": round(seconds, 1), "features_on": self.device},
            "created": now(),
        }

    def _written(self, network: AlignerNetwork, card: dict[str, Any], attributions: str) -> Path:
        folder = Path(self.out)
        with written_whole(folder) as building:
            halves = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
            save_file(halves, building / WEIGHTS_FILE)
            (building / CARD_FILE).write_text(json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
            (building / "README.md").write_text(aligner_readme(card))
            (building / "ATTRIBUTION.md").write_text(attributions)
        return folder


def chosen_rows(dataset: Dataset, split: str, most_per_set: int) -> list[int]:
    """Return at most so many rows of a split from each set (0: all), by a digest of their keys; revoked ones never."""
    by_set: dict[str, list[int]] = defaultdict(list)
    for row in dataset.rows(split=split):
        by_set[dataset.records[row].collection].append(row)
    chosen = []
    for rows in by_set.values():
        rows.sort(key=lambda row: hashlib.sha256(dataset.records[row].key.encode()).digest())
        chosen += rows[: most_per_set or None]
    return sorted(chosen)


def learnt(settings: AlignerFit, pairs: Pairs, texts_ME: Tensor) -> AlignerNetwork:
    """Return the network that symmetric InfoNCE gives; van den Oord et al. 2018, Radford et al. 2021.

    Loss: -log softmax_j(s · p_i·c_j) at j = i, over both directions, without pairs of one subject among the negatives.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a sum's order, and so the weights, would follow the number of threads
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            return _learnt(settings, pairs, texts_ME)
    finally:
        torch.set_num_threads(threads)


def _learnt(settings: AlignerFit, pairs: Pairs, texts_ME: Tensor) -> AlignerNetwork:
    network = AlignerNetwork(settings.width, dropout=settings.dropout)
    network.mean.copy_(pairs.features.mean(dim=0))
    network.deviation.copy_(pairs.features.std(dim=0) + 1e-3)
    log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
    optimizer = torch.optim.AdamW(
        [*network.parameters(), log_scale], lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    batch = min(settings.batch, len(pairs))
    steps = settings.epochs * (len(pairs) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    bar = tqdm(total=steps, desc="learning", unit=" steps")
    for _ in range(settings.epochs):
        order = torch.randperm(len(pairs))
        for rows_B in order[: len(order) // batch * batch].view(-1, batch):
            loss = info_nce(network, pairs, rows_B, texts_ME, log_scale, phrasings=settings.phrasings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    bar.close()
    return network.eval().requires_grad_(False)


def info_nce(
    network: AlignerNetwork, pairs: Pairs, rows_B: Tensor, texts_ME: Tensor, log_scale: Tensor, *, phrasings: bool
) -> Tensor:
    """Return the loss of a batch of rows."""
    chance_B = torch.rand(len(rows_B)) if phrasings else torch.zeros(len(rows_B))
    choice_B = (chance_B * pairs.caption_counts[rows_B]).long()
    text_B = pairs.captions[rows_B].gather(1, choice_B[:, None])[:, 0]
    pictures, captions = network.pictures(pairs.features[rows_B]), network.captions(texts_ME[text_B])
    logits_BB = pictures @ captions.T * log_scale.exp().clamp_max(MOST_SCALE)
    subject_B = pairs.subjects[rows_B]
    same_BB = (subject_B[:, None] == subject_B[None]) & ~torch.eye(len(rows_B), dtype=torch.bool)
    logits_BB = logits_BB.masked_fill(same_BB, -1e4)
    own_B = torch.arange(len(rows_B))
    return (functional.cross_entropy(logits_BB, own_B) + functional.cross_entropy(logits_BB.T, own_B)) / 2


def _distinct(records: Any) -> dict[str, int]:
    texts = dict.fromkeys(text for record in records for text in record.captions[:MAX_CAPTIONS])
    return {text: place for place, text in enumerate(texts)}


def _lot(key: str, seed: int) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed}/painted/{key}".encode()).digest()[:8], "big") / 2**64


def _rate(step: int, steps: int) -> float:
    """Return the share of the learning rate: up over the first steps, then a half cosine to zero."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
