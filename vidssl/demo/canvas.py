"""A film to paint on: a textured background, shapes with soft edges, and the noise of a camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.floating[Any]]
HEIGHT, WIDTH = 120, 160
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Canvas:
    """`frames` pictures of one scene. Lengths are in picture heights: y runs down from 0 to 1, x from 0 to WIDTH /
    HEIGHT.

    picture: float32 [3, F, H, W] in 0..1. t: float32 [F], frame numbers. Shapes are coverages (alpha) [F, H, W] in
    0..1; their positions and sizes are numbers or float32 [F]. lit: what moves is lighter than its background, else
    darker.
    """

    def __init__(self, rng: np.random.Generator, frames: int, *, lit: bool) -> None:
        self.rng, self.side = rng, 1 if lit else -1
        self.t = np.arange(frames, dtype=np.float32)
        self.y = ((np.arange(HEIGHT, dtype=np.float32) + 0.5) / HEIGHT)[None, :, None]
        self.x = ((np.arange(WIDTH, dtype=np.float32) + 0.5) / HEIGHT)[None, None, :]
        self.right = WIDTH / HEIGHT
        self.picture = np.repeat(self._background()[:, None], frames, axis=1)

    def _background(self) -> Floats:
        """Soft spots of random colours over a slope from one colour to another, [3, H, W]."""
        rng, spots = self.rng, 24
        self.base = (0.5 - self.side * rng.uniform(0.1, 0.4) + rng.uniform(-0.1, 0.1, 3)).astype(np.float32)
        place = rng.uniform(-0.1, 1.1, (2, spots)).astype(np.float32)
        size = rng.uniform(0.03, 0.35, spots).astype(np.float32)
        tall = np.exp(-(((self.y[0] - place[0]) / size) ** 2))
        wide = np.exp(-(((self.x[0].T - place[1] * self.right) / size) ** 2))
        tint = rng.normal(0, 0.035, (3, 1, spots)).astype(np.float32)
        slope = rng.normal(0, 0.06, (3, 2)).astype(np.float32)
        ramp = slope[:, :1, None] * (self.y - 0.5) + slope[:, 1:, None] * (self.x - 0.67)
        spots_on = (tall * tint) @ wide.T
        return np.asarray(np.clip(self.base[:, None, None] + ramp + spots_on, 0, 1), np.float32)

    def color(self, contrast: float = 0.35) -> Floats:
        """A random colour whose luma is at least `contrast` from the background's, on this scene's side of it."""
        while True:
            color = self.rng.uniform(0.0, 1.0, 3).astype(np.float32)
            if self.side * float((color - self.base) @ _LUMA) >= contrast:
                return color

    def paint(self, alpha: Floats, color: Floats) -> None:
        for plane, value in zip(self.picture, color, strict=True):
            plane += alpha * (value - plane)

    def away(self, cx: object, cy: object) -> Floats:
        """Distance of every pixel from a point."""
        return _root((self.x - _column(cx)) ** 2 + (self.y - _column(cy)) ** 2)

    def disc(self, cx: object, cy: object, radius: object) -> Floats:
        return soft(_column(radius) - self.away(cx, cy))

    def box(self, left: object, top: object, right: object, bottom: object) -> Floats:
        """An upright rectangle: its two sides are separable."""
        across = soft(np.minimum(self.x - _column(left), _column(right) - self.x))
        return across * soft(np.minimum(self.y - _column(top), _column(bottom) - self.y))

    def line(self, x0: object, y0: object, x1: object, y1: object, width: float) -> Floats:
        """A segment with round ends."""
        dx, dy = _column(x1) - _column(x0), _column(y1) - _column(y0)
        px, py = self.x - _column(x0), self.y - _column(y0)
        along = np.clip((px * dx + py * dy) / np.maximum(dx * dx + dy * dy, 1e-9), 0, 1)
        return soft(width / 2 - _root((px - along * dx) ** 2 + (py - along * dy) ** 2))

    def blobs(self, cx: Floats, cy: Floats, sigma: Floats, weight: Floats) -> Floats:
        """Sum of Gaussians, all arguments [F, N]. The peak of one is its weight."""
        inverse = np.sqrt(0.5).astype(np.float32) / np.maximum(sigma, 1e-4)[:, None]
        lowest = np.float32(-30)  # further out lie denormal numbers, which are slow
        tall = np.exp(np.maximum(-(((self.y - cy[:, None]) * inverse) ** 2), lowest)) * weight[:, None]
        wide = np.exp(np.maximum(-(((self.x.transpose(0, 2, 1) - cx[:, None]) * inverse) ** 2), lowest))
        # Not a matrix product: BLAS would start threads of its own in every thread that renders, and wait for them.
        return np.asarray(np.einsum("fyn,fxn->fyx", tall, wide), np.float32)

    def shoot(self) -> npt.NDArray[np.uint8]:
        """What a camera sees: uint8 [F, H, W, 3], with a wandering exposure and sensor noise, neither of which tells
        the time.
        """
        rng, frames = self.rng, self.t.size
        phase = rng.uniform(0, 2 * np.pi, 3) + np.outer(self.t, rng.uniform(0.05, 0.4, 3))
        exposure = 255 * (1 + rng.uniform(0.0, 0.02) * np.sin(phase).sum(1, dtype=np.float32))
        grain = rng.normal(0, rng.uniform(1.0, 4.0), (3, HEIGHT + 64, WIDTH + 64)).astype(np.float32)
        film = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
        for f, (dy, dx) in enumerate(rng.integers(0, 64, (frames, 2))):
            lit = self.picture[:, f] * exposure[f] + grain[:, dy : dy + HEIGHT, dx : dx + WIDTH]
            film[f] = np.clip(lit, 0, 255).transpose(1, 2, 0)
        return film


def _column(value: object) -> Floats:
    """A number or float32 [F] that broadcasts over [F, H, W]."""
    return np.asarray(value, np.float32).reshape(-1, 1, 1)


def _root(squares: Reals) -> Floats:
    """In place where it can be: films are large, and fresh memory is slow."""
    return np.sqrt(squares, out=squares).astype(np.float32, copy=False)


def soft(inside: Reals) -> Floats:
    """Coverage from the distance to an edge, positive inside, in place; the edge is one pixel wide."""
    inside *= HEIGHT
    inside += 0.5
    return np.clip(inside, 0, 1, out=inside).astype(np.float32, copy=False)
