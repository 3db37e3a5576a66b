'use strict';
// What the page's parts share, the tables and the notes. Texts from files are only ever set as text, never as markup.
const data = JSON.parse(document.getElementById('data').textContent);
const $ = (id) => document.getElementById(id);

/** An element with attributes (`text` and `class` among them) and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') element.textContent = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Fills a select; `pairs` are [value, label]. */
function fill(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, label]) => make('option', {value, text: label})));
  if (pairs.some(([value]) => String(value) === String(chosen))) select.value = chosen;
}

const asNumber = (value) => (value === 'inf' ? Infinity : value);

function show(metric, value) {
  if (value === 'inf') return '∞';
  return value.toFixed(data.metrics[metric].digits);
}

function signed(metric, value) {
  return (value < 0 ? '−' : '+') + Math.abs(value).toFixed(data.metrics[metric].digits);
}

function headCell(metric) {
  const {label, better} = data.metrics[metric];
  const arrow = {higher: ' ↑', lower: ' ↓'}[better] ?? '';
  const hint = better ? `${better} is better` : '';
  return make('th', {scope: 'col', text: label, title: hint}, make('small', {text: arrow, 'aria-label': hint}));
}

function cellOf(metric, cell) {
  if ('missing' in cell) {
    const why = {class: 'missing', text: 'missing', title: cell.missing, tabindex: 0};
    return make('td', {}, make('span', why));
  }
  const {value, published, difference} = cell;
  if (value === undefined) return make('td', {text: published ? published.value.toFixed(published.digits) : '–',
                                              title: published ? published.source : ''});
  const td = make('td', {}, make('span', {text: show(metric, value), class: cell.best ? 'best' : 'value'}));
  if (published) {
    const {better} = data.metrics[metric];
    const sign = better === 'lower' ? -1 : 1;
    const way = !better || difference === 0 ? '' : sign * difference > 0 ? 'good' : 'bad';
    const text = signed(metric, difference) + (published.disputed ? ' (disputed)' : '');
    td.append(make('span', {class: `difference ${way}`, text, tabindex: 0, title: `published: ${published.source}`}));
  }
  return td;
}

function tableOf({dataset, metrics, rows}) {
  const head = make('tr', {}, make('th', {scope: 'col', text: 'Method'}), make('th', {scope: 'col', text: 'Images'}));
  head.append(...metrics.map(headCell));
  const body = make('tbody');
  for (const row of rows) {
    const name = make('th', {scope: 'row', text: row.printed ? `${row.method} (published)` : row.method});
    if (row.published && !row.printed) {
      name.append(make('span', {class: 'difference', text: `against ${row.published}`}));
    }
    const line = make('tr', {class: row.printed ? 'printed' : '', 'data-method': row.method}, name,
                      make('td', {text: row.images === null ? '' : row.images}));
    for (const metric of metrics) {
      const td = cellOf(metric, row.cells[metric]);
      td.dataset.metric = metric;
      line.append(td);
    }
    body.append(line);
  }
  const table = make('table', {'data-dataset': dataset}, make('thead', {}, head), body);
  return make('div', {}, make('h3', {text: dataset}), make('div', {class: 'scroll'}, table));
}

$('table-list').append(...data.tables.map(tableOf));
$('note-list').append(...data.notes.map((text) => make('li', {text})));
for (const [method, protocol] of Object.entries(data.protocols)) {
  $('protocols').append(make('h3', {text: method}), make('pre', {text: JSON.stringify(protocol, null, 2)}));
}
