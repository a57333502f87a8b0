"""Reading of ONNX files, in the dialects of QONNX, Brevitas and FINN."""
