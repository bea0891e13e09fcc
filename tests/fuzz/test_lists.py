"""Hostile lists: a reader gives entries, or an error that names the list; nothing else.

More of them: python -m tests.fuzz.harness tests.fuzz.test_lists:any_list 0 2000
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from tests.clips import make_clip
from tests.fuzz.harness import faults
from tests.fuzz.mutate import mutate
from vidssl import VideoIndex, VidsslError
from vidssl.datasets import diving48, hmdb51, kinetics, plain, ssv2, ucf101
from vidssl.evaluate.splits import with_labels
from vidssl.index.sources import find_videos

_NAMES = (
    "a.mp4",
    "run/a.mp4",
    "run /a.mp4",
    "run/b c.mp4",
    'q"u.mp4',
    "k,omma.mp4",
    "röß.mp4",
    "missing.mp4",
    "../a.mp4",
    "/etc/passwd",
    "run",
    ".",
    "..",
    "",
    " ",
    "a\tb.mp4",
    "x" * 300,
    "\udc80.mp4",
    "n\0ul.mp4",
    "con\u2028.mp4",
)
_LABELS = ("run", "run ", "", "1", "0", '"', "a,b", "a\nb", "\x1b[31m", "-1", "9" * 40)
_HEADS = ("path,label,group", "path, label, group", "PATH,LABEL", "label,path", "path", "", "path,path", "path;label")
_SEPARATORS = (",", ", ", " ", "\t", ";")
# What each reader takes: the file that holds the list, and the call.
_UCF = ("classInd.txt", "trainlist01.txt", "testlist01.txt")
_SSV2 = ("labels.json", "train.json", "test.json", "test-answers.csv")
_DIVING = ("Diving48_vocab.json", "Diving48_V2_train.json")
_READERS = (
    *("list.csv", "list.txt", "labels.csv", *_UCF, "brush_hair_test_split1.txt", "kinetics_train.csv"),
    *(*_SSV2, *_DIVING),
)
_VALUES: tuple[object, ...] = (
    *_LABELS,
    0,
    1,
    -1,
    47,
    1.5,
    10**30,
    True,
    None,
    [],
    {},
    ["Back", "FREE"],
    "[something]",
    "a\0b",
    "7/8",
    "\ud800",
)


def lines(name: str, rng: random.Random) -> str:
    """A list as its format says, of names and labels that a disk may hold."""
    separator = "," if name.endswith(".csv") and rng.random() < 0.7 else rng.choice(_SEPARATORS)
    rows = []
    if name.endswith(".json"):
        return json_file(name, rng)
    for number in range(rng.randrange(1, 8)):
        video, label = rng.choice(_NAMES), rng.choice(_LABELS)
        if name == "classInd.txt":
            rows.append(f"{number + 1} {label}")
        elif name.startswith(("trainlist", "testlist")):
            rows.append(f"run/v_run_g0{number}_c01.avi {rng.choice(('', '1', label))}")
        elif name.startswith("brush"):
            rows.append(f"{video} {rng.choice(('0', '1', '2', label))}")
        elif name == "test-answers.csv":
            rows.append(f"{number};{label}")
        elif name.startswith("kinetics"):
            rows.append(separator.join((label, "abc", str(number), "10", "train")))
        elif name == "list.txt":
            rows.append(video)
        else:
            quote = rng.choice(("", "", '"'))
            rows.append(separator.join((f"{quote}{video}{quote}", label, "g1")[: rng.choice((1, 2, 3, 3))]))
    if name.startswith("kinetics"):
        rows.insert(0, "label,youtube_id,time_start,time_end,split")
    elif name in ("list.csv", "labels.csv"):
        rows.insert(0, rng.choice(_HEADS[:1] * 6 + _HEADS))
    return rng.choice(("\n", "\n", "\r\n", "\r")).join(rows) + rng.choice(("\n", ""))


def json_file(name: str, rng: random.Random) -> str:
    """A file of a release, in whose place any value may stand."""

    def value(usual: object) -> object:
        return usual if rng.random() < 0.9 else rng.choice(_VALUES)

    count = rng.randrange(1, 8)
    if name == "labels.json":
        found: object = {f"Moving something {at}": value(str(at)) for at in range(count)}
    elif name == "Diving48_vocab.json":
        found = [value(["Back", f"{at}som"]) for at in range(count)]
    else:
        keys: dict[str, object] = {"id": "7", "template": "Moving [something] 0"}
        if name.startswith("Diving48"):
            keys = {"vid_name": "a_7", "label": 0, "start_frame": 0, "end_frame": 9}
        found = [value({key: value(usual) for key, usual in keys.items() if rng.random() < 0.95}) for _ in range(count)]
    return json.dumps(value(found), ensure_ascii=rng.random() < 0.5)


def any_list(folder: Path) -> Callable[[int], str]:
    root = folder / "input"
    (root / "run").mkdir(parents=True)
    video = make_clip(root / "a.mp4", frames=4).read_bytes()
    for name in ("run/a.mp4", "run/b c.mp4", "run/v_run_g01_c01.avi"):
        (root / name).write_bytes(video)
    index = VideoIndex.build(root, workers=1, progress=False)

    def read(path: Path) -> object:
        if path.name == "labels.csv":
            return with_labels(index, path)
        if path.name in _UCF:
            return ucf101(root, path.parent)
        if path.name.startswith("brush"):
            return hmdb51(root, path.parent)
        if path.name.startswith("kinetics"):
            return kinetics(root, path)
        if path.name in (*_SSV2, *_DIVING):
            return (ssv2 if path.name in _SSV2 else diving48)(root, path.parent).text()
        find_videos(path)
        plain(path)
        return VideoIndex.build(path, workers=1, progress=False).summary()

    def run(seed: int) -> str:
        rng = random.Random(seed)
        name = _READERS[seed % len(_READERS)]
        lists = root if name in ("list.csv", "list.txt", "labels.csv") else root / "lists"
        lists.mkdir(exist_ok=True)
        for left in _READERS:
            (lists / left).unlink(missing_ok=True)
        for other in _UCF if name in _UCF else ():
            (lists / other).write_text("1 run\n" if other == "classInd.txt" else "run/v_run_g01_c01.avi 1\n")
        for other in _SSV2 if name in _SSV2 else _DIVING if name in _DIVING else ():
            (lists / other).write_text("7;run\n" if other.endswith(".csv") else json_file(other, random.Random(0)))
        path = lists / name
        data = lines(name, rng).encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16")), "replace")
        path.write_bytes(mutate(data, seed) if rng.random() < 0.5 else data)
        try:
            read(path)
        except VidsslError as error:
            return "" if str(path.parent) in str(error) else f"{name}: the error names no file: {error}"
        return ""

    return run


def test_hostile_lists_are_read_or_refused(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_lists:any_list", range(300), tmp_path) == []
