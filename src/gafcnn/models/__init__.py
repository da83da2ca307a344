"""Networks, their training, boosted trees, explanations and export."""
