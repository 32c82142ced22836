"""Name the fields of a configuration in the words of the form: no name of the configuration file is shown."""

__all__ = ["LABELS", "in_words", "label_of"]

LABELS = {
    "label": "Label (free text)",
    "seed": "Seed",
    "start": "Start from",
    "data.name": "Data set",
    "data.root": "Folder",
    "data.download": "Download",
    "data.image_size": "Image size (px)",
    "data.samples": "Samples of a clip",
    "data.batch_size": "Batch size",
    "data.workers": "Processes that load data",
    "data.limit": "Use at most (images)",
    "data.augment": "Augmentation",
    "data.color_jitter": "Random colors (strength)",
    "data.erase": "Random erasing (probability)",
    "data.crop_scale": "Smallest random crop (share)",
    "data.interpolation": "Interpolation",
    "data.normalize": "Mean and deviation of",
    "data.class_order": "Order of the classes",
    "data.preprocess": "Prepare images as for",
    "data.skip_broken": "Unreadable images to leave out (share)",
    "data.val_fold": "Fold for validation",
    "backbone.name": "Backbone",
    "backbone.width": "Width",
    "backbone.pretrained": "Pretrained weights",
    "backbone.checkpoint": "File with dense weights",
    "backbone.new_head": "New classifier if classes differ",
    "backbone.options": "Options of the network (JSON)",
    "compression.madds": "MAdds budget",
    "compression.params": "Params budget",
    "compression.latency_ms": "Time budget (ms or share)",
    "compression.preset": "Named compression instead of a budget",
    "compression.strategy": "How layers share the budget",
    "compression.routing": "Who sets the starts",
    "compression.scope": "What has its own starts",
    "compression.boundary": "At the end of an epitome",
    "compression.patch_channels": "Patch length (channels)",
    "compression.round_to": "Round channels to",
    "compression.wiring": "Channels that shrink",
    "compression.min_channels": "Smallest layer to compress (channels)",
    "compression.include": "Compress only these layers",
    "compression.exclude": "Keep these layers dense",
    "compression.overrides": "Settings of single layers (JSON)",
    "compression.reach": "Farthest move of a start (cells)",
    "compression.squash": "Limit of learned starts",
    "compression.momentum": "Memory of the average start",
    "compression.learner": "Layers of the start learner",
    "compression.initial_weights": "First weights of the epitomes",
    "compression.search_starts": "Search the best starts first",
    "compression.calibration": "Images for calibrating the fit",
    "compression.snap": "Round learned starts",
    "training.lr": "Learning rate",
    "training.momentum": "Momentum",
    "training.optimizer_options": "Options of the optimizer (JSON)",
    "training.decay_epochs": "Epochs between two falls",
    "training.decay_rate": "Factor of each fall",
    "training.min_lr": "Last learning rate",
    "training.warmup_epochs": "Warm-up (epochs)",
    "training.warmup_lr": "First learning rate",
    "training.mixup": "Mixup (alpha)",
    "training.cutmix": "CutMix (alpha)",
    "training.ema_decay": "Average of the weights (decay)",
    "training.ema_warmup": "Let that decay rise from zero",
    "training.kd_weight": "Learn from the dense teacher (share)",
    "training.kd_temperature": "Temperature of the teacher",
    "training.kd_checkpoint": "File with the teacher's weights",
    "training.amp": "Mixed precision",
    "training.accumulate": "Batches per step",
    "training.processes": "Processes that train",
    "training.sync_batchnorm": "One batch norm over all processes",
    "training.compile": "Compile the network",
    "training.channels_last": "Channels last in memory",
    "training.starts_lr_scale": "Learning rate of the starts (factor)",
    "training.starts_warmup_epochs": "Warm-up of the starts (epochs)",
    "training.starts_momentum_end": "Last memory of the average start",
    "training.starts_freeze_epoch": "Fix the starts after (epochs)",
    "training.starts_snap_epoch": "Round the starts after (epochs)",
    "training.clip_grad": "Largest gradient norm",
    "training.checkpoint_every_epochs": "Save every (epochs)",
    "training.checkpoint_every_steps": "Save also every (steps)",
    "training.keep_checkpoints": "Saved states to keep",
    "training.keep_gradients": "Keep gradients of epitomes",
    "training.log_every_steps": "Log every (steps)",
    "training.trackers": "Send metrics also to",
    "training.threads": "CPU threads",
}
"""Dotted path of a field -> its name in the form, where it is not the last word of the path."""


def label_of(path: str) -> str:
    """Return the name of a field in the form.

    Args:
        path: Dotted path of the field, such as ``training.lr``.
    """
    return LABELS.get(path) or path.rpartition(".")[2].replace("_", " ").capitalize()


def in_words(message: str) -> str:
    """Return the message of an error with the names of the form instead of dotted paths.

    Args:
        message: Message that a check of a configuration raised, such as ``config: training.lr=-1: ...``.
    """
    text = message.removeprefix("config:").strip()
    for path in sorted(LABELS, key=len, reverse=True):
        text = text.replace(f"{path}=", f"{LABELS[path]}: ").replace(path, LABELS[path]) if "." in path else text
    return text
