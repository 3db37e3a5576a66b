"""The examples of CONTRIBUTING.md are a plugin that trains."""

import json
import re
import sys
from pathlib import Path

import pytest

from aesop.cli.runs import main
from aesop.errors import UserError
from aesop.options import load_options
from tests.outside.test_reference_sr import registries  # noqa: F401  (a fixture)
from tests.runs import folder  # noqa: F401  (a fixture)

PAGE = (Path(__file__).parents[2] / 'CONTRIBUTING.md').read_text()


@pytest.fixture
def method(folder, monkeypatch):  # noqa: F811
    monkeypatch.syspath_prepend(folder)
    Path('method.py').write_text('\n'.join(re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)))
    Path('method.yml').write_text(*re.findall(r'```yaml\n(.*?)```', PAGE, re.DOTALL))
    yield
    sys.modules.pop('method')


def test_the_examples_train_and_are_checked(method):
    assert main('train', ['-opt', 'method.yml']) == 0
    terms = [json.loads(line) for line in Path('experiments/contributed/train.jsonl').read_text().splitlines()]
    bottleneck = ['l_bottleneck' in str(line) for line in terms if 'l_pix' in str(line)]
    assert bottleneck == [False, False, True, True]
    scores = json.loads(Path('experiments/contributed/metrics.jsonl').read_text().splitlines()[-1])
    assert 0 < scores['datasets']['val']['largest'] <= 1
    with pytest.raises(UserError, match='Did you mean "pixel_only"'):
        load_options('method.yml', ['train.pixl_only=1'])
