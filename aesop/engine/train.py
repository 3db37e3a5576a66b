"""The training loop."""

import logging
import math
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aesop import distributed
from aesop.data import train_loader
from aesop.data.degradation import RealDegradation, build_degradation
from aesop.data.realesrgan import RealESRGANDataset
from aesop.engine import preflight
from aesop.engine.cli import DONE, STOPPED
from aesop.engine.experiment import Experiment
from aesop.engine.logs import Scalars, also_to
from aesop.engine.validation import Metrics, build_metrics, evaluate
from aesop.errors import UserError, at
from aesop.models import SRModel, build_model
from aesop.options import Options

logger = logging.getLogger(__name__)

AGREE_EVERY = 10  # iterations between two questions to all ranks whether one was told to stop


def train(options: Options, device: torch.device, auto_resume: bool = False, debug: bool = False) -> int:
    """Trains as `options` say; returns the exit code: 0 done, 3 stopped by a signal after saving.

    Args:
        auto_resume: go on from the newest good state of this run, where there is one.
        debug: a trial of everything: few iterations are set by the caller, validation looks at two images a set.

    Raises:
        UserError: something is missing or does not fit; nothing has been written then.
    """
    experiment = Experiment(options)
    datasets = preflight.prepare(options, ('train', 'val'), experiment.root, auto_resume or distributed.restarted())
    training_set = datasets.pop('train')
    seed_everything(options.manual_seed)  # the same on every rank: the networks must start alike
    model = build_model(options, device)
    metrics = build_metrics(options, datasets, device)

    degrade = build_degradation(options, device) if isinstance(training_set, RealESRGANDataset) else None
    run = TrainingRun(options, model, experiment, datasets, metrics, degrade, limit=2 if debug else None)
    seed_everything(options.manual_seed + distributed.rank())
    state, keep = distributed.on_main(lambda: experiment.find_state(auto_resume))
    if state is not None:
        run.load_state(state, keep)
    distributed.on_main(lambda: experiment.start(run.iter))
    if distributed.is_main():
        also_to(experiment.root / f'train_{time.strftime("%Y%m%d_%H%M%S")}.log')
    return run.loop(training_set)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class TrainingRun:
    """A model, its position in the run, and what has to happen at which iteration."""

    def __init__(
        self,
        options: Options,
        model: SRModel,
        experiment: Experiment,
        datasets: dict[str, Any],
        metrics: dict[str, Metrics],
        degrade: RealDegradation | None = None,
        limit: int | None = None,
    ) -> None:
        self.options = options
        self.model = model
        self.experiment = experiment
        self.datasets = datasets
        self.metrics = metrics
        self.degrade = degrade
        self.limit = limit
        self.iter = 0
        self.elapsed = 0.0  # seconds, over all interruptions
        self.best: dict[str, Any] = {}

    def loop(self, training_set: Any) -> int:
        """Trains to the end or to a signal; returns the exit code."""
        total = self.options.train.total_iter
        block = self.options.datasets['train']
        loader = train_loader(
            training_set,
            batch_size=block['batch_size_per_gpu'],
            num_workers=block.get('num_worker_per_gpu', 0),
            start_iter=self.iter,
            total_iter=total,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            pin_memory=block.get('pin_memory', True) and self.model.device.type == 'cuda',
        )
        folder = Path('tb_logger') / self.options.name
        use_tensorboard = self.options.logger.use_tb_logger and distributed.is_main()
        self.scalars = Scalars(folder if use_tensorboard else None, self.iter + 1, self._wandb())
        self._announce(training_set, total)
        self._clock = Clock(self.elapsed, self.iter)
        bar = tqdm(
            total=total,
            initial=self.iter,
            unit='it',
            dynamic_ncols=True,
            disable=None if distributed.is_main() else True,
        )
        with bar, stop_signals() as stop, logging_redirect_tqdm([logging.getLogger('aesop')]):
            for batch in self._clock.waiting(loader):
                self.iter += 1
                if self.degrade is not None:
                    batch = self.degrade(batch)
                terms = self.model.step(batch, self.iter)
                bar.update()
                stopping = self._must_stop(stop)
                if self._due(self.options.logger.print_freq):
                    self._log(terms, total)
                if self.datasets and self._due(self.options.val.val_freq, self.options.val.val_start_iter):
                    self._validate_or_save()
                if stopping or self._due(self.options.logger.save_checkpoint_freq):
                    self.save()
                if stopping:
                    logger.info('stopped by a signal at iteration %d, saved; go on with --auto_resume', self.iter)
                    break
        self.scalars.close()
        if self.iter < total:
            return STOPPED
        logger.info('done: %d iterations in %s', total, timedelta(seconds=round(self._clock.elapsed)))
        return DONE

    def validate(self) -> None:
        """Evaluates every validation set, writes the numbers, keeps the best weights by the first metric of the
        first set."""
        folder = self.experiment.root / 'visualization'
        values = {}
        for key, dataset in self.datasets.items():
            label = f'{self.options.val.suffix}_{self.iter}' if self.options.val.suffix else str(self.iter)

            def image_path(name: str, dataset: Any = dataset, label: str = label) -> Path:
                return folder / dataset.name / f'{name}_{label}.png'

            save_image = image_path if self.options.val.save_img else None
            values[dataset.name] = evaluate(self.model, dataset, self.metrics[key], save_image, self.limit).mean
            self.scalars.add(values[dataset.name], self.iter, f'metrics/{dataset.name}')
            numbers = '  '.join(f'{name}: {value:.4f}' for name, value in values[dataset.name].items())
            logger.info('validation at %d, %s: %s', self.iter, dataset.name, numbers)
        if distributed.is_main():
            self.experiment.record({'iter': self.iter, 'datasets': values})
        self._keep_best(values)

    def _validate_or_save(self) -> None:
        """Validates; where that ends in a user's mistake, what was trained is saved first."""
        try:
            self.validate()
        except UserError:
            if distributed.world_size() == 1:  # other ranks may not have failed, and saving takes all of them
                self.save()
            raise

    def save(self) -> None:
        """Writes the state and the weights; every rank contributes its random state."""
        random_states = distributed.gather(random_state())
        pools = distributed.gather(self.degrade.state_dict() if self.degrade else {})
        self.elapsed = self._clock.elapsed
        if distributed.is_main():
            self.experiment.save_networks(self.model.network_states(), self.iter)
            self.experiment.save_state(
                {
                    'iter': self.iter,
                    'model': self.model.state_dict(),
                    'random': random_states,
                    'pools': pools,
                    'best': self.best,
                    'elapsed': self.elapsed,
                    'seed': self.options.manual_seed,
                }
            )
        distributed.barrier()

    def load_state(self, state: dict[str, Any], keep: Sequence[str] = ()) -> None:
        """Goes on from a state that `save` wrote.

        Args:
            keep: networks that do not take their weights from it, e.g. 'network_d'.

        Raises:
            UserError: it is the state of another run.
        """
        total, seed = self.options.train.total_iter, self.options.manual_seed
        with at(state['file']):
            if state['iter'] > total:
                raise UserError(f'it is of iteration {state["iter"]}, beyond train.total_iter {total}: raise that')
            self.model.load_state_dict(state['model'], keep)
        if state['seed'] != seed:
            logger.warning('the state was made with manual_seed %d, from here on it is %d', state['seed'], seed)
        self.iter, self.elapsed, self.best = state['iter'], state['elapsed'], state['best']
        if len(state['random']) == distributed.world_size():
            set_random_state(state['random'][distributed.rank()])
            if self.degrade is not None:
                self.degrade.load_state_dict(state['pools'][distributed.rank()])
        else:
            logger.warning(
                'the state was saved by %d ranks, now there are %d', len(state['random']), distributed.world_size()
            )
        kept = f', with the weights of {", ".join(keep)} as they are' if keep else ''
        logger.info('going on from iteration %d (%s)%s', self.iter, state['file'], kept)

    def _wandb(self) -> dict[str, Any] | None:
        """Arguments of `wandb.init`, where the options name a project; only the main rank logs there."""
        wandb = self.options.logger.wandb
        if wandb is None or wandb.project is None or not distributed.is_main():
            return None
        about = {'name': self.options.name, 'config': self.options.to_dict()}
        return about | {'project': wandb.project, 'id': wandb.resume_id, 'resume': 'allow'}

    def _announce(self, training_set: Any, total: int) -> None:
        parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in self._networks()}
        logger.info(
            '%s: %s on %s, %d rank(s); %s',
            self.options.name,
            self.options.model_type,
            self.model.device,
            distributed.world_size(),
            ', '.join(f'{name} {count:,} parameters' for name, count in parameters.items()),
        )
        batch = self.options.datasets['train']['batch_size_per_gpu'] * distributed.world_size()
        logger.info(
            '%s: %d images; %d iterations of %d samples are %.1f epochs',
            training_set.name, len(training_set), total, batch, total * batch / len(training_set),
        )  # fmt: skip

    def _networks(self) -> Iterator[tuple[str, torch.nn.Module]]:
        yield 'net_g', self.model.net_g
        if self.model.net_d is not None:
            yield 'net_d', self.model.net_d

    def _due(self, every: int | None, start: int = 0) -> bool:
        """Whether something that happens every N iterations, and at the end, happens now (None: never)."""
        if every is None:
            return False
        return self.iter == self.options.train.total_iter or (self.iter >= start and self.iter % every == 0)

    def _must_stop(self, stop: list[int]) -> bool:
        if distributed.world_size() == 1:
            return bool(stop)
        return self.iter % AGREE_EVERY == 0 and any(distributed.gather(bool(stop)))

    def _log(self, terms: dict[str, torch.Tensor], total: int) -> None:
        values = distributed.mean(terms)
        rate, waited = self._clock.lap(self.iter)
        self.scalars.add(values, self.iter, 'losses')
        self.scalars.add(self.model.learning_rates, self.iter, 'lr')
        rates = ' '.join(f'{rate:.2e}' for rate in self.model.learning_rates.values())
        logger.info(
            'iter %d/%d | lr %s | %.2f it/s, eta %s, data %.0f %% | %s',
            self.iter, total, rates, rate, timedelta(seconds=round((total - self.iter) / rate)), 100 * waited,
            '  '.join(f'{name} {value:.4e}' for name, value in values.items()),
        )  # fmt: skip

    def _keep_best(self, values: dict[str, dict[str, float]]) -> None:
        key, dataset = next(iter(self.datasets.items()), (None, None))
        if key is None or not self.metrics[key]:
            return
        name, metric = next(iter(self.metrics[key].items()))
        value = values[dataset.name][name]
        sign = 1 if metric.higher_is_better else -1
        same = (self.best.get('dataset'), self.best.get('metric')) == (dataset.name, name)
        beaten = not same or math.isnan(self.best['value']) or sign * value > sign * self.best['value']
        if beaten and not math.isnan(value):
            self.best = {'iter': self.iter, 'value': value, 'metric': name, 'dataset': dataset.name}
            if distributed.is_main():
                self.experiment.save_networks(self.model.network_states(), 'best')
        if self.best:
            logger.info('best %s on %s: %.4f at %d', name, dataset.name, self.best['value'], self.best['iter'])


class Clock:
    """Time of a run: in all, since the last lap, and the share of it spent waiting for data."""

    def __init__(self, elapsed: float, iteration: int) -> None:
        now = time.perf_counter()
        self._start = now - elapsed
        self._lap = now
        self._lap_iter = iteration
        self._waited = 0.0

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._start

    def waiting(self, loader: Any) -> Iterator[Any]:
        """`loader`'s batches; the time that each is waited for is counted."""
        batches = iter(loader)
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            self._waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def lap(self, iteration: int) -> tuple[float, float]:
        """Iterations a second since the last lap, and the share of that time spent waiting for data."""
        now = time.perf_counter()
        seconds, iterations, waited = now - self._lap, iteration - self._lap_iter, self._waited
        self._lap, self._lap_iter, self._waited = now, iteration, 0.0
        return iterations / seconds, waited / seconds


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them: the loop ends at the next step, saved."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda got, _: received.append(got)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def random_state() -> dict[str, Any]:
    """This rank's generators, as tensors and numbers (a state file holds no pickled objects)."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    state = {'torch': torch.get_rng_state(), 'python': random.getstate()}
    state['numpy'] = ('MT19937', keys.tolist(), position, has_gauss, gauss)
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state['torch'])
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])
