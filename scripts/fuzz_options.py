"""Mutates option files and loads them: each must either load or give an error message, never another exception.

python scripts/fuzz_options.py options/train_aesop_rrdb.yml --count 2000 --seed 0
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from aesop.errors import UserError
from aesop.options import load_options

VALUES = [
    None, True, False, 0, -1, 1, 3, 2**31, 10**30, -(10**400), 0.5, -1e-4, 1e308, float('inf'), float('nan'), '', 'x',
    'train', '1e-4', '~/x', '${HOME}', '${NOT_SET}', '${', 'ä\u2028\x7f', '\0', 'a' * 5000, [], [1, 2], [None], ['x'],
    [[[]]], {}, {'type': 'RRDBNet'}, {'type': 1}, {'type': None}, {'a': {'b': {'c': 1}}}, {'': ''}, {'type': 'Adam'},
]  # fmt: skip
TEXTS = [
    '\x00\x01', '\t', ': : :', '[', '}', '&a [*a]', '*nowhere', '!!python/object:os.system x', '!!binary aGk=', '---\n',
    '%YAML 9.9\n---\n', '"\\UFFFFFFFF"', '"\\ud800"', '!!float abc', '!!int 0x', '!!timestamp 2024-01-01', '<<: 1\n',
    '? [a, b]\n: c\n', '[' * 500, '{a: ' * 500, '- ' * 500, '1' * 5000, '=', '!!set {a}', "'", 'base: [~]\n', '\ufeff',
    'name: a\nname: b\n', 'x: &x [1, 1]\ny: &y [*x, *x, *x, *x]\nz: [*y, *y, *y, *y, *y]\n', 'base: .\n', '0o8: 08\n',
]  # fmt: skip
BOMB = 'a0: &a0 [x]\n' + ''.join(f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]\n' for i in range(1, 12))


def mutants(text: str, count: int, seed: int) -> Iterator[bytes]:
    """`count` mutated option files."""
    rng = random.Random(seed)
    yield BOMB.encode()
    for _ in range(count - 1):
        data = yaml.safe_load(text)
        for _ in range(rng.randint(1, 3)):
            _mutate_data(data, rng)
        mutant = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        if rng.random() < 0.3:
            place = rng.choice([i for i, c in enumerate(mutant) if c in ' \n'])
            mutant = mutant[:place] + rng.choice(TEXTS) + mutant[place:]
        raw = mutant.encode('utf-8', 'surrogatepass')
        if rng.random() < 0.1:
            place = rng.randrange(len(raw))
            raw = raw[:place] + rng.randbytes(rng.randint(1, 40)) + raw[place + rng.randint(0, 20) :]
        yield raw


def _mutate_data(data: dict[str, Any], rng: random.Random) -> None:
    blocks = list(_blocks(data))
    block = rng.choice([b for b in blocks if b] or [data])
    key = rng.choice(list(block) or ['x'])
    kind = rng.randrange(6)
    if kind == 0:
        block.pop(key, None)
    elif kind == 1:
        block[key[:-1] + rng.choice('xyz_ ')] = block.pop(key, None)
    elif kind == 2:
        other = rng.choice([b for b in blocks if b] or [data])
        other_key = rng.choice(list(other) or ['x'])
        block[key], other[other_key] = other.get(other_key), block.get(key)
        if _holds_itself(data):
            block[key] = None
    elif kind == 3:
        for _ in range(rng.choice([1, 3, 100])):
            block[key] = {'type': block.get(key)}
    else:
        block[key] = rng.choice(VALUES)


def _blocks(data: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict) and depth < 20:
        yield data
        for value in data.values():
            yield from _blocks(value, depth + 1)


def _holds_itself(data: Any, above: tuple[int, ...] = ()) -> bool:
    if not isinstance(data, dict):
        return False
    return id(data) in above or any(_holds_itself(value, (*above, id(data))) for value in data.values())


def outcome(raw: bytes, folder: Path) -> str:
    """'loaded' or 'refused'; raises whatever else happens."""
    path = folder / 'mutant.yml'
    path.write_bytes(raw)
    try:
        options = load_options(path)
    except UserError as error:
        unclear = [problem for problem in error.problems if not problem.startswith(str(path)) or '\n' in problem]
        assert error.problems and not unclear, unclear
        return 'refused'
    path.write_text(options.to_yaml(), encoding='utf-8')
    assert load_options(path) == options, 'the resolved options load as others'
    return 'loaded'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('file', type=Path, nargs='?', default=Path('options/train_aesop_rrdb.yml'))
    parser.add_argument('--count', type=int, default=2000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    text = load_options(args.file).to_yaml()
    outcomes = {'loaded': 0, 'refused': 0, 'raised': 0}
    with tempfile.TemporaryDirectory() as folder:
        for i, raw in enumerate(mutants(text, args.count, args.seed)):
            try:
                outcomes[outcome(raw, Path(folder))] += 1
            except Exception as error:
                outcomes['raised'] += 1
                print(f'mutant {i}: {type(error).__name__}: {str(error)[:300]}')
    print(outcomes)
    return 1 if outcomes['raised'] else 0


if __name__ == '__main__':
    sys.exit(main())
