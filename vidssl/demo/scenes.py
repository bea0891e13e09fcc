"""The demo's scenes: nine everyday processes with a direction in time, so that the order of three clips is visible.

Every scene is a function that paints on a `Canvas`. Colours, sizes, positions, speeds, background, exposure, noise and
encoder settings are drawn at random for each video; only the physics is the same within a class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vidssl.demo.canvas import Canvas, soft


def ball(c: Canvas) -> None:
    """A ball is thrown, and each bounce is lower than the one before."""
    rng, radius, floor = c.rng, c.rng.uniform(0.05, 0.1), c.rng.uniform(0.8, 0.95)
    side, speed = rng.choice([-1, 1]), rng.uniform(0.006, 0.012)
    gravity, kept = rng.uniform(0.0025, 0.004), rng.uniform(0.7, 0.85)
    height, rise = rng.uniform(0.4, 0.65), 0.0
    heights = np.empty_like(c.t)
    for f in range(c.t.size):
        heights[f] = height
        rise -= gravity
        height += rise
        if height < 0:
            height, rise = -height * kept, -rise * kept
    x = c.right / 2 + side * (speed * c.t - rng.uniform(0.25, 0.45))
    c.paint(c.box(-1, floor, 3, 2), c.color(0.1))
    c.paint(c.disc(x, floor - radius - heights, radius), c.color())


def pendulum(c: Canvas) -> None:
    """A pendulum swings with decreasing amplitude."""
    rng, length, radius = c.rng, c.rng.uniform(0.5, 0.75), c.rng.uniform(0.05, 0.1)
    period, life = rng.uniform(20, 30), rng.uniform(32, 48)
    angle = rng.uniform(0.8, 1.2) * np.exp(-c.t / life) * np.cos(2 * np.pi * c.t / period + rng.uniform(0, 2 * np.pi))
    pivot_x, pivot_y = c.right * rng.uniform(0.4, 0.6), rng.uniform(0.02, 0.12)
    x, y, color = pivot_x + length * np.sin(angle), pivot_y + length * np.cos(angle), c.color()
    c.paint(c.line(pivot_x, pivot_y, x, y, 0.015), color)
    c.paint(c.disc(x, y, radius), color)


def ink(c: Canvas) -> None:
    """A drop of ink spreads in water: its width grows with the square root of time, and its darkest spot fades."""
    rng, drops = c.rng, 14
    drift = rng.normal(0, 0.02, (c.t.size, 2, drops)).cumsum(0).astype(np.float32)
    place = rng.uniform(0.35, 0.65, 2) * (c.right, 1)
    start = rng.normal(0, 0.02, (2, drops)) + place[:, None]
    apart = rng.normal(0, 1, (2, drops)) * rng.uniform(0.015, 0.025) * np.sqrt(c.t)[:, None, None]
    center = (start + apart + 0.3 * drift).astype(np.float32)
    sigma = np.sqrt(0.03**2 + rng.uniform(0.0001, 0.0003, drops) * c.t[:, None]).astype(np.float32)
    density = c.blobs(center[:, 0], center[:, 1], sigma, rng.uniform(0.6, 1.2) * (0.03 / sigma) ** 1.2)
    c.paint(1 - np.exp(-density), c.color())


def plant(c: Canvas) -> None:
    """A stem grows out of the ground and unfolds leaves."""
    rng, ground, color = c.rng, c.rng.uniform(0.82, 0.95), c.color()
    grown, knots = rng.uniform(0.55, 0.8) * (c.t + rng.uniform(2, 12)) / c.t.size, 48
    along = np.linspace(0, 0.8, knots, dtype=np.float32)
    bend, curl = rng.uniform(-0.5, 0.5), rng.uniform(2, 6)
    stem_x = c.right * rng.uniform(0.35, 0.65) + bend * along**2 + 0.02 * np.sin(curl * along * 3)
    leaf = np.arange(5, knots, rng.integers(5, 9))
    side = np.where(np.arange(leaf.size) % 2, 1, -1) * rng.uniform(0.045, 0.065)
    age = np.clip((grown[:, None] - along) * 12, 0, 1)
    unfold = np.clip((grown[:, None] - along[leaf]) * 4, 0, 1)
    sway = 0.01 * np.sin(c.t * rng.uniform(0.1, 0.25))[:, None]
    stem = (stem_x + sway, ground - along + 0 * sway, 0.012 + 0 * age, age)
    leaves = (stem_x[leaf] + sway + side * unfold, ground - along[leaf] - 0.03 * unfold, 0.008 + 0.032 * unfold, unfold)
    field = c.blobs(*(np.concatenate(pair, 1).astype(np.float32) for pair in zip(stem, leaves, strict=True)))
    c.paint(c.box(-1, ground, 3, 2), c.color(0.1))
    c.paint(np.clip((field - 0.45) * 4, 0, 1), color)


def car(c: Canvas) -> None:
    """A car starts and drives off; its exhaust stays behind and disperses."""
    rng, side, road, size = c.rng, c.rng.choice([-1, 1]), c.rng.uniform(0.75, 0.9), c.rng.uniform(0.8, 1.2)
    gone = 0.5 * rng.uniform(0.0002, 0.00035) * (c.t + rng.uniform(0, 12)) ** 2
    x = c.right / 2 + side * (gone - rng.uniform(0.3, 0.45))
    long, wheel, body, cabin = 0.17 * size, 0.04 * size, c.color(), c.color()
    puff = np.arange(0, c.t.size, 3)
    old = np.maximum(c.t[:, None] - c.t[puff], 0)
    puff_x = (x - side * long)[puff] + rng.normal(0, 0.01, puff.size) - side * 0.003 * old
    puff_y = road - wheel - 0.004 * old - rng.uniform(0, 0.02, puff.size)
    weight = np.where(c.t[:, None] > c.t[puff], 0.7 * np.exp(-old / 18), 0)
    smoke = c.blobs(*(a.astype(np.float32) for a in (puff_x, puff_y, 0.015 + 0.003 * old, weight)))
    c.paint(c.box(-1, road, 3, 2), c.color(0.1))
    c.paint(1 - np.exp(-smoke), c.color(0.25))
    c.paint(c.box(x - long, road - wheel - 0.09 * size, x + long, road - wheel), body)
    c.paint(c.box(x - 0.09 * size, road - wheel - 0.16 * size, x + 0.09 * size, road - wheel - 0.09 * size), cabin)
    for axle in (-0.6, 0.6):
        c.paint(c.disc(x + axle * long, road - wheel, wheel), 0.3 * body)


def fireworks(c: Canvas) -> None:
    """A shell bursts: sparks fly apart, slow down, fall and go out."""
    rng, sparks = c.rng, 60
    turn, speed = rng.uniform(0, 2 * np.pi, sparks), rng.uniform(0.3, 1.0, sparks) * rng.uniform(0.3, 0.5)
    life = rng.uniform(24, 38)
    flown = (1 - np.exp(-(c.t + 1) / rng.uniform(22, 34)))[:, None]
    x = c.right * rng.uniform(0.35, 0.65) + flown * speed * np.cos(turn)
    y = rng.uniform(0.3, 0.5) + flown * speed * np.sin(turn) + (rng.uniform(0.3, 0.6) * 1e-4 * c.t**2)[:, None]
    glow = np.exp(-c.t / life)[:, None] * rng.uniform(0.7, 1.6, (c.t.size, sparks))  # they twinkle
    light = c.blobs(*(a.astype(np.float32) for a in (x, y, 0.012 + 0.006 * glow, glow)))
    c.paint(np.clip(light, 0, 1), c.color())


def ice(c: Canvas) -> None:
    """A block of ice melts: it shrinks, its corners become round, and its puddle spreads."""
    rng, floor, place = c.rng, c.rng.uniform(0.75, 0.88), c.right * c.rng.uniform(0.35, 0.65)
    left = np.clip(1 - (c.t + rng.uniform(0, 10)) / (c.t.size + rng.uniform(5, 25)), 0.02, 1)  # of the ice
    half, tall = rng.uniform(0.12, 0.2) * left**0.4, rng.uniform(0.35, 0.55) * left
    corner = np.minimum(0.02 + 0.1 * (1 - left), np.minimum(half, tall / 2))
    water = rng.uniform(0.3, 0.5) * np.sqrt(1.05 - left)
    flat, color = rng.uniform(0.12, 0.2), c.color()
    puddle = 1 - np.hypot((c.x - place) / water[:, None, None], (c.y - floor) / (flat * water)[:, None, None])
    c.paint(np.clip(puddle * 12, 0, 1).astype(np.float32), 0.6 * color + 0.4 * c.base)
    across = np.maximum(abs(c.x - place) - (half - corner)[:, None, None], 0)
    along = np.maximum(abs(c.y - (floor - tall / 2)[:, None, None]) - (tall / 2 - corner)[:, None, None], 0)
    c.paint(soft(corner[:, None, None] - np.sqrt(across**2 + along**2)), color)


def glass(c: Canvas) -> None:
    """A jet of liquid fills a glass; waves run over the surface."""
    rng, half, bottom = c.rng, c.rng.uniform(0.15, 0.3), c.rng.uniform(0.8, 0.93)
    place, tall = c.right * rng.uniform(0.35, 0.65), rng.uniform(0.5, 0.65)
    filled = tall * (0.03 + 0.9 * (c.t + rng.uniform(0, 10)) / (c.t.size + 12))
    wave = 0.008 * np.sin(c.x * rng.uniform(20, 40) - rng.uniform(0.3, 0.6) * c.t[:, None, None])
    surface, liquid, wall = bottom - filled, c.color(), c.color(0.25)
    jet = place + rng.uniform(-0.5, 0.5) * half + 0.004 * np.sin(0.5 * c.t)
    c.paint(c.box(jet - 0.015, -1, jet + 0.015, bottom), liquid)
    under = soft(c.y - surface[:, None, None] - wave)
    c.paint(c.box(place - half, -1, place + half, bottom) * under, liquid)
    for edge in (place - half, place + half):
        c.paint(c.box(edge - 0.012, bottom - tall, edge + 0.012, bottom), wall)
    c.paint(c.box(place - half - 0.012, bottom, place + half + 0.012, bottom + 0.025), wall)


def ripple(c: Canvas) -> None:
    """A stone has fallen into water: rings run outwards and fade."""
    rng, center = c.rng, c.rng.uniform(0.3, 0.7, 2)
    away = c.away(center[0] * c.right, center[1])
    front = rng.uniform(0.008, 0.012) * (c.t + rng.uniform(1, 8))[:, None, None]
    length, tail = rng.uniform(0.07, 0.12), rng.uniform(0.12, 0.25)
    behind = front - away
    shape = np.where(behind > 0, np.exp(-behind / tail), np.exp(-((behind / 0.02) ** 2)))
    height = np.sin(2 * np.pi * behind / length) * shape * (0.15 / (0.15 + front))
    c.paint(np.clip(height, 0, 1).astype(np.float32), c.color())
    c.paint(np.clip(-height, 0, 1).astype(np.float32), 0.2 * c.base)


Scene = Callable[[Canvas], None]
SCENES: dict[str, Scene] = {
    scene.__name__: scene for scene in (ball, pendulum, ink, plant, car, fireworks, ice, glass, ripple)
}


# These scenes have dark shapes on a light background, and so get darker with time. In the other scenes the shapes are
# light: some grow with time, and some do not. So brightness alone does not reveal the order.
_DARK = frozenset({"ink", "car"})


def film(name: str, seed: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Makes one video. The same arguments always give the same video.

    Args:
        name: A key of SCENES.
        seed: Seed of all random draws.

    Returns:
        uint8 [F, H, W, 3], 64 to 96 frames.
    """
    rng = np.random.default_rng(seed)
    canvas = Canvas(rng, int(rng.integers(64, 97)), lit=name not in _DARK)
    SCENES[name](canvas)
    return canvas.shoot()
