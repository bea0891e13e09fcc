"""Where the same function runs for each video: `--engine`.

| file | what it does |
|---|---|
| base.py | what a pool is, and what its jobs give |
| local.py | threads of this process |
| choose.py | takes the pool that an engine names |
"""
