"""Training: a recipe and an index in, checkpoints and a log out.

    train (or fine-tuning) ─► setup ─► trainer: loader ─► step ─► metrics ─► log
                                          └─► validation, checkpoint

| file | what it does |
|---|---|
| config | TrainConfig and Recipe: the settings of a run |
| train | train(): trains on a pretext task |
| setup | what training and fine-tuning share: folder, resume, split, decoder, loaders |
| trainer | the loop: steps, and between them log, validation, pictures and checkpoints |
| step | one step of the optimizer; learning rate; seeds |
| metrics | sums of loss and accuracy between two lines of the log |
| nonfinite | steps whose loss or gradient is not finite |
| split | training and held-out videos |
| distributed | the process group of torchrun |
| compute | bfloat16 or not, device of the loader, CPU threads |
| watchdog | requests to stop; loaders that hang |
| checkpoint | folders of weights and state, written whole or not at all |
| log, pictures, projector | metrics.jsonl, TensorBoard and the terminal |
"""
