"""Training of one network on one data set, on one or several processes, with checkpoints that resume it exactly.

The loop, from what it is told to what it tells:
``recipe``: the numbers of a training, checked once.
``recipe_checks``: refuse a recipe that does not suit the device, the data or the network.
``loop``: ``Trainer``, the training loop.
``training_state``: ``TrainingState``, everything a training is made of and all that a checkpoint keeps of it.
``hooks``: the callbacks through which a training reports and is stopped.
``reporter``: hand metrics, progress and events to these callbacks.
``divergence``: stop at the first loss or weight that is not finite.
``checkpoint``: write a training to files and read it back.

What a step does:
``objective``: turn a batch into inputs, and logits into a loss (with distillation).
``losses``: cross entropy and distillation loss.
``mixing``: Mixup and CutMix.
``engine``: forward, backward and update through Hugging Face Accelerate.
``precision``: which dtype the forward pass runs in.
``optim``: optimizers and their parameter groups.
``schedule``: learning rates over steps.
``routing_schedule``: learning rate, momentum, freezing and snapping of the starting indices.
``networks``: the moving average of the weights, and what several processes must share.

Measures and surroundings:
``evaluate``: loss and accuracy on a split.
``running_metrics``: mean loss and accuracy, batch by batch.
``training_clock``: images per second and the time left.
``device``: the device a name stands for, and CPU threads.
``distributed``: rank, world size, and what several processes tell one another.
``rng``: save, restore and isolate the global random generators.
``signals``: turn SIGTERM and Ctrl-C into a request to stop.
``trackers``: copy metrics to TensorBoard, MLflow, Weights & Biases or Trackio.
"""
