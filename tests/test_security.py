"""Nothing that comes in a file, an option or over the wire is executed, and no name leads out of its folder."""

import ast
from pathlib import Path

import pytest

from aesop.data.datasets.meta_info import read_meta_info
from aesop.errors import UserError
from aesop.options import load_options

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / 'aesop').rglob('*.py'), *(ROOT / 'scripts').rglob('*.py')])
# What runs code found in its input, or writes where its input says.
FORBIDDEN = {'eval', 'exec', 'compile', 'os.system', 'os.popen', 'yaml.load', 'yaml.unsafe_load', 'yaml.full_load'}
FORBIDDEN |= {'pickle.load', 'pickle.loads', 'pickle.Unpickler', 'shelve.open', 'marshal.loads', 'joblib.load'}
FORBIDDEN |= {'dist.all_gather_object', 'dist.gather_object', 'dist.broadcast_object_list', 'dist.scatter_object_list'}
MUST_SAY = {'torch.load': ('weights_only', True), 'np.load': ('allow_pickle', False)}


def calls(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: word.value for word in node.keywords}


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_is_executed_that_was_read(file):
    for name, words in calls(file):
        assert name not in FORBIDDEN, name
        assert not name.endswith('.extractall'), name
        assert not ('shell' in words and ast.unparse(words['shell']) != 'False'), name
        if name in MUST_SAY:
            word, value = MUST_SAY[name]
            assert word in words and ast.literal_eval(words[word]) is value, name


RUN = {'model_type': 'SRModel', 'scale': 4}


@pytest.mark.parametrize('name', ['../x', '/etc/x', 'a/../../x', 'a//b', '..', '.', 'a\\b', 'x' * 300])
def test_no_name_leads_out_of_its_folder(name):
    for options, key in (
        ({'name': name}, 'name'),
        ({'val': {'suffix': name}}, 'val.suffix'),
        ({'datasets': {'val': {'type': 'BicubicImageDataset', 'dataroot_gt': 'x', 'name': name}}}, 'datasets.val.name'),
    ):
        with pytest.raises(UserError, match=f'{key}: '):
            load_options(RUN | options)


@pytest.mark.parametrize('name', ['tiny', 'tiny: #1', 'group/run 2', 'é.v1..2', 'x' * 200])
def test_ordinary_names_are_taken(name):
    assert load_options(RUN | {'name': name}).name == name


def test_a_list_of_images_names_none_outside_its_folder(tmp_path):
    (tmp_path / 'list.txt').write_text('a.png\nb/../../c.png\n')
    with pytest.raises(UserError, match='c.png is outside the folder'):
        read_meta_info(tmp_path / 'list.txt')


@pytest.mark.parametrize('value', ['!!python/object/apply:os.system [x]', '!!python/name:os.system', '!!binary aGk='])
def test_no_yaml_tag_builds_an_object(tmp_path, value):
    (tmp_path / 'run.yml').write_text(f'name: {value}\n')
    with pytest.raises(UserError, match='run.yml:1: name: '):
        load_options(tmp_path / 'run.yml')
