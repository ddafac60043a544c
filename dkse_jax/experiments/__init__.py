"""The paper's tables and comparisons, above training and evaluation."""
