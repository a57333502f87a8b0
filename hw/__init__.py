"""Amaranth components and the planning of hardware. Never imports torch."""
