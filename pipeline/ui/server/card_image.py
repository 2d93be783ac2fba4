"""The image of a link card: the title and the beginning of the code, as a PNG of 1,200 x 630 pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence

from pipeline.core.text import with_unseen_shown
from pipeline.ui.shared.highlight import clean
from pipeline.ui.shared.theme import TOKENS

WIDTH, HEIGHT = 1200, 630
MARGIN, LINE_HEIGHT, CODE_TOP = 60, 38, 200
MAX_LINES, MAX_LINE_CHARACTERS = 9, 74
MAX_TITLE_CHARACTERS = 60


def draw(title: str, given: str = "", new: str = "", footer: str = "") -> bytes:
    """`given`: the end of the prompt; `new`: what the model wrote after it. Any text; it is cut to what fits."""
    from PIL import Image, ImageDraw, ImageFont

    colours = {name: light for name, (light, _) in TOKENS.items()}
    image = Image.new("RGB", (WIDTH, HEIGHT), colours["surface"])
    pen = ImageDraw.Draw(image)
    sizes = {size: ImageFont.load_default(size) for size in (26, 28, 52)}
    pen.rectangle([(0, 0), (WIDTH, 14)], fill=colours["accent"])
    pen.text((MARGIN, 74), _line(title, MAX_TITLE_CHARACTERS), fill=colours["ink"], font=sizes[52])
    old = _lines(given)[-1:]
    lines = [*((line, False) for line in old), *((line, True) for line in _lines(new)[: MAX_LINES - len(old)])]
    for number, (line, is_new) in enumerate(lines):
        top = CODE_TOP + number * LINE_HEIGHT
        if is_new:
            pen.rectangle(
                [(MARGIN - 20, top - 4), (WIDTH - MARGIN, top + LINE_HEIGHT - 5)], fill=colours["accent-soft"]
            )
            pen.rectangle([(MARGIN - 20, top - 4), (MARGIN - 14, top + LINE_HEIGHT - 5)], fill=colours["accent"])
        pen.text((MARGIN, top), line, fill=colours["ink" if is_new else "ink-3"], font=sizes[28])
    pen.text((MARGIN, HEIGHT - 62), _line(footer, MAX_LINE_CHARACTERS), fill=colours["ink-2"], font=sizes[26])
    file = io.BytesIO()
    image.quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


def _lines(text: str) -> Sequence[str]:
    lines = clean(text[:4_000]).strip("\n").split("\n")
    return [_line(line, MAX_LINE_CHARACTERS) for line in lines if line.strip()]


def _line(text: str, limit: int) -> str:
    """On one line, with tabs as spaces, and without what a font cannot draw."""
    text = with_unseen_shown(text.replace("\t", "    "))
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
