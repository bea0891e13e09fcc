"""Makes the site: `make docs` runs `python -m docs.tools.build`.

| file | what it does |
|---|---|
| build.py | collects the pages, renders the demo, runs Sphinx, and checks the result |
| pages.py | which files are pages, and where links between them lead |
| api.py | the pages of the API: every public name |
| executed.py | the directive `run`: executes a command or Python code and shows what it prints and draws |
| tasks.py | the directives `task`, `plan` and `audit`: a task as a picture, its table and its audit |
| charts.py | the directive `chart`: a benchmark as bars, from its result file |
"""
