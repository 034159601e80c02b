// One chart of the last hour. Its figures are also in words, below it and for screen readers.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import { rate } from '../words';

export interface Series {
  name: string;
  /** The count in each step. */
  counts: number[];
}

interface Props {
  title: string;
  stepMs: number;
  /** The beginning of each step, in Unix milliseconds. */
  times: number[];
  series: Series[];
}

const HEIGHT = 190;
const DARK = '(prefers-color-scheme: dark)';

const colour = (name: string) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const hourAndMinute = (_: uPlot, seconds: number[]) => seconds.map((at) => new Date(1_000 * at).toTimeString().slice(0, 5));

function options(width: number, series: Series[]): uPlot.Options {
  const axis = { stroke: colour('--soft'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, y: false },
    scales: { y: { range: (_, least, most) => [Math.min(0, least), Math.max(1, most * 1.1)] } },
    axes: [
      { ...axis, size: 28, values: hourAndMinute },
      { ...axis, size: 56, values: (_, splits) => splits.map(rate) },
    ],
    series: [{}, ...series.map((_, number) => ({ stroke: colour(`--curve-${number}`), width: 1.5, points: { show: false } }))],
  };
}

export function Curve({ title, stepMs, times, series }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const names = series.map(({ name }) => name).join();
  const perSecond = 1_000 / stepMs;
  const data = [times.map((at) => at / 1_000), ...series.map(({ counts }) => counts.map((one) => one * perSecond))] as uPlot.AlignedData;

  useEffect(() => {
    const place = box.current;
    if (!place) return;
    const fresh = new uPlot(options(place.clientWidth, series), data, place);
    plot.current = fresh;
    const seen = new ResizeObserver(() => fresh.setSize({ width: place.clientWidth, height: HEIGHT }));
    const dark = matchMedia(DARK);
    const redraw = () => fresh.redraw(false);
    seen.observe(place);
    dark.addEventListener('change', redraw);
    return () => {
      seen.disconnect();
      dark.removeEventListener('change', redraw);
      fresh.destroy();
      plot.current = null;
    };
  }, [names]);
  useEffect(() => plot.current?.setData(data), [times, names]);

  const told = series.map(({ name, counts }) => ({ name, now: (counts.at(-1) ?? 0) * perSecond, all: counts.reduce((sum, one) => sum + one, 0) }));
  const words = told.map(({ name, now, all }) => `${name}: ${rate(now)} per second, ${all.toLocaleString('en')} in the hour`).join('; ');
  return (
    <figure class="card curve">
      <figcaption>{title}, per second</figcaption>
      <div ref={box} class="plot" role="img" aria-label={`${title}. ${words}`} />
      <ul class="legend">
        {told.map(({ name, now, all }, number) => (
          <li key={name}>
            <span class={`swatch curve-${number}`} aria-hidden="true" />
            {name} <strong>{rate(now)}</strong> <span class="soft">{all.toLocaleString('en')} in the hour</span>
          </li>
        ))}
      </ul>
    </figure>
  );
}
