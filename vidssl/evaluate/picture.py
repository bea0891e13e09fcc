"""The picture of a retrieval: some queries with their nearest videos, one frame of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidssl.evaluate.features import Features
from vidssl.evaluate.knn import label_ids, max_k, nearest
from vidssl.evaluate.scaling import Scaling
from vidssl.evaluate.splits import Splits
from vidssl.kernels.assemble import assemble
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec, own_colors, plan
from vidssl.plots.nearest import FRAME, Shown, draw_nearest
from vidssl.video.decode import Video, decode

_COLUMNS = 5


def draw_neighbours(
    query: Features,
    gallery: Features,
    data: Splits,
    path: Path,
    *,
    scaling: Scaling = "none",
    most: int = 6,
) -> None:
    """Writes a PNG of queries with their nearest videos, each shown by its middle frame.

    The queries are of different classes as far as possible.

    Args:
        query: Features of the test videos.
        gallery: Features of the training videos.
        data: The videos. With leave_group_out, only videos of other groups than the query's are considered.
        path: The PNG file.
        scaling: How features are rescaled beforehand, see vidssl.evaluate.knn.nearest.
        most: Largest number of queries whose nearest video has their class, and of queries whose nearest video has not.

    Raises:
        VidsslError: A label is missing, or a video cannot be read.
    """
    count = min(_COLUMNS, max_k(query, gallery, leave_group_out=data.leave_group_out))
    near = nearest(query, gallery, count, leave_group_out=data.leave_group_out, scaling=scaling)
    query_label, label = label_ids(query, gallery)
    right = label[near] == query_label[:, None]  # [Q, count]
    rows = []
    for at in _chosen(right[:, 0].numpy(), query_label.numpy(), most):
        found = [
            Shown(
                frame=middle_frame(data.train.video(int(gallery.row[place])), FRAME),
                name=str(gallery.label[place]),
                right=bool(right[at, column]),
            )
            for column, place in enumerate(near[at].tolist())
        ]
        frame = middle_frame(data.test.video(int(query.row[at])), FRAME)
        rows.append((Shown(frame=frame, name=str(query.label[at])), found))
    hits = int(right[:, 0].sum())
    draw_nearest(rows, f"{hits} of {len(right)} queries have one of their class nearest", path)


def _chosen(right: npt.NDArray[np.bool_], label: npt.NDArray[np.int64], most: int) -> list[int]:
    """Rows of up to `most` correct queries, then of wrong ones, taking one of each class before a second of any."""
    rows: list[int] = []
    for kind in (True, False):
        places = np.flatnonzero(right == kind)
        turn = np.array([int((label[places[:at]] == label[place]).sum()) for at, place in enumerate(places)], np.int64)
        rows += places[np.argsort(turn, kind="stable")][:most].tolist()
    return rows


def middle_frame(video: Video, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The middle frame of a video as RGB uint8 [H, W, 3], resized to `size` (height, width) in pixels."""
    frames = decode(video, np.array([video.frames // 2]))
    augment = Augment(resize=size, crop=size)
    spec = PlanSpec(arrangements=np.zeros((1, 1, 1)), labels=np.zeros(1), bases=1, augment=augment)
    made = plan(spec, frames=1, size=frames.size, seed=0, epoch=0, sample=0, train=False)
    picture = assemble(frames, own_colors(made), size=size, dtype="uint8")  # [1, 3, 1, H, W]
    return np.ascontiguousarray(np.asarray(picture)[0, :, 0].transpose(1, 2, 0))
