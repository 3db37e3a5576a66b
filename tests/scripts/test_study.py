import json
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts import study
from tests.tiny import SMALL

NET = {'type': 'MSRResNet', 'num_feat': SMALL['num_feat'], 'num_block': 1}
PLAN = {
    'test': 'test.yml',
    'runs': {'start': {'opt': 'a.yml'}, 'gan': {'opt': 'a.yml', 'seeds': [3, 4], 'set': ['train.total_iter=7']}},
    'tables': [
        {
            'title': 'Both',
            'rows': {'Start': {'run': 'start'}, 'GAN': {'run': 'gan'}, 'GAN, early': {'run': 'gan', 'at': 5}},
            'pairs': [['GAN', 'GAN, early'], ['GAN', 'Start']],
        }
    ],
}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = {'total_iter': 9, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'pixel_opt': {'type': 'L1Loss'}}
    options = {'name': 'a', 'model_type': 'SRModel', 'scale': 4, 'network_g': NET, 'train': train}
    Path('a.yml').write_text(yaml.safe_dump(options))
    Path('study.yml').write_text(yaml.safe_dump(PLAN, sort_keys=False))
    return 'study.yml'


@pytest.fixture
def calls(monkeypatch):
    """The commands that would be run."""
    made = []
    monkeypatch.setattr(subprocess, 'run', lambda command, check: made.append(command[1:]))
    return made


def weights(name, iteration):
    path = Path('experiments') / name / 'models' / f'net_g_{iteration}.pth'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def scores(name, **values):
    path = Path('results') / name / 'metrics.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({'datasets': {'Set5': values}}))


def test_what_is_missing_is_trained_or_resumed_in_order(plan, calls):
    weights('gan_s3', 7)  # done
    weights('gan_s4', 5)  # interrupted
    assert study.main([plan, '--steps', 'train']) == 0
    gan = ['train.py', '-opt', 'a.yml', '--set', 'name=gan_s4', 'manual_seed=4', 'train.total_iter=7', '--auto_resume']
    assert calls == [['train.py', '-opt', 'a.yml', '--set', 'name=start', '--auto_resume'], gan]
    calls.clear()
    assert study.main([plan, '--steps', 'train', '--only', 'gan_s4', 'gan_s3']) == 0
    assert calls == [gan]


def test_weights_that_are_there_are_evaluated_once(plan, calls):
    weights('gan_s3', 7)
    weights('gan_s4', 5)
    scores('gan_s3', psnr=1)
    assert study.main([plan, '--steps', 'evaluate']) == 0
    early = 'gan_s4_5=experiments/gan_s4/models/net_g_5.pth'
    assert calls == [['test.py', '-opt', 'test.yml', '--weights', early, '--resume']]


def test_tables_have_mean_deviation_and_paired_differences(plan):
    scores('start', psnr=30.0, ssim=0.9)
    scores('gan_s3', psnr=28.0, lpips=0.2)
    scores('gan_s4', psnr=29.0, lpips=0.4)
    scores('gan_s3_5', psnr=27.0, lpips=0.25)
    scores('gan_s4_5', psnr=27.5, lpips=0.35)
    assert study.main([plan, '--steps', 'tables', '-o', 'out.md']) == 0
    assert Path('out.md').read_text().splitlines() == [
        '### Both',
        '',
        '| Set5 | n | PSNR | SSIM | LPIPS |',
        '| --- | --- | --- | --- | --- |',
        '| Start | 1 | 30.00 | 0.9000 |  |',
        '| GAN | 2 | 28.50 ± 0.71 |  | 0.3000 ± 0.1414 |',
        '| GAN, early | 2 | 27.25 ± 0.35 |  | 0.3000 ± 0.0707 |',
        '',
        '| paired difference | set | n | PSNR | SSIM | LPIPS |',
        '| --- | --- | --- | --- | --- | --- |',
        '| GAN - GAN, early | Set5 | 2 | +1.25 ± 0.35 |  | +0.0000 ± 0.0707 |',
    ]


def test_mistakes_are_told_in_a_sentence(plan, calls, capsys):
    assert study.main(['nowhere.yml']) == 2
    assert study.main([plan, '--steps', 'train', '--only', 'gan']) == 2
    Path('study.yml').write_text(
        yaml.safe_dump(PLAN | {'tables': [{'title': '', 'rows': {'A': {'run': 'b'}}}]}, sort_keys=False)
    )
    assert study.main([plan, '--steps', 'tables']) == 2
    said = capsys.readouterr().err
    assert 'nowhere.yml: this is no file of a study' in said
    assert '--only gan: the trainings are start, gan_s3, gan_s4' in said
    assert 'a table names the run "b"' in said


def test_the_small_study_names_option_files_that_exist():
    root = Path(study.__file__).parents[1]
    plan = yaml.safe_load((root / 'scripts/small_study.yml').read_text())
    rows = [row for table in plan['tables'] for row in table['rows'].values()]
    files = [plan['test'], *(run['opt'] for run in plan['runs'].values()), *(r['opt'] for r in rows if 'opt' in r)]
    assert [file for file in files if not (root / file).is_file()] == []
    assert {row['run'] for row in rows if 'run' in row} <= plan['runs'].keys()
    for table in plan['tables']:
        assert {title for pair in table.get('pairs', ()) for title in pair} <= table['rows'].keys()
