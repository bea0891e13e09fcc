"""Pretext tasks. `METHODS[name](**settings)` makes one: a table of what is shown, and a head."""

from __future__ import annotations

from vidssl.pretext.base import Pretext
from vidssl.pretext.model import PretextModel, SlotModel, build_encoder, build_model
from vidssl.pretext.odd_one_out import OddOneOut
from vidssl.pretext.opn import Opn
from vidssl.pretext.shuffle_learn import ShuffleLearn
from vidssl.pretext.vcop import Vcop

METHODS: dict[str, type[Pretext]] = {method.name: method for method in (ShuffleLearn, Opn, OddOneOut, Vcop)}

__all__ = ["METHODS", "OddOneOut", "Opn", "Pretext", "PretextModel", "ShuffleLearn", "SlotModel", "Vcop", "build_encoder", "build_model"]
