"""Files of `torch.save`, read without running code of theirs."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from xnorflow.errors import FormatError
from xnorflow.files import read_file


__all__ = ["read_torch_file"]


def read_torch_file(path: Path | str) -> Any:
    """Tensors in the file ``path``, and the plain containers that they are in.

    Raises
    ------
    FormatError
        If it cannot be read, is damaged, or has anything else in it.
    """
    content = io.BytesIO(read_file(path))
    try:
        # PyTorch looks at no checksums. In its older format, which is no archive, there are none.
        if zipfile.is_zipfile(content) and zipfile.ZipFile(content).testzip() is not None:
            raise ValueError("a checksum is wrong")
        content.seek(0)
        return torch.load(content, map_location="cpu", weights_only=True)
    # Damage shows in more ways than PyTorch says.
    except Exception:
        raise FormatError(f"{path} is damaged, or not a PyTorch file of weights") from None
