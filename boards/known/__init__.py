"""The boards that are known, a file for each family: pins are those of amaranth-boards, or ours."""
