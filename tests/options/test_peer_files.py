"""The option files of the published AESOP code, BasicSR, LDL and Real-ESRGAN load unchanged, and run when data,
weights, sizes and GPUs are overridden. `scripts/compatibility.py` makes a table of what happens here."""

import json
import logging
from pathlib import Path

import pytest
import yaml

from aesop.cli.runs import main
from aesop.models import sr
from aesop.options import load_options
from tests.golden import DATA
from tests.options.peers import FILES
from tests.tiny import backbones, make_images, overrides  # noqa: F401  (a fixture)

PUBLISHED = json.loads((DATA / 'published_options.json').read_text())
ALL = PUBLISHED | FILES


@pytest.mark.parametrize('file', ALL)
def test_it_loads(file, record_property, caplog):
    with caplog.at_level(logging.INFO):
        options = load_options(ALL[file])
    assert options.network_g is not None and options.name
    ignored = [record.message.partition(': ')[2] for record in caplog.records if 'mean nothing here' in record.message]
    record_property('note', ''.join(f'without effect here: {keys}' for keys in ignored))


@pytest.mark.usefixtures('backbones')
@pytest.mark.parametrize('file', ALL)
def test_it_runs(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('file.yml').write_text(yaml.safe_dump(ALL[file]))
    with monkeypatch.context() as patch:
        patch.setattr(sr, 'dry_run', lambda *_: [])  # that the file fits together at full size is tested above
        options = load_options('file.yml')
        here = [f'datasets.{name}.{key}=data/{name}/{key}' for name, block in options.datasets.items()
                for key in block if key.startswith('dataroot')]  # fmt: skip
        make_images(load_options('file.yml', here))
    lists = [f'datasets.{name}.{key}=~' for name in options.datasets for key in ('meta_info', 'meta_info_file')]
    mode = 'train' if options.train else 'test'
    assert main(mode, ['-opt', 'file.yml', '--set', *here, *overrides(options), *lists]) == 0
    if mode == 'test' and options.val.save_img:
        assert len(list(Path('results').rglob('*.png'))) == 2 * len(options.datasets)
