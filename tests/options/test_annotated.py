from aesop.options import load_options
from aesop.options.annotated import annotated
from tests.commands import command

main = command('options')


def test_prints_values_and_where_they_were_written(write, old_style, capsys):
    path = write(old_style)
    assert main([str(path), '--set', 'train.total_iter=7', 'val.suffix="a: b # c"']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f'scale: 4  # {path}:4' in lines
    assert '  total_iter: 7  # override' in lines
    assert '  keep_last: 3  # default' in lines
    assert f'    betas: [0.9, 0.99]  # {path}:{old_style.splitlines().index("    betas: [0.9, 0.99]") + 1}' in lines


def test_basicsrs_overrides_are_taken(write, old_style, capsys):
    path = write(old_style)
    assert main([str(path), '--force_yml', 'train:total_iter=7', 'logger:keep_last=None']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert '  total_iter: 7  # override' in lines and '  keep_last: null  # override' in lines


def test_what_is_printed_loads_again(write, old_style):
    options = load_options(write(old_style), ['val.suffix="a: b # c\\n"', 'logger.keep_last=~', 'name="1e-4"'])
    assert load_options(write(annotated(options), 'again.yml')) == options


def test_mistakes_go_to_stderr_with_code_2(write, capsys):
    path = write('scal: 4\n')
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ('', f'aesop options: {path}:1: scal: unknown key. Did you mean "scale"?\n')
