"""One picture of retrieval: queries, and what was found nearest, right or wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vidssl.evaluate.chart import INK, PAPER, SCALE, SOFT, Pen
from vidssl.evaluate.features import Features
from vidssl.evaluate.knn import findable, labelled, nearest
from vidssl.evaluate.splits import Parts
from vidssl.paths import written
from vidssl.kernels.assemble import assemble
from vidssl.video.decode import Video, decode
from vidssl.kernels.plan import Augment, PlanSpec, plan

RIGHT, WRONG = "#1a7f37", "#b3261e"
CELL = (72, 96)  # height, width of a frame in the picture, in points
COLUMNS = 5
_EDGE, _GAP, _LINE, _TOP = 24, 12, 4, 104


def draw_neighbours(query: Features, gallery: Features, data: Parts, path: Path, *, apart: bool, most: int = 6) -> None:
    """Write a PNG: up to `most` queries whose nearest video is of their class and as many of which it is not, of different classes where
    there are some; beside each its nearest videos, the nearest first. A video is shown by its middle frame.
    """
    count = min(COLUMNS, findable(query, gallery, apart=apart))
    near = nearest(query, gallery, count, apart=apart)
    query_label, label = labelled(query, gallery)
    right = label[near] == query_label[:, None]  # [Q, count]
    rows = _chosen(right[:, 0].numpy(), query_label.numpy(), most)
    step = (CELL[0] + 2 * _LINE + 22, CELL[1] + 2 * _LINE + _GAP)
    size = (_EDGE + (1 + count) * step[1] + 2 * _GAP + _EDGE, _TOP + len(rows) * step[0] + _EDGE)
    canvas = Image.new("RGB", (SCALE * size[0], SCALE * size[1]), PAPER)
    pen = Pen(canvas)
    pen.text(_EDGE, 32, "Nearest videos", INK, 20)
    hits = int(right[:, 0].sum())
    pen.text(_EDGE, 58, f"{hits} of {len(right)} queries have one of their class nearest; frame: green right, red wrong", SOFT, 12)
    pen.text(_EDGE, 86, "query", SOFT, 12)
    pen.text(_EDGE + step[1] + 2 * _GAP, 86, "nearest first", SOFT, 12)
    asked = data.known if data.asked is None else data.asked
    for line, at in enumerate(rows):
        top = _TOP + line * step[0]
        _cell(canvas, pen, asked.video(int(query.row[at])), _EDGE, top, str(query.label[at]), None)
        for column, place in enumerate(near[at].tolist()):
            left = _EDGE + (1 + column) * step[1] + 2 * _GAP
            _cell(canvas, pen, data.known.video(int(gallery.row[place])), left, top, str(gallery.label[place]), bool(right[at, column]))
    with written(path) as aside:
        canvas.save(aside, "PNG")


def _chosen(right: npt.NDArray[np.bool_], label: npt.NDArray[np.int64], most: int) -> list[int]:
    """Right ones, then wrong ones; one of each class before a second of any."""
    rows: list[int] = []
    for kind in (True, False):
        places = np.flatnonzero(right == kind)
        turn = np.array([int((label[places[:at]] == label[place]).sum()) for at, place in enumerate(places)], np.int64)
        rows += places[np.argsort(turn, kind="stable")][:most].tolist()
    return rows


def _cell(canvas: Image.Image, pen: Pen, video: Video, left: int, top: int, name: str, right: bool | None) -> None:
    color = SOFT if right is None else RIGHT if right else WRONG
    pen.box(left, top, left + CELL[1] + 2 * _LINE, top + CELL[0] + 2 * _LINE, color)
    canvas.paste(Image.fromarray(middle_frame(video, (SCALE * CELL[0], SCALE * CELL[1]))), (SCALE * (left + _LINE), SCALE * (top + _LINE)))
    pen.text(left, top + CELL[0] + 2 * _LINE + 9, name[:18], color, 11)


def middle_frame(video: Video, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of the frame in the middle, resized to size (height, width)."""
    frames = decode(video, np.array([video.frames // 2]))
    spec = PlanSpec(arrangements=np.zeros((1, 1, 1)), labels=np.zeros(1), bases=1, augment=Augment(resize=size, crop=size))
    made = plan(spec, frames=1, size=frames.size, seed=0, epoch=0, sample=0, train=False)
    plain = np.zeros_like(made.color)
    plain[..., :3] = np.eye(3, dtype=np.float32)
    picture = assemble(frames, made._replace(color=plain), size=size, dtype="uint8")  # [1, 3, 1, H, W]
    return np.ascontiguousarray(np.asarray(picture)[0, :, 0].transpose(1, 2, 0))
