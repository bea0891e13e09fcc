"""The three stages between decoder and encoder, as functions on any DLPack array."""

from vidssl.stages.assemble import assemble
from vidssl.stages.motion import Motion, motion
from vidssl.stages.plan import Augment, PlanSpec, plan

__all__ = ["Augment", "Motion", "PlanSpec", "assemble", "motion", "plan"]
