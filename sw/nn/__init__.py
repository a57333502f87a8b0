"""Binary layers: quantisers of weights and activations, and what multiplies them."""
