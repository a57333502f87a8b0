"""xnorflow: from a trained binary neural network to an FPGA bitstream, bit for bit."""

__version__ = "0.1.0"
