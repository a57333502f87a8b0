"""Ways into the graph that is lowered: a traced PyTorch module, and files of other tools."""
