"""Pictures of results. Each function takes plain numbers and writes a PNG or returns an image or inline SVG.

| file | what it draws |
|---|---|
| palette.py | the colours of all pictures |
| pen.py | text, lines and boxes on a PNG, in points |
| axis.py | the range of an axis, and round numbers on it |
| svg.py | elements of inline SVG |
| bars.py | accuracies with intervals beside chance |
| curves.py | metrics over steps, one line per run: PNG and SVG |
| confusion.py | confusion matrices: image and SVG |
| tuples.py | tuples as the encoder saw them |
| nearest.py | queries and their nearest videos |
"""
