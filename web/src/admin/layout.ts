// Places hubs in the picture: near their neighbours, and near the other hubs of their region.
//
// The same mesh gives the same picture. When a hub comes or goes, the other hubs stay about where they were. The layout is
// computed in one step, in about 50 ms for a hundred hubs, and only when hubs or links have changed.
import { forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY, type SimulationNodeDatum } from 'd3-force';

export interface Point {
  x: number;
  y: number;
}

export interface Spot {
  id: string;
  region: string;
}

export interface Edge {
  from: string;
  to: string;
}

interface Body extends SimulationNodeDatum, Spot {}

const FRESH_TICKS = 300;
const CHANGED_TICKS = 120;
/** How far hubs may move in a picture that has changed: enough to make room, and too little to turn the picture. */
const CHANGED_ALPHA = 0.4;
const SPACING = 60;

/** The centre of each region. The centres are on a circle, in the order of the regions' names. */
function middles(spots: Spot[]): Map<string, Point> {
  const regions = [...new Set(spots.map(({ region }) => region))].sort();
  if (regions.length === 1) return new Map([[regions[0]!, { x: 0, y: 0 }]]);
  const radius = SPACING * Math.sqrt(spots.length);
  return new Map(
    regions.map((region, number) => {
      const angle = (2 * Math.PI * number) / regions.length - Math.PI / 2;
      return [region, { x: 1.5 * radius * Math.cos(angle), y: radius * Math.sin(angle) }];
    }),
  );
}

export function layout(spots: Spot[], edges: Edge[], before: Map<string, Point>): Map<string, Point> {
  const centre = middles(spots);
  const bodies: Body[] = spots.map(({ id, region }) => ({ id, region, ...before.get(id) }));
  const known = new Set(spots.map(({ id }) => id));
  const links = edges
    .filter(({ from, to }) => known.has(from) && known.has(to))
    .map(({ from, to }) => ({ source: from, target: to }));
  const kept = bodies.filter(({ x }) => x !== undefined).length;
  const isFresh = kept * 2 < bodies.length;
  const simulation = forceSimulation(bodies)
    .force('link', forceLink<Body, { source: string; target: string }>(links).id(({ id }) => id).distance(SPACING * 1.5).strength(0.08))
    .force('apart', forceManyBody().strength(-4 * SPACING).distanceMax(8 * SPACING))
    .force('room', forceCollide(SPACING / 2))
    .force('x', forceX<Body>(({ region }) => centre.get(region)!.x).strength(0.12))
    .force('y', forceY<Body>(({ region }) => centre.get(region)!.y).strength(0.16))
    .stop();
  if (!isFresh) simulation.alpha(CHANGED_ALPHA);
  simulation.tick(isFresh ? FRESH_TICKS : CHANGED_TICKS);
  return new Map(bodies.map(({ id, x, y }) => [id, { x: x ?? 0, y: y ?? 0 }]));
}

/** Fits the picture into a box of this size with a margin. A small picture is enlarged, but not to any size. */
export function fit(points: Map<string, Point>, width: number, height: number, margin: Point): Map<string, Point> {
  const all = [...points.values()];
  const span = (values: number[]) => {
    const least = Math.min(...values);
    const most = Math.max(...values);
    return { middle: (least + most) / 2, size: most - least };
  };
  if (!all.length) return new Map();
  const across = span(all.map(({ x }) => x));
  const down = span(all.map(({ y }) => y));
  // Width and height have scales of their own, within bounds: the picture may become flatter, but not a line.
  const byWidth = across.size ? (width - 2 * margin.x) / across.size : Infinity;
  const byHeight = down.size ? (height - 2 * margin.y) / down.size : Infinity;
  const least = Math.min(byWidth, byHeight, 2.5);
  const scaleX = Math.min(byWidth, 1.8 * least);
  const scaleY = Math.min(byHeight, 1.8 * least);
  const place = ({ x, y }: Point) => ({
    x: width / 2 + (across.size ? (x - across.middle) * scaleX : 0),
    y: height / 2 + (down.size ? (y - down.middle) * scaleY : 0),
  });
  return new Map([...points].map(([id, point]) => [id, place(point)]));
}
