"""A plugin for test_ranks.py: a data set one of whose samples does something to the rank that draws it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from aesop.data.datasets.bicubic import BicubicImageDataset
from aesop.errors import UserError
from aesop.registry import DATASETS


@DATASETS.register()
@dataclass(kw_only=True, eq=False, repr=False)
class FaultyDataset(BicubicImageDataset):
    """`faults`: {sample: kill, hang, user or nan}. A kill happens once, noted in the file `killed`."""

    faults: dict[str, str]

    def __getitem__(self, n):
        sample = super().__getitem__(n)
        fault = self.faults.get(str(n)) if self.gt_size else None
        if fault == 'nan':
            sample['gt'] = sample['gt'] * float('nan')
        elif fault == 'user':
            raise UserError(f'sample {n} is broken')
        elif fault == 'hang':
            time.sleep(1000)
        elif fault == 'kill' and not Path('killed').exists():
            Path('killed').touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return sample
