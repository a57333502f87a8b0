"""Data sets: published ones, which are fetched into a cache, and those of one's own."""

from xnorflow.sw.data.images import ImageData, values_of
from xnorflow.sw.data.own import calibrate_quantisation, read_data, read_labels
from xnorflow.sw.data.published import Dataset, cache_folder, fetch, is_fetched, load


__all__ = [
    "Dataset",
    "ImageData",
    "cache_folder",
    "calibrate_quantisation",
    "fetch",
    "is_fetched",
    "load",
    "read_data",
    "read_labels",
    "values_of",
]
