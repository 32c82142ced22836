"""Train a network on a data set, in one or several processes. A stopped training resumes exactly from its checkpoint.

The training loop, its inputs and its reports:
``recipe``: hold the settings of a training (epochs, learning rate, ...) and check their ranges.
``recipe_checks``: refuse a recipe that the device, the data or the network does not allow.
``loop``: run the training loop (``Trainer``).
``fine_tune``: train a network in memory on your own data, without a run (``nes_lab.fine_tune``).
``best_weights``: keep the weights of the best epoch in memory.
``checkpoint_folder``: keep the checkpoints of a training in a folder of its own.
``training_state``: hold the network, optimizer and counters of a training, and return what a checkpoint stores of them.
``training_notes``: say at the end of a training when its numbers mean little.
``hooks``: define the callbacks through which a training reports and is stopped.
``reporter``: send metrics, progress and events to these callbacks.
``divergence``: stop at the first loss or weight that is not finite.
``checkpoint``: save a training to files, and load it from them.

The parts of a training step:
``objective``: prepare the images and labels of a batch, and compute the loss from the network's outputs.
``head``: compare the outputs of the network with the classes of the data.
``losses``: compute cross entropy and distillation loss.
``mixing``: mix images and labels by Mixup and CutMix.
``engine``: run forward, backward and update through Hugging Face Accelerate.
``precision``: choose the dtype of the forward pass.
``optim``: build optimizers and their parameter groups.
``flat_steps``: the rule for the learning rates of flat epitomes, from how often they are read and by what factors.
``schedule``: build learning-rate schedules.
``routing_schedule``: set how fast starting indices (positions at which layers read epitomes) are learned, and freeze them.
``networks``: build the moving average of the weights; copy buffers and synchronize batch norms between processes.

Measurements, devices and processes:
``evaluate``: compute loss and metrics on data, such as the validation images.
``check_loss``: try a loss on two examples before a run is created.
``task``: hold the loss and the metrics of a training, and name the number that decides which checkpoint is the best.
``metrics``: define metrics, such as top-1 accuracy, and whether higher or lower is better.
``running_metrics``: keep the mean loss and metrics of the batches so far.
``training_clock``: measure images per second and estimate the time left.
``device``: find the device with a given name, set the number of CPU threads, and choose the memory format of inputs.
``distributed``: return the rank and number of processes, and exchange small values between processes.
``rng``: save and restore the global random generators, or set them for one ``with`` block.
``signals``: turn SIGTERM and Ctrl-C into a request to stop.
``trackers``: copy metrics to TensorBoard, MLflow, Weights & Biases or Trackio.
"""
