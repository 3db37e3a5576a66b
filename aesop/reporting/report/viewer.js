// Two methods under a slider, a patch of all of them enlarged, and the image's numbers.
(() => {
  if (!data.images.length) {
    $('viewer').hidden = true;
    $('no-images').hidden = false;
    return;
  }
  const KINDS = {picture: 'images', error: 'errors', aesop: 'L_AESOP maps', spread: 'spread of solutions'};
  const MEANING = {error: '|SR − GT|, which L_pix is the mean of', aesop: '|AE(SR) − AE(GT)|, which L_AESOP is the mean of',
                   spread: 'standard deviation over the solutions of an image'};
  const SIDE = 256;  // of a patch's canvas
  const cache = new Map();
  let entry;  // of data.images
  let centre = [0.5, 0.5];  // of the patch, as a share of the image's sides

  const kinds = ['picture', ...new Set(data.images.flatMap((image) => Object.keys(image.maps)))];
  fill($('kind'), kinds.map((kind) => [kind, KINDS[kind]]));
  fill($('dataset'), [...new Set(data.images.map((image) => image.dataset))].map((name) => [name, name]));

  /** The picture of a method, or its map where there is one. */
  function source(method) {
    return entry.maps[$('kind').value]?.[method] ?? entry.pictures[method];
  }

  function loaded(uri) {
    if (!cache.has(uri)) {
      if (cache.size > 60) cache.clear();  // decoded pictures are large
      const image = new Image();
      image.src = uri;
      cache.set(uri, image.decode().then(() => image));
    }
    return cache.get(uri);
  }

  function listImages() {
    const found = data.images.map((image, place) => [place, image.name])
      .filter(([place]) => data.images[place].dataset === $('dataset').value);
    fill($('image'), found);
    choose(found[0][0]);
  }

  function choose(place) {
    entry = data.images[place];
    $('dataset').value = entry.dataset;
    if (![...$('image').options].some((option) => Number(option.value) === place)) {
      const found = data.images.map((image, n) => [n, image.name])
        .filter(([n]) => data.images[n].dataset === entry.dataset);
      fill($('image'), found);
    }
    $('image').value = place;
    const names = Object.keys(entry.pictures), methods = names.filter((name) => data.methods.includes(name));
    for (const [id, fallback] of [['left', methods[0] ?? names[1]], ['right', methods[1] ?? names.at(methods.length ? 0 : 2)]]) {
      fill($(id), names.map((name) => [name, name]), names.includes($(id).value) ? $(id).value : fallback);
    }
    resize();
    refresh();
    listNumbers();
  }

  function step(by) {
    const count = data.images.length;
    choose((Number($('image').value) + by + count) % count);
  }

  /** The stage takes what the window leaves, at most 4 screen pixels for one of the image. */
  function resize() {
    const [width, height] = entry.size;
    const room = $('compare').clientWidth, tall = Math.max(240, window.innerHeight - 190);
    const factor = Math.min(room / width, tall / height, 4);
    $('stage').style.width = `${width * factor}px`;
    $('stage').style.height = `${height * factor}px`;
    $('split').style.width = `${width * factor}px`;
    $('split').parentElement.style.textAlign = 'center';
    $('split').style.margin = '.35rem auto 0';
    for (const id of ['left-image', 'right-image']) $(id).style.imageRendering = factor > 1 ? 'pixelated' : 'auto';
    $('patches').style.maxHeight = `${Math.max(420, window.innerHeight - 130)}px`;
    placeBox();
  }

  function refresh() {
    for (const side of ['left', 'right']) {
      const method = $(side).value;
      $(`${side}-image`).src = source(method);
      $(`${side}-image`).alt = `${side}: ${method}`;
      $(`${side}-name`).textContent = method;
    }
    const isMap = $('kind').value !== 'picture';
    $('scale').hidden = !isMap;
    $('brightest').textContent = `${entry.brightest.toFixed(3)} of [0, 1] and more: ${MEANING[$('kind').value]}`
      + ' (one scale for all maps of an image)';
    const [width, height] = entry.size;
    $('about-image').textContent = `${entry.dataset}, ${entry.name}: ${width} × ${height} pixels.`;
    setSplit();
    listPatches();
  }

  function setSplit() {
    $('stage').style.setProperty('--split', `${$('split').value}%`);
  }

  function listPatches() {
    const figures = Object.keys(entry.pictures).map((method) => {
      const canvas = make('canvas', {width: SIDE, height: SIDE, 'data-method': method, role: 'img',
                                     'aria-label': `patch of ${method}`});
      const caption = make('figcaption', {}, make('b', {text: method}), make('span', {text: captionOf(method)}));
      return make('figure', {}, canvas, caption);
    });
    $('patches').replaceChildren(...figures);
    drawPatches();
  }

  function captionOf(method) {
    const kind = $('kind').value;
    if (kind !== 'picture') {
      const mean = entry.means[kind]?.[method];
      return mean === undefined ? 'no map' : `mean ${mean.toFixed(4)}`;
    }
    const values = entry.values[method] ?? {};
    return data.axes.filter((m) => m in values).map((m) => `${data.metrics[m].label} ${show(m, values[m])}`).join(', ');
  }

  /** The patch's side in pixels of the ground truth, and its corner, kept inside the image. */
  function patch() {
    const [width, height] = entry.size, side = Math.min(Number($('patch').value), width, height);
    const corner = [0, 1].map((n) => {
      const length = entry.size[n];
      return Math.min(Math.max(Math.round(centre[n] * length - side / 2), 0), length - side);
    });
    return {side, left: corner[0], top: corner[1]};
  }

  function placeBox() {
    const {side, left, top} = patch(), [width, height] = entry.size, style = $('box').style;
    style.left = `${100 * left / width}%`;
    style.top = `${100 * top / height}%`;
    style.width = `${100 * side / width}%`;
    style.height = `${100 * side / height}%`;
    $('patch-size').textContent = `${side} px`;
  }

  async function drawPatches() {
    placeBox();
    const now = entry, {side, left, top} = patch(), [width] = entry.size;
    for (const canvas of $('patches').querySelectorAll('canvas')) {
      const image = await loaded(source(canvas.dataset.method));
      if (now !== entry) return;
      const factor = image.naturalWidth / width, context = canvas.getContext('2d');  // the input is smaller
      context.imageSmoothingEnabled = false;
      context.clearRect(0, 0, SIDE, SIDE);
      context.drawImage(image, left * factor, top * factor, side * factor, side * factor, 0, 0, SIDE, SIDE);
      canvas.dataset.patch = `${left},${top},${side}`;
    }
  }

  function listNumbers() {
    const methods = data.methods.filter((method) => method in entry.pictures || Object.keys(entry.values[method]).length);
    const metrics = Object.keys(data.metrics).filter((m) => methods.some((method) => m in entry.values[method]));
    const head = make('tr', {}, make('th', {scope: 'col', text: entry.name}), ...metrics.map(headCell));
    const rows = methods.map((method) => {
      const values = entry.values[method];
      return make('tr', {'data-method': method}, make('th', {scope: 'row', text: method}),
                  ...metrics.map((m) => make('td', {'data-metric': m, text: m in values ? show(m, values[m]) : '–'})));
    });
    for (const metric of metrics) {
      const {better} = data.metrics[metric];
      const cells = rows.map((row) => row.querySelector(`[data-metric="${CSS.escape(metric)}"]`));
      const values = cells.map((cell) => (cell.textContent === '–' ? null : asNumber(cell.textContent.replace('∞', 'inf'))));
      const numbers = values.filter((value) => value !== null).map(Number);
      const best = better === 'higher' ? Math.max(...numbers) : Math.min(...numbers);
      if (better && numbers.length > 1) {
        cells.forEach((cell, n) => cell.classList.toggle('best', values[n] !== null && Number(values[n]) === best));
      }
    }
    $('numbers').replaceChildren(make('thead', {}, head), make('tbody', {}, ...rows));
  }

  function swap() {
    [$('left').value, $('right').value] = [$('right').value, $('left').value];
    refresh();
  }

  function zoom(by) {
    $('patch').value = Number($('patch').value) + by * Number($('patch').step);
    drawPatches();
  }

  function movePatch(dx, dy) {
    const {side, left, top} = patch();
    centre = [(left + dx + side / 2) / entry.size[0], (top + dy + side / 2) / entry.size[1]];
    drawPatches();
  }

  /** Follows the pointer from where it goes down on `element` until it is released. */
  function drag(element, follow) {
    element.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      event.stopPropagation();
      $('stage').focus({preventScroll: true});
      element.setPointerCapture(event.pointerId);
      follow(event);
    });
    element.addEventListener('pointermove', (event) => {
      if (element.hasPointerCapture(event.pointerId)) follow(event);
    });
  }

  function share(event) {
    const area = $('stage').getBoundingClientRect(), inside = (v) => Math.min(Math.max(v, 0), 1);
    return [inside((event.clientX - area.left) / area.width), inside((event.clientY - area.top) / area.height)];
  }

  drag($('divider'), (event) => { $('split').value = 100 * share(event)[0]; setSplit(); });
  drag($('stage'), (event) => { centre = share(event); drawPatches(); });
  $('split').addEventListener('input', setSplit);
  $('patch').addEventListener('input', drawPatches);
  $('dataset').addEventListener('change', listImages);
  $('image').addEventListener('change', () => choose(Number($('image').value)));
  for (const id of ['left', 'right', 'kind']) $(id).addEventListener('change', refresh);
  $('previous').addEventListener('click', () => step(-1));
  $('next').addEventListener('click', () => step(1));
  $('swap').addEventListener('click', swap);
  $('stage').addEventListener('keydown', (event) => {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    const by = Math.max(1, Math.round(patch().side / 8));
    if (event.key in moves) movePatch(...moves[event.key].map((n) => n * by));
    else if (event.key === '+' || event.key === '=') zoom(-1);
    else if (event.key === '-') zoom(1);
    else return;
    event.preventDefault();
  });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === 'SELECT') return;
    if (event.key === 'n') step(1);
    else if (event.key === 'p') step(-1);
    else if (event.key === 's') swap();
    else if (event.key === 'm') {
      $('kind').value = kinds[(kinds.indexOf($('kind').value) + 1) % kinds.length];
      refresh();
    }
  });
  window.addEventListener('resize', resize);
  listImages();
})();
