"""Name the fields of a configuration, and their values, for people: in forms, tables, sentences and labels of runs.

Tests: tests/records/test_field_names.py.
"""

from __future__ import annotations

__all__ = ["CHOICES", "LABELS", "choice_of", "choice_words", "field_words", "label_of"]

LABELS = {
    "label": "Label (free text)",
    "extended_from": "Trained further from",
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
    "data.holdout": "Hold out for validation (images)",
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
    "compression": "Dense or compressed",
    "compression.madds": "MAdds budget",
    "compression.params": "Params budget",
    "compression.latency_ms": "Time budget (ms or share)",
    "compression.stored_bytes": "Budget for the size of the file",
    "compression.preset": "Named compression instead of a budget",
    "compression.strategy": "How layers share the budget",
    "compression.routing": "Who sets the starts",
    "compression.scope": "What has its own starts",
    "compression.boundary": "At the end of an epitome",
    "compression.patch_channels": "Patch length (channels)",
    "compression.share": "Layers that share an epitome",
    "compression.windows": "Windows that add up to a patch",
    "compression.epitome_dtype": "Numbers of the epitomes",
    "compression.round_to": "Round channels to",
    "compression.wiring": "Channels that shrink",
    "compression.min_channels": "Least channels to compress",
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
    "compression.sequential": "Fit layer after layer",
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
    "training.learner_every": "Predict the starts every (steps)",
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
"""Dotted path of a field -> its name, where it is not the last word of the path."""

CHOICES = {
    "data.name": {
        "cifar10": "CIFAR-10",
        "cifar100": "CIFAR-100",
        "fashion_mnist": "Fashion-MNIST",
        "imagenette": "Imagenette",
        "imagenet": "ImageNet",
        "image_folder": "image folder",
        "image_shards": "archives of images (tar)",
        "audio_folder": "sound folder",
    },
    "data.normalize": {"own": "the data set", "imagenet": "ImageNet", "half": "0.5 and 0.5"},
    "data.class_order": {"own": "as the data set has it", "text": "as text", "natural": "natural (2 before 10)"},
    "data.preprocess": {"data": "the data", "backbone": "the backbone's weights"},
    "compression.strategy": {
        "uniform": "all shrink by one ratio",
        "sensitivity": "the least sensitive shrink most",
        "speed": "what gains time shrinks first",
    },
    "compression.scope": {
        "separable": "each axis",
        "joint": "each patch",
        "flat": "each window",
        "auto": "whatever costs less",
    },
    "compression.share": {
        "layer": "none: each has its own",
        "stage": "layers of one resolution",
        "network": "all layers",
    },
    "compression.boundary": {"clamp": "patches stay inside", "circular": "patches go on at the beginning"},
    "compression.wiring": {
        "both_axes": "output and input",
        "input_axis": "input",
        "output_axis": "output",
        "narrow_axis": "the cheaper of both",
    },
    "compression.squash": {"tanh": "a farthest move", "sigmoid": "the end of the epitome"},
    "compression.learner": {"mlp": "two linear layers", "conv": "two convolutions"},
    "training.schedule": {"poly": "polynomial"},
    "training.amp": {"auto": "automatic"},
}
"""Dotted path of a field -> value of the field -> the value's name, where it differs."""


def choice_words(path: str, value: str) -> str:
    """Return the name of a value for people.

    Args:
        path: Dotted path of a field that has choices, such as ``compression.scope``.
        value: The value in a configuration, such as ``joint``.
    """
    return CHOICES.get(path, {}).get(value, value)


def choice_of(path: str, words: str) -> str:
    """Return the value that has this name: the inverse of :func:`choice_words`. Other texts are returned as they are."""
    return next((value for value, name in CHOICES.get(path, {}).items() if name == words), words)


def label_of(path: str) -> str:
    """Return the name of a field, as forms and tables write it.

    Args:
        path: Dotted path of the field.

    Examples:
        >>> label_of("training.lr"), label_of("training.label_smoothing")
        ('Learning rate', 'Label smoothing')
    """
    return LABELS.get(path) or path.rpartition(".")[2].replace("_", " ").capitalize()


def field_words(path: str) -> str:
    """Return the name of a field in a sentence: in small letters, without what stands in brackets.

    Args:
        path: Dotted path of the field.

    Examples:
        >>> field_words("training.lr"), field_words("compression.madds"), field_words("compression.latency_ms")
        ('learning rate', 'MAdds budget', 'time budget')
    """
    name = label_of(path).partition(" (")[0]
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]
