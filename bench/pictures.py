"""The pictures every measurement uses: generated boards as JPEG files."""

from pathlib import Path

import simplejpeg

from andon.training.pcb.boards import generate_board

# A JPEG comment segment (marker, length, text) that the load generator renumbers: every
# request uploads another file, so that nothing is answered from the cache or kept already.
SERIAL = b"bench-serial:0000000000"
_COMMENT = b"\xff\xfe" + (len(SERIAL) + 2).to_bytes(2, "big") + SERIAL

FIRST_SEED = 900_000  # far from the seeds of the demo and of training


def write_boards(folder: Path, count: int) -> list[Path]:
    """Write `count` distinct 640 x 640 grayscale boards; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"board_{number:03}.jpg"
        board = generate_board(FIRST_SEED + number)
        jpeg = simplejpeg.encode_jpeg(board.image[..., None].copy(), quality=90, colorspace="GRAY")
        path.write_bytes(jpeg[:2] + _COMMENT + jpeg[2:])
        paths.append(path)
    return paths
