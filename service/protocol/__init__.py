"""Bytes become tensors and tensors become bytes: pure functions, no HTTP."""
