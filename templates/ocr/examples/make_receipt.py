"""Draws `receipt.png`, the example: the same pixels on every run with the same Pillow.

Run it with the packages of `../requirements.lock`. The font is the one that Pillow ships.
"""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

ROWS = (
    ("CORNER BAKERY", "", 34),
    ("12 Mill Lane, Northbridge", "", 22),
    ("2026-11-24  08:41   Till 03", "", 22),
    ("", "", 16),
    ("Sourdough loaf", "4.80", 26),
    ("Croissant x2", "5.20", 26),
    ("Flat white", "3.40", 26),
    ("Orange juice", "3.10", 26),
    ("", "", 12),
    ("TOTAL EUR", "16.50", 36),
    ("VISA **** 4242", "16.50", 24),
    ("", "", 14),
    ("Thank you, come again!", "", 24),
)
WIDTH, MARGIN = 460, 36


def draw() -> Image.Image:
    """A till receipt, slightly turned on a dark table, with the grain of a photograph."""
    height = sum(size + 14 for _, _, size in ROWS) + 2 * MARGIN
    paper = Image.new("L", (WIDTH, height), 244)
    pen = ImageDraw.Draw(paper)
    top = MARGIN
    for left_text, right_text, size in ROWS:
        font = ImageFont.load_default(size)
        if right_text:
            pen.text((MARGIN, top), left_text, fill=40, font=font)
            pen.text((WIDTH - MARGIN, top), right_text, fill=40, font=font, anchor="ra")
        else:
            pen.text((WIDTH / 2, top), left_text, fill=40, font=font, anchor="ma")
        top += size + 14
    table = Image.new("L", (WIDTH + 80, height + 80), 92)
    table.paste(paper, (40, 40))
    photo = table.rotate(1.4, resample=Image.Resampling.BICUBIC, fillcolor=92)
    chance = random.Random(20261124)
    grain = Image.frombytes(
        "L", photo.size, bytes(chance.choices(range(112, 145), k=photo.width * photo.height))
    )
    photo = Image.blend(photo.filter(ImageFilter.GaussianBlur(0.6)), grain, 0.12)
    # Sixteen shades keep the file small; the model reads the same.
    return photo.quantize(16)


if __name__ == "__main__":
    draw().save(Path(__file__).with_name("receipt.png"), optimize=True)
