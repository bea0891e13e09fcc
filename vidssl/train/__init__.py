"""Training: a recipe and an index in, checkpoints and a log out.

    train (or fine-tuning) ─► setup ─► trainer: loader ─► step ─► metrics ─► log
                                          └─► validation, checkpoint

| file | what it does |
|---|---|
| config.py | TrainConfig and Recipe: the settings of a run |
| train.py | train(): trains on a pretext task |
| init.py | first weights of an encoder from a run, a checkpoint or a file |
| setup.py | what training and fine-tuning share: folder, resume, split, decoder, loaders |
| recorded.py | what a run's record says of it, and which settings may change when it goes on |
| data_sets.py | several data sets with weights, as commands name them and runs record them |
| hold.py | one process, or one group of processes, at a time writes to a run's folder |
| trainer.py | the loop: steps, and between them log, validation, pictures and checkpoints |
| heldout.py, watch.py | measure the model and its features on the held-out videos; warn of what goes wrong |
| step.py | one step of the optimizer; seeds |
| schedule.py | the learning rate of each step |
| average.py | the moving average of the weights |
| optimizer.py | learning rate and weight decay of each weight; layer-wise decay |
| metrics.py | sums of loss and accuracy between two lines of the log |
| nonfinite.py | steps whose loss or gradient is not finite |
| distributed.py | the process group of torchrun |
| muster.py | the processes of one start find each other in a store with leftovers of earlier ones |
| alike.py | whether all processes have the same settings, videos and versions |
| compute.py | bfloat16 or not, device of the loader, CPU threads |
| bf16.py | compares bfloat16 convolutions with float32 ones before a run uses them |
| watchdog.py | requests to stop; loaders that hang |
| checkpoint.py | folders of weights and state, written whole or not at all |
| log.py, projector.py | metrics.jsonl, TensorBoard and the terminal |
| loggers.py | services that a run also reports to: wandb, mlflow |
"""
