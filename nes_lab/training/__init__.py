"""Train one network on one data set, in one or several processes, with checkpoints that resume the training exactly.

The training loop, its inputs and its reports:
``recipe``: hold the settings of a training (epochs, learning rate, ...) and check their ranges.
``recipe_checks``: refuse a recipe that the device, the data or the network does not allow.
``loop``: run the training loop (``Trainer``).
``training_state``: hold everything that a training consists of, and turn it into a state for checkpoints (``TrainingState``).
``hooks``: define the callbacks through which a training reports and is stopped.
``reporter``: send metrics, progress and events to these callbacks.
``divergence``: stop at the first loss or weight that is not finite.
``checkpoint``: write a training to files and read it back.

The parts of a training step:
``objective``: turn a batch into inputs, and logits into a loss (with distillation).
``losses``: compute cross entropy and distillation loss.
``mixing``: mix images and labels by Mixup and CutMix.
``engine``: run forward, backward and update through Hugging Face Accelerate.
``precision``: choose the dtype of the forward pass.
``optim``: build optimizers and their parameter groups.
``schedule``: build learning-rate schedules.
``routing_schedule``: schedule the learning rate, momentum, freezing and snapping of the starting indices.
``networks``: build the moving average of the weights, and share buffers and batch norms between processes.

Measurements, devices and processes:
``evaluate``: compute loss and accuracy on a split.
``running_metrics``: add up mean loss and accuracy, batch by batch.
``training_clock``: measure images per second and estimate the time left.
``device``: find the device with a given name, and set the number of CPU threads.
``distributed``: return rank and world size, and exchange small values between processes.
``rng``: save, restore and isolate the global random generators.
``signals``: turn SIGTERM and Ctrl-C into a request to stop.
``trackers``: copy metrics to TensorBoard, MLflow, Weights & Biases or Trackio.
"""
