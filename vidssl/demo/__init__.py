"""The demo: scenes whose order in time can be seen, an encoder that learns it, and a picture of what came of it.

| file | what it does |
|---|---|
| run.py | render, index, train, evaluate, draw |
| scenes.py | nine processes that run one way |
| canvas.py | draws a scene's frames |
| render.py | encodes them as video files |
"""

from vidssl.demo.run import run

__all__ = ["run"]
