"""Give each tone of a run's state a color of the app."""

__all__ = ["STATE_COLORS"]

STATE_COLORS = {"waiting": "gray", "working": "blue", "warning": "orange", "good": "green", "bad": "red"}
"""Tone of a state -> name of a color of Streamlit."""
