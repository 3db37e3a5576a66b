"""The training loop."""

import logging
import math
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aesop.data import ImageDataset, train_loader, waiting_advice
from aesop.data.datasets.realesrgan import RealESRGANDataset
from aesop.data.degradation.pool import redistribute
from aesop.data.degradation.real import RealDegradation, build_degradation
from aesop.errors import DONE, STOPPED, RunEnded, UserError, error_context
from aesop.evaluation.autoencoder import autoencoder_quality
from aesop.evaluation.evaluate import Metrics, build_metrics, evaluate
from aesop.models import SRModel, build_model
from aesop.options import Options
from aesop.run import preflight
from aesop.run.experiment import Experiment
from aesop.run.logs import also_to, announce, open_scalars
from aesop.training.basicsr_state import take_over
from aesop.training.changes import check_changes
from aesop.training.checkpointer import PATIENCE, AsyncCheckpointer, to_host
from aesop.training.clock import Clock
from aesop.training.experts import IdleExperts
from aesop.training.health import Health
from aesop.training.rng import random_state, seed_everything, set_random_state
from aesop.training.signals import stop_signals
from aesop.utils import distributed
from aesop.utils.devices import peak_memory

logger = logging.getLogger(__name__)

SLOW_DATA = 0.1  # share of time spent waiting for data above which a warning is logged


def train(
    options: Options, device: torch.device, auto_resume: bool = False, force: bool = False, debug: bool = False
) -> int:
    """Runs training; returns the exit code: 0 done, 3 stopped by a signal after saving.

    Args:
        auto_resume: resume from the newest valid state of this run, if there is one.
        force: resume even if the options have a different network or scale than the state.
        debug: a short trial run: the caller sets few iterations, validation uses two images per set.

    Raises:
        UserError: something is missing or inconsistent; nothing has been written.
    """
    experiment = Experiment(options)
    goes_on = auto_resume or distributed.restarted()
    datasets = distributed.on_all(lambda: preflight.prepare(options, ('train', 'val'), experiment.root, goes_on))
    training_set = datasets.pop('train')
    seed_everything(options.manual_seed)  # the same on every rank, for identical initial weights
    state, keep = distributed.on_main(lambda: experiment.find_state(auto_resume))
    model = build_model(options, device, state and state.get('model'))
    metrics = build_metrics(options, datasets, device, missing={})  # without unavailable ones

    degrade = build_degradation(options, device) if isinstance(training_set, RealESRGANDataset) else None
    run = TrainingRun(options, model, experiment, datasets, metrics, degrade, limit=2 if debug else None)
    seed_everything(options.manual_seed + distributed.rank())
    if state is not None:
        run.load_state(state, keep, force)
    distributed.on_main(lambda: experiment.start(run.iter))
    if distributed.is_main():
        also_to(experiment.root / f'train_{time.strftime("%Y%m%d_%H%M%S")}.log')
    return run.loop(training_set)


class TrainingRun:
    """A model, its position in the run, and the actions due at each iteration."""

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
        self.samples = 0  # seen so far by all ranks: the position in the stream of training samples
        self.elapsed = 0.0  # seconds, over all interruptions
        self.best: dict[str, Any] = {}
        self.checkpointer = AsyncCheckpointer()
        self.health = Health(experiment.skipped)
        self._votes = distributed.Votes()
        self._saved_at = time.monotonic()
        self._went_back = False
        self._experts = IdleExperts()
        self._slow_laps = 0  # consecutive log lines with slow data loading

    def loop(self, training_set: Any) -> int:
        """Trains until the end or a signal; returns the exit code.

        Raises:
            RunEnded: losses or gradients are not finite, and restoring the last state did not help.
        """
        first, total = self.iter, self.options.training.total_iter
        if isinstance(training_set, ImageDataset):
            training_set.open()  # may decode all images; can be interrupted
        announce(self.options, self.model, training_set, self._batch_size() * distributed.world_size())
        self._clock = Clock(self.elapsed, self.iter)
        self.scalars = open_scalars(self.options, self.iter + 1)
        bar = tqdm(
            total=total,
            initial=self.iter,
            unit='it',
            dynamic_ncols=True,
            disable=None if distributed.is_main() else True,
        )
        with bar, stop_signals() as stop, logging_redirect_tqdm([logging.getLogger('aesop')]):
            while not self._train(self._loader(training_set), stop, bar):
                self._go_back()
                bar.reset(total)
                bar.update(self.iter)
            self._votes.close()
            if self.iter > first:
                self.save(stop, last=True)
        self.scalars.close()
        if self._out_of_patience():
            best = self.best['iter']
            logger.info('stopped early at iteration %d: no improvement since the validation at %d', self.iter, best)
            return DONE
        if self.iter < total:
            logger.info('stopped by a signal at iteration %d, saved; resume with --auto_resume', self.iter)
            return STOPPED
        logger.info('done: %d iterations in %s', total, timedelta(seconds=round(self._clock.elapsed)))
        return DONE

    def _train(self, loader: Any, stop: list[int], bar: tqdm) -> bool:
        """Trains until the end or a signal; returns False if too many steps in a row were skipped."""
        total, batch_size = self.options.training.total_iter, self._batch_size() * distributed.world_size()
        for batch in self._clock.waiting(loader):
            self.iter += 1
            self.samples += batch_size
            images = {key: batch[key] for key in ('index', 'name') if key in batch}
            if self.degrade is not None:
                batch = self.degrade(batch)
            terms = self.model.step(batch, self.iter)
            bar.update()
            self.health.look(self.model, self.iter, images, terms)
            if self.health.skips == self.options.training.max_skips:
                return False
            stopping, save_now = self._votes.any_rank(bool(stop), self._wants_to_save())
            if self._due(self.options.logger.print_freq):
                self._log(terms, total)
            if self.datasets and self._due(self.options.val.val_freq, self.options.val.val_start_iter):
                self._validate_or_save(stop)
            if stopping or self._out_of_patience():
                break
            checkpoint_due = self.iter < total and self._due(self.options.logger.save_checkpoint_freq)
            if (checkpoint_due or save_now) and not self.health.skips:  # keep the last good state from before the skips
                self.save(stop, weights=checkpoint_due)
        return True

    def _loader(self, training_set: Any) -> Any:
        block = self.options.datasets['train']
        return train_loader(
            training_set,
            batch_size=self._batch_size(),
            num_workers=block.num_worker_per_gpu,
            start_iter=self.iter,
            start_sample=self.samples,
            total_iter=self.options.training.total_iter,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            pin_memory=block.pin_memory and self.model.device.type == 'cuda',
            device=self.model.device,
        )

    def _batch_size(self) -> int:
        """Samples per rank and iteration."""
        return self.options.datasets['train'].batch_size_per_gpu * self.options.training.accumulate

    def _go_back(self) -> None:
        """Restores the last good state, once; continues with new samples, since the same ones would fail again."""
        why = (
            f'{self.health.skips} consecutive iterations up to {self.iter} had losses or gradients that are not finite '
            f'(listed in {self.experiment.skipped.path})'
        )
        self.checkpointer.wait()
        state = None if self._went_back else distributed.on_main(self.experiment.newest_state)
        if state is None:
            again = ', again after restoring a state' if self._went_back else ', and there is no state to restore'
            raise RunEnded(
                f'{why}{again}. Lower the learning rates, set train.grad_clip_norm, or check the images listed there; '
                '--auto_resume continues from the last save'
            )
        if distributed.is_main():
            logger.warning('%s: restoring the last state', why)
        self._went_back = True
        samples, elapsed = self.samples, self._clock.elapsed
        self.load_state(state)
        self.samples = samples
        distributed.on_main(lambda: self.experiment.forget_after(self.iter))
        self.health.start_again()
        self._clock = Clock(elapsed, self.iter)
        self.scalars.close()
        self.scalars = open_scalars(self.options, self.iter + 1)

    def validate(self) -> None:
        """Evaluates all validation sets, writes the metrics, and keeps the best weights by the first metric of the
        first set."""
        folder = self.experiment.root / 'visualization'
        values = {}
        generators = (self.model.net_g, self.model.net_g_ema)
        distributed.broadcast_buffers(net for net in generators if net is not None)
        for key, dataset in self.datasets.items():
            label = f'{self.options.val.image_suffix(self.options.name)}_{self.iter}'

            def image_path(name: str, dataset: Any = dataset, label: str = label) -> Path:
                return folder / dataset.name / f'{name}{label}.png'

            save_image = image_path if self.options.val.save_img else None
            values[dataset.name] = evaluate(self.model, dataset, self.metrics[key], save_image, self.limit).mean
            self.scalars.add(values[dataset.name], self.iter, f'metrics/{dataset.name}')
            numbers = '  '.join(f'{name}: {value:.4f}' for name, value in values[dataset.name].items())
            logger.info('validation at %d, %s: %s', self.iter, dataset.name, numbers)
            net = self.model.net_g_ema or self.model.net_g
            if 'lr' in getattr(net, 'optional_outputs', ()) and distributed.is_main():
                quality = autoencoder_quality(net, dataset, self.model.device, self.model.precision.call)
                logger.info('%s', quality or 'no pairs: the auto-encoder is not assessed')
        if distributed.is_main():
            self.experiment.metrics.add({'iter': self.iter, 'datasets': values})
        self._keep_best(values)

    def _out_of_patience(self) -> bool:
        """Whether the last `val.patience` validations did not improve on the best one."""
        if self.options.val.patience is None or 'iter' not in self.best:
            return False
        return self.iter - self.best['iter'] >= self.options.val.patience * self.options.val.val_freq

    def _validate_or_save(self, stop: list[int]) -> None:
        """Validates; on a UserError, which is raised on all ranks, the state is saved first."""
        try:
            self.validate()
        except UserError:
            self.save(stop, last=True)
            raise

    def save(self, stop: list[int], weights: bool = True, last: bool = False) -> None:
        """Gathers the state from all ranks and passes it to the checkpointer.

        Args:
            stop: signals received; a second one stops waiting for disk space.
            weights: also write the weights to publish.
            last: wait until everything is written.
        """
        random_states = distributed.gather(random_state(), everywhere=False)
        pools = distributed.gather(self.degrade.state_dict() if self.degrade else {}, everywhere=False)
        self._saved_at = time.monotonic()
        if distributed.is_main():
            networks = self.model.network_states() if weights else {}
            state = {
                'iter': self.iter,
                'samples': self.samples,
                'model': to_host(self.model.state_dict()),
                'random': random_states,
                'pools': pools,
                'best': dict(self.best),
                'elapsed': self._clock.elapsed,
                'options': self.options.to_dict(),
            }

            def write() -> None:
                self.experiment.save_networks(networks, state['iter'])
                self.experiment.save_state(state)

            self.experiment.metrics.flush()
            self.experiment.losses.flush()
            self.experiment.skipped.flush()
            if last:
                self.checkpointer.save_and_wait(write, stopped=lambda: len(stop) > 1)
            else:
                self.checkpointer.save(write)
        if last:
            distributed.barrier(timeout=PATIENCE)

    def _wants_to_save(self) -> bool:
        """Whether this rank requests a save by elapsed time; only the main rank's clock counts."""
        minutes = self.options.logger.save_checkpoint_minutes
        if not distributed.is_main():
            return False
        due = minutes is not None and time.monotonic() - self._saved_at > 60 * minutes
        if due:
            self._saved_at = time.monotonic()
        return self.checkpointer.should_retry() or due

    def load_state(self, state: dict[str, Any], keep: Sequence[str] = (), force: bool = False) -> None:
        """Resumes from a state written by `save`.

        Args:
            keep: networks that are not restored from it, e.g. 'network_d'.
            force: even if the options have a different network or scale than the state.

        Raises:
            UserError: the state belongs to a different run.
        """
        total, rank, count = self.options.training.total_iter, distributed.rank(), distributed.world_size()
        if state['iter'] > total:
            beyond = f'it is from iteration {state["iter"]}, beyond train.total_iter {total}: increase total_iter'
            raise UserError(f'{state["file"]}: {beyond}')
        if 'optimizers' in state:
            take_over(state, self.model, keep)
            self.iter, self.samples = state['iter'], state['iter'] * count * self._batch_size()
            seed_everything(self.options.manual_seed, self.iter, rank)
            return
        with error_context(state['file']):
            if 'options' in state:
                check_changes(state['options'], self.options.to_dict(), keep, force)
            self.model.load_state_dict(state['model'], keep)
        self.iter, self.elapsed, self.best = state['iter'], state['elapsed'], state['best']
        ranks = len(state['random'])
        self.samples = state.get('samples', self.iter * ranks * self._batch_size())
        if ranks == count:
            set_random_state(state['random'][rank])
            pool = state['pools'][rank]
        else:
            seed_everything(self.options.manual_seed, self.iter, rank)
            pool = redistribute(state['pools'], rank, count)
            logger.info(
                'the state was saved by %d ranks, now there are %d: training continues with sample %d, random '
                'generators are reseeded from seed, iteration and rank, and pools of pairs are redistributed',
                ranks, count, self.samples,
            )  # fmt: skip
        if self.degrade is not None:
            self.degrade.load_state_dict(pool)
        kept = f', keeping the weights of {", ".join(keep)}' if keep else ''
        logger.info('resuming from iteration %d (%s)%s', self.iter, state['file'], kept)

    def _due(self, every: int | None, start: int = 0) -> bool:
        """Whether an action due every `every` iterations (None: never), and at the end, is due now."""
        if every is None:
            return False
        return self.iter == self.options.training.total_iter or (self.iter >= start and self.iter % every == 0)

    def _log(self, terms: dict[str, torch.Tensor], total: int) -> None:
        values = distributed.reduce_mean(terms)
        rate, waited = self._clock.lap(self.iter)
        if distributed.is_main():
            rates = {'lr': self.model.learning_rates, 'rate': rate, 'waited': waited}
            self.experiment.losses.add({'iter': self.iter, 'losses': values, **rates})
        self.scalars.add(values, self.iter, 'losses')
        self.scalars.add(self.model.learning_rates, self.iter, 'lr')
        rates = ' '.join(f'{rate:.2e}' for rate in self.model.learning_rates.values())
        logger.info(
            'iter %d/%d | lr %s | %.2f it/s, eta %s, data %.0f %%, peak %.1f GB | %s',
            self.iter, total, rates, rate, timedelta(seconds=round((total - self.iter) / rate)), 100 * waited,
            peak_memory(self.model.device) / 1e9,
            '  '.join(f'{name} {value:.4e}' for name, value in values.items()),
        )  # fmt: skip
        if distributed.is_main():
            self._experts.look(values, self.iter)
        self._slow_laps = self._slow_laps + 1 if waited > SLOW_DATA else 0
        if self._slow_laps == 2 and distributed.is_main():  # the first one includes starting the workers
            advice = waiting_advice(self.options.datasets['train'])
            logger.warning('%.0f %% of the time is spent waiting for data: in datasets.train, %s', 100 * waited, advice)

    def _keep_best(self, values: dict[str, dict[str, float]]) -> None:
        key, dataset = next(iter(self.datasets.items()), ('', None))
        if dataset is None or not self.metrics[key]:
            return
        name, metric = next(iter(self.metrics[key].items()))
        value = values[dataset.name][name]
        sign = 1 if metric.higher_is_better else -1
        same = (self.best.get('dataset'), self.best.get('metric')) == (dataset.name, name)
        beaten = not same or math.isnan(self.best['value']) or sign * value > sign * self.best['value']
        if beaten and not math.isnan(value):
            self.best = {'iter': self.iter, 'value': value, 'metric': name, 'dataset': dataset.name}
            if distributed.is_main():
                networks = self.model.network_states()
                self.checkpointer.enqueue(lambda: self.experiment.save_networks(networks, 'best'))
        if self.best:
            logger.info('best %s on %s: %.4f at %d', name, dataset.name, self.best['value'], self.best['iter'])
