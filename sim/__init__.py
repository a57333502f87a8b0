"""Simulation of generated hardware: simulators, cocotb benches, the virtual board."""
