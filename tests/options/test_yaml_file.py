import pytest

from aesop.errors import UserError
from aesop.options.yaml_file import read


def load(source, overrides=()):
    """The plain data, the problems reported on the way, and the tree."""
    found = []
    tree, data = read(source, overrides, lambda where, key, what: found.append((where, '.'.join(map(str, key)), what)))
    return data, found, tree


def refusal(source):
    with pytest.raises(UserError) as caught:
        load(source)
    (problem,) = caught.value.problems
    return problem


def test_scalars(write):
    text = """
    a: 1e-4
    b: 1E5
    c: !!float 2
    d: 0x10
    e: 1_000
    f: '1e-4'
    g: 1:30
    h: 2024-01-01
    i: 010
    j: yes
    k: ~
    l: -.5
    m: 1.
    n: e5
    """
    data, found, _ = load(write(text))
    assert not found
    assert data == {
        'a': 1e-4, 'b': 1e5, 'c': 2.0, 'd': 16, 'e': 1000, 'f': '1e-4', 'g': '1:30', 'h': '2024-01-01', 'i': '010',
        'j': True, 'k': None, 'l': -0.5, 'm': 1.0, 'n': 'e5',
    }  # fmt: skip
    assert isinstance(data['c'], float) and isinstance(data['m'], float)


def test_lines_of_keys(write):
    path = write('# comment\na:\n  b: 1\n\n  c: {d: 2,\n      e: [3, 4]}\n')
    _, _, tree = load(path)
    lines = {'.'.join(map(str, key)): node.where.rpartition(':')[2] for key, node in tree.walk()}
    assert lines == {
        '': '2',
        'a': '2',
        'a.b': '3',
        'a.c': '5',
        'a.c.d': '5',
        'a.c.e': '6',
        'a.c.e.0': '6',
        'a.c.e.1': '6',
    }
    assert tree.at(('a', 'nothing', 'here')).where == f'{path}:2'


def test_base_is_completed_key_by_key(write):
    write('x: 1\nblock: {a: 1, b: {c: 1, d: 2}}\ngone: 5\nlist: [1, 2]\n', 'deep/base.yml')
    child = write('base: deep/base.yml\nblock: {b: {d: 3}}\ngone: ~\nlist: [3]\n')
    data, found, tree = load(child)
    assert data == {'x': 1, 'block': {'a': 1, 'b': {'c': 1, 'd': 3}}, 'gone': None, 'list': [3]}
    assert tree.at(('block', 'b', 'd')).where == f'{child}:2'
    assert tree.at(('block', 'b', 'c')).where.endswith('base.yml:2')


def test_base_block_of_another_type_is_replaced(write):
    write('net: {type: A, width: 3}\nsame: {type: A, width: 3}\nopen: {width: 3}\n', 'base.yml')
    child = 'base: base.yml\nnet: {type: B}\nsame: {type: A, depth: 1}\nopen: {type: A}\n'
    data, _, _ = load(write(child))
    assert data['net'] == {'type': 'B'}
    assert data['same'] == {'type': 'A', 'width': 3, 'depth': 1}
    assert data['open'] == {'type': 'A', 'width': 3}


def test_several_bases_later_ones_win(write, tmp_path):
    write('a: 1\nb: 1\n', 'one.yml')
    write('b: 2\nc: 2\n', 'two.yml')
    assert load(write('base: [one.yml, two.yml]\nc: 3\n'))[0] == {'a': 1, 'b': 2, 'c': 3}
    assert load({'base': str(tmp_path / 'one.yml'), 'b': 5})[0] == {'a': 1, 'b': 5}


def test_a_circle_of_bases_is_refused(write):
    write('base: run.yml\n', 'other.yml')
    assert 'inherit from each other in a circle' in refusal(write('base: other.yml\n'))
    assert 'inherit from each other in a circle' in refusal(write('base: run.yml\n'))


def test_a_missing_base_names_who_wants_it(write):
    path = write('a: 1\nbase: nowhere.yml\n')
    assert refusal(path).startswith(f'{path.parent / "nowhere.yml"}: cannot read the option file: No such file')
    assert refusal(path).endswith(f'(base of {path}:2)')


def test_overrides_set_what_they_name(write):
    path = write('a: {b: {type: X, c: 1}}\nl: [1, 2]\n')
    data, found, tree = load(path, ['a.b.c=1e-4', 'a:b:d=[1, x]', 'new.block=~', 'l=[3]', 'a.b.type=Y', 'text="5"'])
    assert not found
    assert data == {'a': {'b': {'type': 'Y', 'c': 1e-4, 'd': [1, 'x']}}, 'new': {'block': None}, 'l': [3], 'text': '5'}
    assert tree.at(('a', 'b', 'c')).where == '--set a.b.c=1e-4'
    assert load(path, ['a.b={type: Z}'])[0]['a'] == {'b': {'type': 'Z'}}


@pytest.mark.parametrize('override', ['a', '=1', 'a..b=1', 'base=x.yml', '.=1', ''])
def test_an_override_without_key_or_value(override):
    _, found, _ = load({}, [override])
    assert found == [(f'--set {override}', '', found[0][2])]
    assert found[0][2].startswith('an override is KEY=VALUE')


def test_overrides_that_do_not_fit():
    _, found, _ = load({'a': 1}, ['a.b=2', 'c=[1'])
    assert found[0] == ('--set a.b=2', 'a.b', 'a is no block; set it as a whole')
    assert found[1][:2] == ('--set c=[1', 'c') and 'not valid YAML' in found[1][2]


def test_environment_and_home(write, monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    monkeypatch.setenv('SIZE', '16')
    monkeypatch.setenv('EMPTY', '')
    monkeypatch.delenv('UNSET', raising=False)
    text = 'a: ${SIZE}\nb: "${SIZE}"\nc: x_${SIZE}_${UNSET:-y}\nd: ~/data\ne: ${UNSET:-1e-4}\nf: a~/b\ng: ${EMPTY:-z}\n'
    data, found, _ = load(write(text))
    assert not found
    assert data == {'a': 16, 'b': '16', 'c': 'x_16_y', 'd': '/home/me/data', 'e': 1e-4, 'f': 'a~/b', 'g': 'z'}
    path = write('a: 1\nb: [x, "${UNSET}"]\nc: ${9}\n')
    _, found, _ = load(path)
    assert found[0][:2] == (f'{path}:2', 'b.1') and 'UNSET is not set' in found[0][2]
    assert found[1][:2] == (f'{path}:3', 'c') and 'neither' in found[1][2]


def test_an_override_hides_an_unset_variable(write, monkeypatch):
    monkeypatch.delenv('UNSET', raising=False)
    data, found, _ = load(write('a: ${UNSET}\n'), ['a=1'])
    assert (data, found) == ({'a': 1}, [])


def test_duplicate_keys_are_told(write):
    path = write('a: 1\nb: 2\na: 3\n')
    _, found, _ = load(path)
    assert found == [(f'{path}:3', 'a', f'is written twice, first at {path}:1')]


def test_anchors_and_merge_keys(write):
    text = 'x: &x {a: 1, b: 2}\ny: *x\nz: {<<: *x, b: 3}\nw: {<<: [{a: 9}, *x]}\n'
    data, found, _ = load(write(text))
    assert not found
    assert data['y'] == data['x'] == {'a': 1, 'b': 2}
    assert data['z'] == {'a': 1, 'b': 3}
    assert data['w'] == {'a': 9, 'b': 2}


@pytest.mark.parametrize(
    ('text', 'what'),
    [
        ('a: !!python/object/apply:os.system [x]\n', 'the tag !!python/object/apply:os.system is not allowed'),
        ('a: !!binary aGk=\n', '"aGk=" cannot be read as !!binary'),
        ('a: !!float x\n', '"x" cannot be read as !!float'),
        ('a: !!int 1.5\n', '"1.5" cannot be read as !!int'),
        ('a: .nan\n', 'must be a finite number'),
        ('a: 1e999\n', 'must be a finite number'),
        ('a: 99999999999999999999\n', 'must be a finite number'),
        ('a: "\\0"\n', 'holds a character that no text has'),
        ('a: "\\ud800"\n', 'holds a character that no text has'),
        ('? [a]\n: 1\n', 'a key must be a word'),
    ],
)
def test_values_that_are_told_and_read_on(write, text, what):
    _, ((where, _, told),), _ = load(write(text))
    assert where.endswith('run.yml:1')
    assert told.startswith(what)


@pytest.mark.parametrize(
    ('text', 'what'),
    [
        (b'', 'holds `key: value` lines'),
        (b'- a\n', 'holds `key: value` lines'),
        (b'\xff\xfe\x00', 'is not a text file in UTF-8'),
        (b'a: \x00', 'is not valid YAML'),
        (b'a: [1\nb: 2', 'is not valid YAML'),
        (b'a:\n\tb: 1\n', 'indent with spaces, not tabs'),
        (b'a: 1\n---\nb: 1\n', 'is not valid YAML'),
        (b'a: "\\UFFFFFFFF"', 'is not valid YAML'),
        (b'a: *b\n', "undefined alias 'b'"),
        (b'a: ' + b'[' * 3000, 'nested deeper than 30 levels'),
        (b'a: &a [*a]\n', 'nested deeper than 30 levels'),
        (b'a: ' + b'x' * 1_000_001, 'is larger than 1,000,000 bytes'),
        (b'base: 3\n', 'base: must be a file name'),
    ],
)
def test_files_that_cannot_be_read(write, text, what):
    path = write(text)
    assert refusal(path).startswith(str(path))
    assert what in refusal(path)


def test_aliases_cannot_blow_up(write):
    text = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n'
    text += ''.join(f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 9))
    assert 'aliases repeat what they name' in refusal(write(text))


def test_a_folder_and_a_missing_file(tmp_path):
    assert 'Is a directory' in refusal(tmp_path)
    assert (
        refusal(tmp_path / 'no.yml') == f'{tmp_path / "no.yml"}: cannot read the option file: No such file or directory'
    )


def test_dicts(tmp_path):
    data, found, _ = load({'a': '1e-4', 'b': (1, 2), 3: tmp_path, 'c': 'e5', 'd': object()})
    assert data == {'a': 1e-4, 'b': [1, 2], '3': str(tmp_path), 'c': 'e5', 'd': None}
    assert found == [('options', 'd', 'must be a plain value, not object')]
    circle = {}
    circle['a'] = circle
    assert 'nested deeper' in refusal(circle)
