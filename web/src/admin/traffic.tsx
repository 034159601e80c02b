// The last hour of the whole mesh, or of one hub.
import { useState } from 'preact/hooks';

import { plain, short } from '../words';
import { query, type History } from './api';
import { Curve, type Series } from './curve';
import type { Mesh } from './mesh';
import { isLost } from './mesh';
import { usePolled } from './polled';

/** The most reasons that one chart shows. The counts of all others are added up. */
const REASONS_SHOWN = 5;

const sum = (counts: number[]) => counts.reduce((all, one) => all + one, 0);

/** One series for each of the most frequent reasons, and one for all others. */
export function reasons(refusals: Record<string, number[]>, steps: number): Series[] {
  const all = Object.entries(refusals)
    .map(([name, counts]) => ({ name: plain(name), counts }))
    .sort((one, other) => sum(other.counts) - sum(one.counts));
  const rest = all.slice(REASONS_SHOWN);
  const shown = all.slice(0, REASONS_SHOWN);
  if (rest.length) {
    shown.push({ name: 'others', counts: Array.from({ length: steps }, (_, at) => sum(rest.map(({ counts }) => counts[at] ?? 0))) });
  }
  return shown.length ? shown : [{ name: 'refusals', counts: new Array<number>(steps).fill(0) }];
}

export function TrafficView({ mesh }: { mesh: Mesh | null }) {
  const [hub, setHub] = useState('');
  const { data, trouble } = usePolled<History>(query('history', { hub }), { everyMs: 10_000 });
  const there = mesh?.hubs.filter((one) => !isLost(one)) ?? [];
  return (
    <section aria-labelledby="traffic-title">
      <div class="headline">
        <h2 id="traffic-title">The last hour</h2>
        <label class="pick">
          <span>Of</span>
          <select value={hub} onChange={(event) => setHub(event.currentTarget.value)}>
            <option value="">all hubs</option>
            {there.map(({ id, region }) => (
              <option key={id} value={id}>
                {`hub ${short(id)}${region && ` (${region})`}`}
              </option>
            ))}
          </select>
        </label>
      </div>
      {trouble && <p class="trouble">{trouble}</p>}
      {data && data.notAnswered.length > 0 && <p class="soft">No answer from {data.notAnswered.map(short).join(', ')}: their counts are missing.</p>}
      {data && <Curves history={data} />}
    </section>
  );
}

function Curves({ history }: { history: History }) {
  const { t, stepMs, joins, leaves, signals, failures, refusals } = history;
  const same = { times: t, stepMs };
  return (
    <div class="curves">
      <Curve {...same} title="Joins and leaves" series={[{ name: 'joins', counts: joins }, { name: 'leaves', counts: leaves }]} />
      <Curve {...same} title="Signals" series={[{ name: 'signals', counts: signals }]} />
      <Curve {...same} title="Signals that failed" series={[{ name: 'failures', counts: failures }]} />
      <Curve {...same} title="Refusals by reason" series={reasons(refusals, t.length)} />
    </div>
  );
}
