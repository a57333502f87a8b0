"""From a network to a design, and from a design to Verilog."""
