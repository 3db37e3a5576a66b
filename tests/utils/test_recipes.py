from pathlib import Path

import pytest
import yaml

from aesop.cli.runs import main
from aesop.utils import recipes
from aesop.utils.recipes import recipe


@pytest.mark.parametrize('name', ['train_ae_rrdb.yml', 'train_ae_rrdb', 'options/train_ae_rrdb.yml'])
def test_a_recipe_is_found_from_anywhere(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert yaml.safe_load(recipe(name).read_text())['model_type'] == 'AEModel'
    assert recipe('small/train.txt').is_file() and recipe('demo/gan_pix').is_file()


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('train_ae_rrdb.yml').write_text('name: mine\n')
    assert recipe('train_ae_rrdb.yml') == Path('train_ae_rrdb.yml')


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    (tmp_path / 'recipes').mkdir()
    (tmp_path / 'recipes/a.yml').touch()
    monkeypatch.setattr(recipes, 'FOLDERS', (tmp_path / 'recipes', tmp_path / 'options'))
    assert recipe('a') == tmp_path / 'recipes/a.yml'
    for unknown in ('none.yml', '../recipes/a.yml', 'options', '/a.yml'):
        assert recipe(unknown) == Path(unknown)


def test_what_is_no_recipe_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main('train', ['-opt', 'train_ae_rrbd.yml']) == 2
    assert 'train_ae_rrbd.yml' in capsys.readouterr().err
