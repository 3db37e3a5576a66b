import pytest

from aesop.errors import UserError
from aesop.registry import ARCHS, Registry, did_you_mean


@pytest.fixture
def parts():
    registry = Registry('part', 'aesop.errors')

    @registry.register('OldName')
    class Part:
        def __init__(self, size, colour='red'):
            self.size, self.colour = size, colour

    return registry


def test_a_part_is_built_by_name_or_alias_and_the_block_stays_as_it_is(parts):
    block = {'type': 'OldName', 'size': 3}
    part = parts.build(block, colour='blue')
    assert (part.size, part.colour, type(part).__name__) == (3, 'blue', 'Part')
    assert block == {'type': 'OldName', 'size': 3}


def test_two_parts_of_one_name_are_refused(parts):
    with pytest.raises(ValueError, match='a part named "OldName" is already registered'):
        parts.register()(type('OldName', (), {}))


@pytest.mark.parametrize(('block', 'said'), [
    ({'type': 'OldNam'}, 'unknown part "OldNam". Did you mean "OldName"?'),
    ({'type': 'zzzzz'}, 'unknown part "zzzzz". Known: OldName, Part.'),
    ({'type': 'Part', 'siez': 3}, 'Part has no argument "siez". Did you mean "size"?'),
    ({'type': 'Part'}, 'Part needs the argument "size"'),
    ({'size': 3}, 'a part needs a block with `type: NAME`'),
    ('Part', 'a part needs a block with `type: NAME`'),
])  # fmt: skip
def test_mistakes_are_told_with_the_nearest_right_name(parts, block, said):
    with pytest.raises(UserError) as error:
        parts.build(block)
    assert said in str(error.value)


def test_looking_a_name_up_imports_its_room():
    assert 'RRDBNet' in ARCHS.names()


def test_no_suggestion_for_what_resembles_nothing():
    assert did_you_mean('a', ['name', 'scale']) == ''
    assert did_you_mean('SCALE', ['name', 'scale']) == ' Did you mean "scale"?'
