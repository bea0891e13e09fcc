"""What an encoder has learnt: one question a file, all with intervals, beside the untrained encoder and chance.

    run ─► features (kept: cache) ─► retrieval | probe | complement | finetune ─► result: table, JSON, TensorBoard

| file | what it does |
|---|---|
| retrieval.py | are the nearest videos of the same class? |
| probe.py | can a linear model, or the nearest neighbours, tell the classes? |
| classifier.py | an encoder with a linear layer, and a loader with labels |
| finetune.py | and after training on with labels? |
| complement.py | does it add to other features? |
| audit.py, cues.py | how much of a task do low-level cues give away? |
| accuracy.py | how well is the pretext task solved on held-out videos? |
| run.py | opens a run: its encoder, its recipe, how videos are shown to it |
| splits.py | which videos are trained on and which are tested |
| features.py, cache.py | which clips of a video are shown and how they are cropped; their features, and a file that keeps them |
| knn.py, logistic.py | nearest neighbours; logistic regression with a chosen L2 penalty |
| confidence.py | confidence intervals |
| picture.py | which queries a picture of retrieval shows |
| result.py | a result as a table, a JSON file and TensorBoard entries |
"""
