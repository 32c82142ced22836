"""List published ImageNet results.

Figures mark them as reported, and draw no line between them and results that were measured with NES Lab.

Tests: tests/figures/test_pictures.py
"""

from __future__ import annotations

from nes_lab.figures.accuracy_vs_madds import ReportedPoint

__all__ = ["IMAGENET"]

_CARD, _PAPER = "model card", "Zhou et al., ICLR 2020 (abstract)"

IMAGENET: tuple[ReportedPoint, ...] = (
    *(
        ReportedPoint(f"MobileNetV2 {width}", madds * 1e6, top1, _CARD, "MobileNetV2")
        for width, madds, top1 in (
            (1.4, 582, 75.0),
            (1.0, 301, 71.8),
            (0.75, 209, 69.8),
            (0.5, 97, 65.4),
            (0.35, 59, 60.3),
        )
    ),
    *(
        ReportedPoint(f"MobileNetV3-L {width}", madds * 1e6, top1, _CARD, "MobileNetV3-L")
        for width, madds, top1 in ((1.0, 217, 75.2), (0.75, 155, 73.3))
    ),
    *(
        ReportedPoint(f"MnasNet-A1 {width}", madds * 1e6, top1, _CARD, "MnasNet-A1")
        for width, madds, top1 in ((1.0, 315, 75.2), (0.75, 227, 73.3))
    ),
    *(
        ReportedPoint(f"DMCP MobileNetV2 {madds} M", madds * 1e6, top1, "authors' repository", "DMCP")
        for madds, top1 in ((300, 73.5), (211, 71.6), (97, 67.0))
    ),
    *(
        ReportedPoint(f"MetaPruning MobileNetV2 {madds} M", madds * 1e6, top1, "authors' repository", "MetaPruning")
        for madds, top1 in ((303, 72.7), (140, 68.2))
    ),
    ReportedPoint("AMC MobileNetV2", 211e6, 70.85, "authors' repository", "AMC"),
    ReportedPoint("NES MobileNetV2", 225e6, 73.27, _PAPER + ", absolute value by arithmetic", "NES MobileNetV2"),
    ReportedPoint("NES B0 x2 on 1x1 (MicroNet)", 226.6e6, 75.5, "authors' log", "NES EfficientNet-B0 x2"),
    ReportedPoint("EfficientNet-B0", 390e6, 76.3, "its paper", "EfficientNet-B0"),
)
