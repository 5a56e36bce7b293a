// Draws each figure from the table inside it, so that picture and data say the same.

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--muted"), grid: of("--line"), series: [of("--plot-1"), of("--plot-2"), of("--plot-3")], card: of("--card") };
};

const units = {
  usd: (v) => `$${v < 1 && v > 0 ? v.toFixed(2) : Math.round(v * 100) / 100}`,
  count: (v) => String(v),
  percent: (v) => `${v} %`,
  ms: (v) => v < 1000 ? `${Math.round(v)} ms` : v < 60_000 ? `${Math.round(v / 100) / 10} s` : `${Math.round(v / 6000) / 10} min`,
};

function read(figure) {
  const rows = [...figure.querySelectorAll("details tbody tr")];
  const days = rows.map((row) => row.querySelector("th").textContent);
  const names = [...figure.querySelectorAll("details thead th")].slice(1).map((cell) => cell.textContent);
  const values = names.map((_, i) => rows.map((row) => Number(row.querySelectorAll("td")[i].dataset.v)));
  return { days, names, values };
}

function draw(figure) {
  const canvas = figure.querySelector(".canvas");
  const { days, names, values } = read(figure);
  const { ink, grid, series: tones, card } = colours();
  const kind = figure.dataset.plot, unit = units[figure.dataset.unit];
  const x = days.map((_, i) => i);
  // Stacked: each series stands on the sum of those before it; drawn from the tallest down.
  const sums = kind === "stack" ? values.map((_, i) => x.map((_, d) => values.slice(0, i + 1).reduce((sum, v) => sum + v[d], 0))) : values;
  const order = names.map((_, i) => i);
  if (kind === "stack") order.reverse();
  const bars = uPlot.paths.bars({ size: [0.7, 28], radius: 0.15 });
  const top = Math.max(0, ...sums.flat());
  const whole = figure.dataset.unit === "count";
  const font = "12px system-ui, sans-serif";
  const axis = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, gap: 4 };
  canvas.uplot?.destroy();
  canvas.replaceChildren();
  canvas.uplot = new uPlot({
    width: canvas.clientWidth || 320, height: names.length > 1 ? 200 : 228, padding: [12, 8, 0, 0],
    cursor: { y: false, points: { show: kind === "lines" } },
    legend: { show: names.length > 1, live: false, markers: { width: 0, fill: (_, i) => tones[order[i - 1]] } },
    scales: { x: { time: false, range: [-0.6, days.length - 0.4] }, y: { range: [0, top > 0 ? top * 1.1 : 1] } },
    axes: [
      { ...axis, grid: { show: false }, values: (_, ticks) => ticks.map((i) => Number.isInteger(i) && days[i] ? days[i].slice(5) : ""), space: 56, size: 26 },
      { ...axis, size: 62, values: (_, ticks) => ticks.map((v) => whole && !Number.isInteger(v) ? "" : unit(v)) },
    ],
    series: [{}, ...order.map((i) => ({
      label: names[i], stroke: tones[i], width: kind === "lines" ? 2 : 0,
      ...(kind === "lines" ? { points: { show: days.length < 40, size: 5, fill: card } } : { fill: tones[i], paths: bars, points: { show: false } }),
    }))],
  }, [x, ...order.map((i) => sums[i])], canvas);
}

const all = () => document.querySelectorAll("figure[data-plot]");
const drawAll = () => all().forEach(draw);
let timer;
new ResizeObserver(() => { clearTimeout(timer); timer = setTimeout(drawAll, 80); }).observe(document.getElementById("main"));
document.addEventListener("aw:theme", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
document.addEventListener("htmx:after:swap", drawAll);
drawAll();
