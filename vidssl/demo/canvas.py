"""The canvas that scenes are painted on: a textured background, shapes with soft edges, and camera noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.floating[Any]]
HEIGHT, WIDTH = 120, 160
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Canvas:
    """The F frames of one scene.

    Lengths are in picture heights: y runs from 0 at the top to 1, x from 0 at the left to WIDTH / HEIGHT. The methods
    that draw a shape return its coverage (alpha) in 0..1, float32 that broadcasts to [F, H, W]; positions and sizes of
    shapes are numbers or float32 [F].

    Args:
        rng: Draws the background, colours, exposure and noise.
        frames: Number of frames F.
        lit: Shapes are lighter than the background; if False, darker.

    Attributes:
        picture: float32 [3, F, H, W] in 0..1.
        t: float32 [F], frame numbers.
        x: float32 [1, 1, W], positions of pixel centres.
        y: float32 [1, H, 1], positions of pixel centres.
        right: x at the right edge.
        base: float32 [3], the main colour of the background.
    """

    def __init__(self, rng: np.random.Generator, frames: int, *, lit: bool) -> None:
        self.rng, self.side = rng, 1 if lit else -1
        self.t = np.arange(frames, dtype=np.float32)
        self.y = ((np.arange(HEIGHT, dtype=np.float32) + 0.5) / HEIGHT)[None, :, None]
        self.x = ((np.arange(WIDTH, dtype=np.float32) + 0.5) / HEIGHT)[None, None, :]
        self.right = WIDTH / HEIGHT
        self.picture = np.repeat(self._background()[:, None], frames, axis=1)

    def _background(self) -> Floats:
        """Paints soft spots of random colours over a colour gradient, [3, H, W]."""
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
        """Draws a colour, float32 [3], whose luma is at least `contrast` above the background's; below if not `lit`."""
        while True:
            color = self.rng.uniform(0.0, 1.0, 3).astype(np.float32)
            if self.side * float((color - self.base) @ _LUMA) >= contrast:
                return color

    def paint(self, alpha: Floats, color: Floats) -> None:
        """Blends a colour, float32 [3], into the picture with the coverage `alpha`."""
        for plane, value in zip(self.picture, color, strict=True):
            plane += alpha * (value - plane)

    def away(self, cx: object, cy: object) -> Floats:
        """Computes the distance of every pixel from a point, in picture heights."""
        return _root((self.x - _column(cx)) ** 2 + (self.y - _column(cy)) ** 2)

    def disc(self, cx: object, cy: object, radius: object) -> Floats:
        """Draws a disc."""
        return soft(_column(radius) - self.away(cx, cy))

    def box(self, left: object, top: object, right: object, bottom: object) -> Floats:
        """Draws an upright rectangle. Its coverage is the product of one factor in x and one in y."""
        across = soft(np.minimum(self.x - _column(left), _column(right) - self.x))
        return across * soft(np.minimum(self.y - _column(top), _column(bottom) - self.y))

    def line(self, x0: object, y0: object, x1: object, y1: object, width: float) -> Floats:
        """Draws a line segment with round ends."""
        dx, dy = _column(x1) - _column(x0), _column(y1) - _column(y0)
        px, py = self.x - _column(x0), self.y - _column(y0)
        along = np.clip((px * dx + py * dy) / np.maximum(dx * dx + dy * dy, 1e-9), 0, 1)
        return soft(width / 2 - _root((px - along * dx) ** 2 + (py - along * dy) ** 2))

    def blobs(self, cx: Floats, cy: Floats, sigma: Floats, weight: Floats) -> Floats:
        """Draws a sum of N Gaussians, whose peaks are their weights. All arguments are float32 [F, N]."""
        inverse = np.sqrt(0.5).astype(np.float32) / np.maximum(sigma, 1e-4)[:, None]
        lowest = np.float32(-30)  # below this the exponentials become denormal numbers, which are slow
        tall = np.exp(np.maximum(-(((self.y - cy[:, None]) * inverse) ** 2), lowest)) * weight[:, None]
        wide = np.exp(np.maximum(-(((self.x.transpose(0, 2, 1) - cx[:, None]) * inverse) ** 2), lowest))
        # Not a matrix product: in every rendering thread BLAS would start its own threads and wait for them.
        return np.asarray(np.einsum("fyn,fxn->fyx", tall, wide), np.float32)

    def shoot(self) -> npt.NDArray[np.uint8]:
        """Returns the frames as a camera records them, uint8 [F, H, W, 3].

        The exposure varies and there is sensor noise. Neither reveals the order of the frames.
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
    """Reshapes a number or float32 [F] so that it broadcasts over [F, H, W]."""
    return np.asarray(value, np.float32).reshape(-1, 1, 1)


def _root(squares: Reals) -> Floats:
    """Computes square roots in place, since films are large and new memory is slow."""
    return np.sqrt(squares, out=squares).astype(np.float32, copy=False)


def soft(inside: Reals) -> Floats:
    """Computes the coverage in 0..1 from the distance to an edge, which is one pixel wide. Overwrites its argument.

    Args:
        inside: Distance to the edge in picture heights, float of any shape; positive inside the shape.

    Returns:
        float32 of the same shape.
    """
    inside *= HEIGHT
    inside += 0.5
    return np.clip(inside, 0, 1, out=inside).astype(np.float32, copy=False)
