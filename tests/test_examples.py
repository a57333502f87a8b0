"""Examples of public classes and functions: each one has some, and they give what they say."""

import doctest
import inspect

import numpy as np
import pytest
import torch

import xnorflow
from tests.test_docs import ROOT
from xnorflow import nn


# What has no example of its own is shown with `load`, with layers, or in docs/how-to.
SHOWN_ELSEWHERE = {"save", "ActivationQuantiser", "Border", "SiManForm", "WeightQuantiser"}
PUBLIC = {
    **{name: getattr(xnorflow, name) for name in xnorflow._WHERE},
    **{name: getattr(nn, name) for name in nn.__all__},
}
GLOBALS = {"nn": nn, "np": np, "torch": torch, "xnorflow": xnorflow}


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - SHOWN_ELSEWHERE))
def test_examples_give_what_they_say(name, mnist, monkeypatch, tmp_path):
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    text = inspect.getdoc(PUBLIC[name])
    test = doctest.DocTestParser().get_doctest(text, dict(GLOBALS), name, None, None)
    assert test.examples
    said = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert not said, "".join(said)
