"""The kernels between decoder and encoder, as functions on any DLPack array."""

from vidssl.kernels.assemble import assemble
from vidssl.kernels.augment import Augment
from vidssl.kernels.motion import Motion, motion
from vidssl.kernels.plan import PlanSpec, plan
from vidssl.kernels.reduce import reduce

__all__ = ["Augment", "Motion", "PlanSpec", "assemble", "motion", "plan", "reduce"]
