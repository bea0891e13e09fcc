"""The demo: it renders scenes with a visible order in time, trains an encoder on them, and draws the result.

| file | what it does |
|---|---|
| run.py | render, index, train, evaluate, draw |
| scenes.py | nine processes that run one way |
| canvas.py | draws a scene's frames |
| render.py | encodes them as video files |
"""

from vidssl.demo.run import run

__all__ = ["run"]
