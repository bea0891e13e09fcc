"""Makes the site: `make docs` runs `python -m docs.tools.build`.

| file | what it does |
|---|---|
| build.py | collects the pages, has their commands executed, runs Sphinx, and checks the result |
| pages.py | which files are pages, and where links between them lead |
| api.py | the pages of the API: every public name |
| commands.py | executes the commands of the pages, several pages at a time |
| executed.py | the directive `run`: shows a command or Python code with what it printed and drew |
| tasks.py | the directives `task`, `plan` and `audit`: a task as a picture, its table and its audit |
| charts.py | the directive `chart`: a benchmark as bars, from its result file |
| machines.py | draws docs/machines.png: a run on two machines |
"""
