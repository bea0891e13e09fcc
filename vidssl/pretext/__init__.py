"""Pretext tasks: each is a table of what is shown, and a head. `METHODS[name](**settings)` makes one.

| file | what it does |
|---|---|
| base.py | `Pretext`: what every task is made of |
| registry.py | `METHODS` by name, and `register` for your own |
| model.py, heads.py | an encoder and a task's head as one module |
| shuffle_learn.py, opn.py, odd_one_out.py, vcop.py | one task each |
"""

from __future__ import annotations

from vidssl.pretext.base import Pretext
from vidssl.pretext.model import PretextModel, SlotModel, build_encoder, build_model
from vidssl.pretext.odd_one_out import OddOneOut
from vidssl.pretext.opn import Opn
from vidssl.pretext.registry import METHODS, register
from vidssl.pretext.shuffle_learn import ShuffleLearn
from vidssl.pretext.vcop import Vcop

for _method in (ShuffleLearn, Opn, OddOneOut, Vcop):
    register(_method)

__all__ = [
    "METHODS",
    "OddOneOut",
    "Opn",
    "Pretext",
    "PretextModel",
    "ShuffleLearn",
    "SlotModel",
    "Vcop",
    "build_encoder",
    "build_model",
    "register",
]
