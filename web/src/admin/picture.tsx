// The picture of the mesh. The table below it has the same in words.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { count, millis, percent, rate, short } from '../words';
import { fit, layout, type Point } from './layout';
import { isLost, totals, type HubNow, type Mesh } from './mesh';
import { mood, moodWords } from './mood';

const MARGIN = { x: 48, y: 40 };
const LARGEST_DOT = 16;
/** The width for each hub of a row from which there is space for names. With less, the pointer shows a name. */
const NAME_WIDTH = 90;
/** The most links of which round trips are drawn. With more, the numbers would overlap. */
const RTTS_SHOWN = 12;

function useWidth() {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const seen = new ResizeObserver(([entry]) => entry && setWidth(Math.floor(entry.contentRect.width)));
    if (box.current) seen.observe(box.current);
    return () => seen.disconnect();
  }, []);
  return { box, width };
}

/** The last layout. It stays while another view is shown. */
let last = { shape: '', places: new Map<string, Point>() };

/** Places that change only with the shape of the mesh. */
function placesIn(mesh: Mesh): Map<string, Point> {
  if (last.shape !== mesh.shape) {
    const edges = mesh.links.map(({ a, b }) => ({ from: a, to: b }));
    last = { shape: mesh.shape, places: layout(mesh.hubs, edges, last.places) };
  }
  return last.places;
}

interface Props {
  mesh: Mesh;
  chosen: string | null;
  choose: (hub: string) => void;
}

export function Picture({ mesh, chosen, choose }: Props) {
  const { box, width } = useWidth();
  const places = placesIn(mesh);
  const height = Math.round(Math.min(560, Math.max(280, width * 0.62)));
  const points = useMemo(() => fit(places, width, height, MARGIN), [places, width, height]);
  const { hubs, lost, peers } = totals(mesh);
  const most = Math.max(1, ...mesh.hubs.map((hub) => hub.peers));
  const largest = Math.min(LARGEST_DOT, width / (7 * Math.sqrt(mesh.hubs.length)));
  const isNamed = width / Math.sqrt(mesh.hubs.length * 1.6) > NAME_WIDTH;
  const said = `${count(hubs, 'hub')}, ${count(mesh.links.length, 'link')}, ${count(peers, 'peer')}${lost ? `, ${lost} lost` : ''}`;
  return (
    <div ref={box} class="picture">
      {width > 0 && (
        <svg
          role="img"
          aria-label={`The mesh: ${said}. The table of hubs says the same in words.`}
          width={width}
          height={height}
          viewBox={`0 0 ${width} ${height}`}
        >
          <Regions mesh={mesh} points={points} />
          {mesh.links.map(({ a, b, rttMs }) => (
            <LinkLine key={`${a} ${b}`} from={points.get(a)} to={points.get(b)} rttMs={rttMs} says={mesh.links.length <= RTTS_SHOWN} />
          ))}
          {mesh.hubs.map((hub) => (
            <Dot key={hub.id} hub={hub} at={points.get(hub.id)} size={largest * (0.45 + 0.55 * Math.sqrt(hub.peers / most))} isNamed={isNamed} isChosen={hub.id === chosen} choose={choose} />
          ))}
        </svg>
      )}
    </div>
  );
}

function LinkLine({ from, to, rttMs, says }: { from: Point | undefined; to: Point | undefined; rttMs: number | null; says: boolean }) {
  if (!from || !to) return null;
  const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
  return (
    <g class={`link ${rttMs !== null && rttMs > 150 ? 'far' : ''}`}>
      <line x1={from.x} y1={from.y} x2={to.x} y2={to.y} />
      {says && rttMs !== null && (
        <text x={middle.x} y={middle.y - 5}>
          {millis(rttMs)}
        </text>
      )}
    </g>
  );
}

/** The name of each region above its hubs. */
function Regions({ mesh, points }: { mesh: Mesh; points: Map<string, Point> }) {
  const by = new Map<string, Point[]>();
  for (const { id, region } of mesh.hubs) {
    const point = points.get(id);
    if (region && point) by.set(region, [...(by.get(region) ?? []), point]);
  }
  return (
    <>
      {[...by].map(([region, all]) => (
        <text key={region} class="region" x={all.reduce((sum, { x }) => sum + x, 0) / all.length} y={Math.min(...all.map(({ y }) => y)) - 22}>
          {region}
        </text>
      ))}
    </>
  );
}

interface DotProps {
  hub: HubNow;
  at: Point | undefined;
  /** The radius, in pixels. */
  size: number;
  isNamed: boolean;
  isChosen: boolean;
  choose: (hub: string) => void;
}

function Dot({ hub, at, size, isNamed, isChosen, choose }: DotProps) {
  if (!at) return null;
  const ring = size + Math.max(2, size / 4);
  const { condition } = hub;
  const load = condition ? Math.min(1, condition.connections / Math.max(1, condition.maxConnections)) : 0;
  const around = 2 * Math.PI * ring;
  const classes = ['hub', mood(hub), isLost(hub) ? 'lost' : '', hub.draining ? 'draining' : '', isChosen ? 'chosen' : ''];
  return (
    // The keyboard does not reach the dots: the table has the same hubs, with more about each.
    <g class={classes.join(' ')} data-hub={hub.id} transform={`translate(${at.x.toFixed(1)} ${at.y.toFixed(1)})`} onClick={() => choose(hub.id)}>
      <title>{dotWords(hub, load)}</title>
      {isChosen && <circle class="halo" r={ring + 4} />}
      <circle class="body" r={size} />
      {load > 0 && <circle class="load" r={ring} stroke-dasharray={`${load * around} ${around}`} transform="rotate(-90)" />}
      {hub.self && <circle class="self" r={size / 3} />}
      {isNamed && (
        <text class="name" y={ring + 14}>
          {short(hub.id)}
        </text>
      )}
    </g>
  );
}

function dotWords(hub: HubNow, load: number): string {
  const parts = [`hub ${short(hub.id)}`, hub.region, moodWords(hub), count(hub.peers, 'peer'), `${percent(load)} of its places taken`];
  if (hub.rttMs !== null) parts.push(`${millis(hub.rttMs)} from here`);
  if (hub.messagesPerS !== null) parts.push(`${rate(hub.messagesPerS)} messages/s`);
  return parts.filter(Boolean).join(', ');
}
