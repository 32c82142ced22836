"""Execution plans: ways to compute the same layer at different cost. One file a plan, its cost formula beside it."""
