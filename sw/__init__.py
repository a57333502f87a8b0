"""PyTorch layers, models, data, training, lowering, golden executor. Never imports amaranth."""
