"""Evaluations of an encoder, all with confidence intervals, and compared with the untrained encoder and with chance.

    run ─► features (cached) ─► retrieval | probe | attentive | time | complement | finetune
                                    └─► result: table, JSON, TensorBoard

| file | what it does |
|---|---|
| retrieval.py | is one of the nearest videos of the same class? |
| probe.py | logistic regression and k-NN on frozen features |
| attentive.py | a small transformer on the frozen encoder's last map |
| low_level.py | features without an encoder, beside every probe and retrieval |
| time.py | do the features know direction, order and speed? |
| classifier.py | an encoder with a linear layer, and a loader with labels |
| finetune.py | trains the encoder further with labels, and tests it |
| finetune_recorded.py | the settings of a fine-tuning that is resumed |
| published.py | settings of fine-tuning as published |
| complement.py | do the features add anything to other features? |
| audit.py, cues.py | how much of a pretext task do low-level cues reveal? |
| accuracy.py | accuracy in the pretext task |
| run.py | loads a run: its encoder, its recipe, how videos are shown to it |
| splits.py | which videos are for training and which are for testing |
| seen.py | how many of the test videos the run was pretrained on |
| over_splits.py | an evaluation over official splits, and their mean |
| layers.py | the feature of a clip: which layer gives it, and how it is pooled |
| features.py, cache.py | features of videos from evenly spaced clips; their cache on disk |
| scaling.py | how features are rescaled before they are compared |
| knn.py, logistic.py | nearest neighbours; logistic regression with a chosen L2 penalty |
| confidence.py | confidence intervals |
| picture.py | the picture of a retrieval |
| result.py | a result as a table, a JSON file and TensorBoard entries |
"""
