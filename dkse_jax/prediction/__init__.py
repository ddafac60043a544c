"""Prediction for a whole collection: inputs, rows, calibration, and what is made of them."""
