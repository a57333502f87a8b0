"""ONNX files in the dialects of QONNX, Brevitas and FINN: `importing`, `exporting`, and reading."""
