"""The design's rules that a program can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each tier imports only from itself and from the tiers after it.
TIERS = (
    ('cli', '__main__'),
    ('benchmarks',),
    ('training', 'upscale', 'reporting'),
    ('evaluation',),
    ('run',),
    ('models',),
    ('data', 'metrics'),
    ('losses',),
    ('archs',),
    ('options',),
    ('registry', 'utils', 'errors'),
)
TIER = {room: number for number, rooms in enumerate(TIERS) for room in rooms}
FILES = sorted((ROOT / 'aesop').rglob('*.py'))


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [node.module] if node.module != 'aesop' else [f'aesop.{name.name}' for name in node.names]
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_rooms_import_only_to_the_right(file):
    room = file.relative_to(ROOT / 'aesop').parts[0].removesuffix('.py')
    if room == '__init__':
        return
    for module in imports(file):
        if module.startswith('aesop.'):
            other = module.split('.')[1]
            assert other not in TIER or TIER[other] >= TIER[room], f'{room} may not import {module}'


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_says_what_it_is(file):
    assert ast.get_docstring(ast.parse(file.read_text())), f'{file} has no docstring'


def printed_by(command):
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, '-c', command], capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_importing_the_package_loads_nothing():
    command = 'import sys, aesop; print(sorted(m for m in sys.modules if m.split(".")[0] in ("torch", "cv2", "numpy")))'
    assert printed_by(command).strip() == '[]'


def test_help_loads_no_framework():
    command = (
        'import sys; from aesop.cli.runs import main\n'
        'try: main("train", ["--help"])\n'
        'finally: assert "torch" not in sys.modules'
    )
    assert '--auto_resume' in printed_by(command)


def test_training_and_upscaling_start_without_what_they_may_not_need():
    """What these packages take to load would come before every first iteration."""
    command = (
        'import sys, aesop.training.loop, aesop.evaluation.test_run, aesop.upscale.folder, aesop.upscale.networks\n'
        'slow = "torchvision lpips scipy skimage matplotlib tensorboard torchmetrics lmdb torch._dynamo".split()\n'
        'print(sorted(sys.modules.keys() & slow))'
    )
    assert printed_by(command).strip() == '[]'


def test_only_distributed_reads_the_rank():
    for file in FILES:
        names = [n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)]
        if file.name != 'distributed.py':
            assert not {'RANK', 'LOCAL_RANK', 'WORLD_SIZE'} & {n for n in names if isinstance(n, str)}, file


def test_nothing_is_patched():
    """Public APIs alone: no rebinding of methods or classes, no private helpers of torch, no mocks in the product."""
    words = ('Method' + 'Type', '__class__' + ' =', '.data' + ' = ', '_foreach' + '_', 'unit' + 'test')
    found = [f'{file}: {word}' for file in FILES for word in words if word in file.read_text(encoding='utf-8')]
    assert found == []


def test_no_function_is_longer_than_60_lines():
    """Outside the networks, some of whose constructors are lists of layers."""
    functions = [
        (f'{file}: {node.name}', node.end_lineno - node.lineno + 1)
        for file in FILES
        if 'archs' not in file.parts
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8')))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [function for function in functions if function[1] > 60] == []
