"""A folder of generated recordings in the layout of the published ones: a Parquet file a data set, originals in raw/."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pyarrow.parquet as pq

from . import bitbrains, others
from .truth import Recording

MAKERS = {
    "bitbrains_rnd": bitbrains.rnd,
    "bitbrains_faststorage50": bitbrains.faststorage,
    "azure_v1_sample177": others.azure,
    "planetlab_cloudsim": others.planetlab,
    "google2011_gcd1600": others.google,
    "nab_aws_cloudwatch": others.cloudwatch,
}


@cache
def recording(name: str) -> Recording:
    """A generated data set; the same at every call and in every process."""
    return MAKERS[name]()


def write(folder: Path) -> Path:
    """Write every recording into ``folder``, which it returns."""
    for name in MAKERS:
        made = recording(name)
        pq.write_table(made.table.sort_by([("vm_id", "ascending"), ("ts", "ascending")]), folder / f"{name}.parquet")
        for path, text in made.raw.items():
            target = folder / "raw" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    return folder
