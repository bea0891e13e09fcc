"""Pretext tasks. A task is a table of the frames to show and a head. `METHODS[name](**settings)` makes one.

| file | what it does |
|---|---|
| base.py | `Pretext`: the base class of all tasks |
| registry.py | `METHODS`: the tasks by name; `register` adds your own, `import_pretext` one of a file or module |
| joint.py | several tasks at once |
| model.py, heads.py | join an encoder and a task's head in one module |
| shuffle_learn.py, opn.py, odd_one_out.py, vcop.py | each defines one task |
| pace.py, arrow.py, out_of_order.py, skip_rate.py, jigsaw.py | each defines one of the tasks that resist shortcuts |
"""

from __future__ import annotations

from vidssl.pretext.arrow import Arrow
from vidssl.pretext.base import Objective, Pretext, chances
from vidssl.pretext.jigsaw import Jigsaw
from vidssl.pretext.joint import JOINED_BY, Joint, join, pretext_code, pretext_from
from vidssl.pretext.model import PretextModel, SlotModel, build_encoder, build_model, check_head
from vidssl.pretext.odd_one_out import OddOneOut
from vidssl.pretext.opn import Opn
from vidssl.pretext.out_of_order import OutOfOrder
from vidssl.pretext.pace import Pace
from vidssl.pretext.registry import METHODS, import_pretext, import_pretexts, register
from vidssl.pretext.shuffle_learn import ShuffleLearn
from vidssl.pretext.skip_rate import SkipRate
from vidssl.pretext.vcop import Vcop

for _method in (ShuffleLearn, Opn, OddOneOut, Vcop, Pace, Arrow, OutOfOrder, SkipRate, Jigsaw):
    register(_method)

__all__ = [
    "JOINED_BY",
    "METHODS",
    "Arrow",
    "Jigsaw",
    "Joint",
    "Objective",
    "OddOneOut",
    "Opn",
    "OutOfOrder",
    "Pace",
    "Pretext",
    "PretextModel",
    "ShuffleLearn",
    "SkipRate",
    "SlotModel",
    "Vcop",
    "build_encoder",
    "build_model",
    "chances",
    "check_head",
    "import_pretext",
    "import_pretexts",
    "join",
    "pretext_code",
    "pretext_from",
    "register",
]
