// Charts: the values at one step, shown at the pointer and moved by the arrow keys. One chart at a time shows them.
let tipped = null; // { plot, step, byKey }

const vertices = (path) => (path.getAttribute('d').match(/-?[\d.]+/g) || []).map(Number);
const seriesOf = (plot) => {
  const { width, height } = plot.querySelector('svg').viewBox.baseVal;
  return [...plot.querySelectorAll('.line')].map((path) => {
    const numbers = vertices(path);
    const texts = path.dataset.texts.split(' ');
    return path.dataset.steps.split(' ').filter(Boolean).map((step, number) => ({
      step: Number(step),
      text: texts[number],
      left: 100 * numbers[2 * number] / width,
      top: 100 * numbers[2 * number + 1] / height,
    }));
  });
};
// All points by step; of two series that have one at the same step, either.
const pointsOf = (series) => series.flat().sort((a, b) => a.step - b.step);
const nearest = (points, far) => points.reduce((best, point) => (far(point) < far(best) ? point : best), points[0]);

// Writes only what differs: the observer below hears each change, also those made here.
const set = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
const say = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const reveal = (node, shown) => { if (node.hidden === shown) node.hidden = !shown; };

const draw = () => {
  const { plot, step } = tipped;
  const series = seriesOf(plot);
  const points = pointsOf(series);
  if (!plot.isConnected || !points.length) return hideTip();
  const at = nearest(points, (point) => Math.abs(point.step - step));
  const tip = plot.querySelector('.tip');
  set(tip, 'style', `--at:${at.left}%`);
  tip.classList.toggle('flipped', at.left > 50);
  say(tip.querySelector('.tip-step b'), at.step.toLocaleString('en'));
  const dots = tip.querySelectorAll('.tip-dot');
  const rows = tip.querySelectorAll('.series');
  series.forEach((line, number) => {
    const value = line.findLast((point) => point.step <= at.step);
    reveal(dots[number], Boolean(value));
    reveal(rows[number], Boolean(value));
    if (!value) return;
    set(dots[number], 'style', `left:${value.left}%;top:${value.top}%`);
    say(rows[number].querySelector('b'), value.text);
  });
  reveal(tip, true);
  return tip;
};
// An update of the chart brings its HTML without the tip.
const updates = new MutationObserver(() => { if (tipped) draw(); });
const hideTip = () => {
  updates.disconnect();
  if (tipped) tipped.plot.querySelector('.tip').hidden = true;
  tipped = null;
};
const showTip = (plot, step, byKey) => {
  if (tipped?.plot !== plot) {
    hideTip();
    updates.observe(plot, { subtree: true, childList: true, attributes: true });
  }
  tipped = { plot, step, byKey };
  return draw();
};

const point = (event) => {
  const plot = event.target.closest?.('.plot');
  if (!plot) { // a mouse that moves elsewhere leaves the keyboard's tip
    if (event.type === 'pointerdown' || !tipped?.byKey) hideTip();
    return;
  }
  const area = plot.querySelector('.plot-area').getBoundingClientRect();
  const left = 100 * (event.clientX - area.left) / area.width;
  const at = nearest(pointsOf(seriesOf(plot)), (other) => Math.abs(other.left - left));
  if (at) showTip(plot, at.step, false);
};
for (const kind of ['pointermove', 'pointerdown']) document.addEventListener(kind, point);
document.addEventListener('pointerout', (event) => { if (!event.relatedTarget && event.pointerType === 'mouse') hideTip(); });
document.addEventListener('focusout', (event) => { if (event.target === tipped?.plot) hideTip(); });

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') return hideTip();
  const plot = event.target.closest?.('.plot');
  const way = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
  if (!plot || !way) return;
  event.preventDefault();
  const steps = [...new Set(pointsOf(seriesOf(plot)).map(({ step }) => step))];
  const here = tipped?.plot === plot ? steps.findLastIndex((step) => step <= tipped.step) : way < 0 ? steps.length : -1;
  const next = steps[Math.max(0, Math.min(steps.length - 1, here + way))];
  const tip = next === undefined ? null : showTip(plot, next, true);
  if (!tip) return;
  const shown = [...tip.querySelector('.tip-box').children].filter((row) => !row.hidden);
  say(plot.nextElementSibling, shown.map((row) => row.textContent).join(', '));
});
