"""Board targets, board tops, and the host link's gateware and driver."""
