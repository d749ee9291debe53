"""The model: an image becomes lines, and lines become text."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

MAX_SIDE_PX = 1600
"""Longer sides are scaled down to this: finding text at 2000 takes 0.2 GB more and twice as long (measured)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text as the model read it."""

    text: str
    score: float
    """How sure the model is, 0 to 1."""
    box: tuple[tuple[float, float], ...]
    """Corners in pixels: top left, top right, bottom right, bottom left."""


Recognise = Callable[[Image.Image], list[Line]]
"""Reads an image, top to bottom as the model finds it; an image without text gives no line."""


def as_text(lines: list[Line]) -> str:
    """Lines from top to bottom; pieces whose middles lie within each other's height share a row."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=_middle):
        if rows and abs(_middle(line) - _middle(rows[-1][-1])) < 0.5 * min(
            _height(line), _height(rows[-1][-1])
        ):
            rows[-1].append(line)
        else:
            rows.append([line])
    return "\n".join(" ".join(one.text for one in sorted(row, key=lambda one: one.box[0][0])) for row in rows)


def _middle(line: Line) -> float:
    return sum(y for _, y in line.box) / len(line.box)


def _height(line: Line) -> float:
    return max(y for _, y in line.box) - min(y for _, y in line.box)


def load_model(threads: int) -> Recognise:
    """Load the weights that the package ships; nothing is fetched. Takes about two seconds."""
    # The runtime's Linux binaries report usage to their maker unless told not to, before they are loaded.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from rapidocr import RapidOCR

    engine = RapidOCR(
        params={
            "Global.log_level": "error",
            # Every line comes out; the caller's min_score decides.
            "Global.text_score": 0.0,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )

    def recognise(image: Image.Image) -> list[Line]:
        scale = min(1.0, MAX_SIDE_PX / max(image.size))
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        found = engine(image if scale == 1 else image.resize(size, Image.Resampling.LANCZOS))
        if found.boxes is None or found.txts is None or found.scores is None:
            return []
        return [
            Line(text, float(score), tuple((float(x) / scale, float(y) / scale) for x, y in box))
            for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True)
        ]

    return recognise
