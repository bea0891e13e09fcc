"""Where the same function runs for each video: `--engine`.

| file | what it does |
|---|---|
| base.py | what a pool is, and what its jobs give |
| local.py | threads of this process |
| cluster.py | tasks of a Ray cluster; the only file that imports ray |
| node.py | calls a job on a node of it |
| choose.py | takes the pool that an engine names |
"""
