import json
from pathlib import Path

import pytest

from aesop.options.reference import json_schema, markdown
from aesop.options.schema import Block, Options

ROOT = Path(__file__).parents[2]


def blocks(of=Block):
    return [of, *(block for child in of.__subclasses__() for block in blocks(child))]


@pytest.mark.parametrize('block', blocks(), ids=lambda block: block.__name__)
def test_every_key_has_one_line_of_description(block):
    if block.__module__ != Options.__module__:
        pytest.skip('not of the schema')
    for name, field in block.model_fields.items():
        if name != 'type':
            assert field.description and field.description.endswith('.') and '\n' not in field.description, name


def test_docs_are_current():
    command = 'aesop options --docs > docs/options.md'
    assert (ROOT / 'docs/options.md').read_text() == markdown(), f'run `{command}`'


def test_schema_for_editors_is_current():
    command = 'aesop options --json-schema > options/schema.json'
    assert json.loads((ROOT / 'options/schema.json').read_text()) == json_schema(), f'run `{command}`'


def test_what_the_references_say():
    page = markdown()
    assert '| `print_freq` | whole number, from 1 | `100` | Iterations between two log lines. |' in page
    assert '`find_unused_parameters`' in page
    assert '`VGGStyleDiscriminator128`' in page
    network = json_schema()['$defs']['Network']
    assert 'RRDBNet' in network['properties']['type']['anyOf'][0]['enum']
    (rrdb,) = [rule for rule in network['allOf'] if rule['if']['properties']['type']['const'] == 'RRDBNet']
    assert 'num_block' in rrdb['then']['properties']
    assert json_schema()['additionalProperties'] is False
