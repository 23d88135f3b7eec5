"""What things cost: ratios measured side by side in one run, and counts, which do not wobble."""
