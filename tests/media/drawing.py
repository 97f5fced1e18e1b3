"""Draws the files of docs/howto/media.md: `python -m tests.media.drawing` writes them to docs/pictures/media.

They are drawn, not photographed, so that everybody may copy them, and each has a few kB.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "media"
_SIZE = (320, 240)
_WALL, _TABLE = "#f1ece2", "#b58a5c"
_INVOICES = {
    "invoice-17": [
        "Lamps & Co, Oslo",
        "Invoice 2026-017",
        "Date: 3 March 2026",
        "2 desk lamps  79.50",
        "1 shade  19.00",
    ],
    "invoice-18": ["Lamps & Co, Oslo", "Invoice 2026-018", "Date: 9 March 2026", "4 bulbs  6.25"],
}


def lamp() -> Image.Image:
    """A red desk lamp."""
    picture, draw = _room()
    draw.polygon([(130, 60), (190, 60), (220, 120), (100, 120)], fill="#c8322b")
    draw.rectangle([156, 120, 164, 190], fill="#333333")
    draw.ellipse([120, 182, 200, 202], fill="#333333")
    return picture


def mug() -> Image.Image:
    """A blue mug with a crack."""
    picture, draw = _room()
    draw.ellipse([190, 110, 240, 165], outline="#2b5cc8", width=10)
    draw.rectangle([110, 95, 205, 195], fill="#2b5cc8")
    draw.line([(150, 95), (160, 120), (146, 140), (162, 168)], fill="#111111", width=4)
    return picture


def shelf(*, is_full: bool) -> Image.Image:
    """A shelf with five books, or with four."""
    picture, draw = _room()
    for at, colour in enumerate(["#7a3b8f", "#2f8f5b", "#d08a1e", "#2b5cc8", "#c8322b"]):
        if is_full or at != 2:
            draw.rectangle([90 + 28 * at, 100, 112 + 28 * at, 190], fill=colour)
    return picture


def invoice(lines: list[str]) -> bytes:
    """A PDF of one page with *lines*."""
    shown = "".join(f"({line}) Tj 0 -28 Td " for line in lines)
    stream = f"BT /F1 16 Tf 40 330 Td {shown}ET"
    font = "<< /Font << /F1 5 0 R >> >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 320 380] /Contents 4 0 R /Resources {font} >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    text, places = "%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(text))
        text += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 6\n0000000000 65535 f \n{table}trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{len(text)}\n%%EOF\n"
    return (text + end).encode("ascii")


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    pictures = {"lamp": lamp(), "mug": mug(), "before": shelf(is_full=True), "after": shelf(is_full=False)}
    for name, picture in pictures.items():
        picture.quantize(16).save(FOLDER / f"{name}.png", optimize=True)
    for name, lines in _INVOICES.items():
        (FOLDER / f"{name}.pdf").write_bytes(invoice(lines))
        page = Image.new("RGB", (320, 200), "white")
        for at, line in enumerate(lines):
            ImageDraw.Draw(page).text((24, 20 + 32 * at), line, fill="black", font_size=18)
        page.quantize(16).save(FOLDER / f"{name}.png", optimize=True)


def _room() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", _SIZE, _WALL)
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 190, 320, 240], fill=_TABLE)
    return picture, draw


if __name__ == "__main__":
    main()
