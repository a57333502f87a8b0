"""cocotb benches: modules that run inside a simulator, started by `xnorflow.sim.bench`."""
