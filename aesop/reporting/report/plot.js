// The plot of perception against distortion: a mark for each method, and the curves that were given.
(() => {
  const WIDTH = 860, HEIGHT = 430, LEFT = 76, RIGHT = 250, TOP = 16, BOTTOM = 56;
  const COLOURS = 7;
  const datasets = [...new Set([...data.tables.map((t) => t.dataset), ...data.curves.map((p) => p.dataset)])];
  const metrics = Object.keys(data.metrics);
  const [x, y] = data.axes.map((name, place) => (metrics.includes(name) ? name : metrics[place] ?? metrics[0]));
  const labels = metrics.map((name) => [name, data.metrics[name].label]);
  fill($('plot-dataset'), datasets.map((name) => [name, name]));
  fill($('plot-x'), labels, x);
  fill($('plot-y'), labels, y);

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /** The methods of a data set: [{name, points: [{x, y, alpha}]}], those with both numbers. */
  function series(dataset, x, y) {
    const found = [];
    const both = (values) => [x, y].every((m) => typeof values[m] === 'number');
    const table = data.tables.find((t) => t.dataset === dataset);
    for (const row of table ? table.rows : []) {
      const values = Object.fromEntries(Object.entries(row.cells).map(
        ([m, cell]) => [m, row.printed ? cell.published?.value : cell.value]));
      const name = row.printed ? `${row.method} (published)` : row.method;
      if (both(values)) found.push({name, points: [{x: values[x], y: values[y]}]});
    }
    for (const name of new Set(data.curves.map((p) => p.method))) {
      const points = data.curves.filter((p) => p.method === name && p.dataset === dataset && both(p.values))
        .sort((a, b) => a.alpha - b.alpha).map((p) => ({x: p.values[x], y: p.values[y], alpha: p.alpha}));
      if (points.length) found.push({name: `${name} (curve)`, points});
    }
    return found;
  }

  /** About `count` round numbers from `low` to `high`. */
  function ticks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let n = Math.ceil(low / step); n * step <= high + 1e-9 * step; n++) found.push(n * step);
    return {values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9))};
  }

  function axis(values) {
    const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * 0.08;
    return {low: low - room, high: high + room};
  }

  const MARKS = [
    (r) => svg('circle', {r}),
    (r) => svg('rect', {x: -r, y: -r, width: 2 * r, height: 2 * r}),
    (r) => svg('path', {d: `M0 ${-1.2 * r}L${1.15 * r} ${r}H${-1.15 * r}Z`}),
    (r) => svg('path', {d: `M0 ${-1.35 * r}L${1.35 * r} 0L0 ${1.35 * r}L${-1.35 * r} 0Z`}),
    (r) => svg('path', {d: `M0 ${1.2 * r}L${1.15 * r} ${-r}H${-1.15 * r}Z`}),
  ];
  function mark(number, radius, cx, cy) {
    const shape = MARKS[number % MARKS.length](radius);
    return svg('g', {transform: `translate(${cx} ${cy})`, fill: `var(--c${number % COLOURS})`}, shape);
  }

  function title(metric) {
    const {label, better} = data.metrics[metric];
    return better ? `${label} (${better} is better)` : label;
  }

  function draw() {
    const dataset = $('plot-dataset').value, x = $('plot-x').value, y = $('plot-y').value;
    const found = dataset && x ? series(dataset, x, y) : [];
    if (!found.length) {
      const text = x ? `No method has both ${data.metrics[x].label} and ${data.metrics[y].label} on ${dataset}.` : '';
      $('plot').replaceChildren(make('p', {text: text || 'There is nothing to plot.'}));
      return;
    }
    const all = found.flatMap((s) => s.points), across = axis(all.map((p) => p.x)), up = axis(all.map((p) => p.y));
    const px = (v) => LEFT + (v - across.low) / (across.high - across.low) * (WIDTH - LEFT - RIGHT);
    const py = (v) => HEIGHT - BOTTOM - (v - up.low) / (up.high - up.low) * (HEIGHT - TOP - BOTTOM);
    const root = svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img',
                             'aria-label': `${title(y)} against ${title(x)} on ${dataset}`});
    const right = WIDTH - RIGHT, bottom = HEIGHT - BOTTOM;
    const horizontal = ticks(across.low, across.high, 6), vertical = ticks(up.low, up.high, 6);
    for (const v of horizontal.values) {
      root.append(svg('line', {class: 'grid', x1: px(v), x2: px(v), y1: TOP, y2: bottom}));
      root.append(svg('text', {x: px(v), y: bottom + 18, 'text-anchor': 'middle'}, v.toFixed(horizontal.digits)));
    }
    for (const v of vertical.values) {
      root.append(svg('line', {class: 'grid', x1: LEFT, x2: right, y1: py(v), y2: py(v)}));
      root.append(svg('text', {x: LEFT - 8, y: py(v) + 4, 'text-anchor': 'end'}, v.toFixed(vertical.digits)));
    }
    root.append(svg('path', {class: 'axis', d: `M${LEFT} ${TOP}V${bottom}H${right}`}));
    root.append(svg('text', {x: (LEFT + right) / 2, y: HEIGHT - 10, 'text-anchor': 'middle'}, title(x)));
    root.append(svg('text', {transform: `translate(16 ${(TOP + bottom) / 2}) rotate(-90)`, 'text-anchor': 'middle'},
                    title(y)));
    found.forEach(({name, points}, number) => {
      if (points.length > 1) {
        const d = `M${points.map((p) => `${px(p.x)} ${py(p.y)}`).join('L')}`;
        root.append(svg('path', {d, fill: 'none', stroke: `var(--c${number % COLOURS})`, 'stroke-width': 2}));
      }
      for (const point of points) {
        const text = `${name}: ${data.metrics[x].label} ${show(x, point.x)}, ${data.metrics[y].label} `
          + `${show(y, point.y)}${point.alpha === undefined ? '' : `, alpha ${point.alpha}`}`;
        const shape = mark(number, points.length > 1 ? 4 : 6, px(point.x), py(point.y));
        shape.setAttribute('class', 'point');
        shape.setAttribute('tabindex', 0);
        shape.setAttribute('aria-label', text);
        shape.append(svg('title', {}, text));
        root.append(shape);
      }
      const top = TOP + 10 + 22 * number;
      root.append(mark(number, 6, right + 22, top), svg('text', {x: right + 36, y: top + 4}, name));
    });
    $('plot').replaceChildren(root);
  }

  for (const id of ['plot-dataset', 'plot-x', 'plot-y']) $(id).addEventListener('change', draw);
  draw();
})();
