// The table of hubs. It has all that the picture shows, and more.
import { useState } from 'preact/hooks';

import { bytes, count, millis, percent, rate, short, span, webOrigin } from '../words';
import { isLost, type HubNow, type Mesh } from './mesh';
import { mood, troubles } from './mood';

interface Column {
  name: string;
  /** The value by which rows are sorted. */
  of: (hub: HubNow) => number | string;
  shown: (hub: HubNow) => string;
  isText?: boolean;
}

const known = (value: number | null | undefined, words: (value: number) => string) => (value === null || value === undefined ? '–' : words(value));
const number = (value: number) => value.toLocaleString('en');

const COLUMNS: Column[] = [
  { name: 'Region', of: ({ region }) => region, shown: ({ region }) => region || '–', isText: true },
  { name: 'Round trip', of: ({ rttMs }) => rttMs ?? -1, shown: ({ self, rttMs }) => (self ? 'here' : known(rttMs, millis)) },
  { name: 'Peers', of: ({ peers }) => peers, shown: ({ peers }) => number(peers) },
  { name: 'Messages/s', of: ({ messagesPerS }) => messagesPerS ?? -1, shown: ({ messagesPerS }) => known(messagesPerS, rate) },
  { name: 'CPU', of: ({ cpu }) => cpu ?? -1, shown: ({ cpu }) => known(cpu, percent) },
  { name: 'Memory', of: ({ condition }) => condition?.memoryBytes ?? -1, shown: ({ condition }) => known(condition?.memoryBytes, bytes) },
  { name: 'Version', of: ({ condition }) => condition?.version ?? '', shown: ({ condition }) => condition?.version ?? '–', isText: true },
  { name: 'Up for', of: ({ condition }) => condition?.uptimeMs ?? -1, shown: ({ condition }) => known(condition?.uptimeMs, span) },
  {
    name: 'Clock',
    of: ({ condition }) => Math.abs(condition?.clockAheadMs ?? 0),
    shown: ({ condition }) => known(condition?.clockAheadMs, (ms) => `${ms > 0 ? '+' : ''}${number(ms)} ms`),
  },
];

interface Order {
  /** The index of the column. -1 is the column of the hub itself. */
  by: number;
  isDown: boolean;
}

function sorted(hubs: HubNow[], { by, isDown }: Order): HubNow[] {
  const of = COLUMNS[by]?.of;
  if (!of) return isDown ? [...hubs].reverse() : hubs;
  const compare = (one: HubNow, other: HubNow) => {
    const [a, b] = [of(one), of(other)];
    return typeof a === 'string' ? a.localeCompare(String(b)) : a - Number(b);
  };
  return [...hubs].sort((one, other) => (isDown ? -1 : 1) * compare(one, other));
}

export function Hubs({ mesh, chosen }: { mesh: Mesh; chosen: string | null }) {
  const [order, setOrder] = useState<Order>({ by: -1, isDown: false });
  // Numbers begin with the largest, texts with A.
  const sortBy = (by: number) =>
    setOrder((now) => ({ by, isDown: now.by === by ? !now.isDown : by >= 0 && !COLUMNS[by]!.isText }));
  const head = (name: string, by: number, isText = false) => (
    <th key={name} scope="col" class={isText ? '' : 'number'} aria-sort={order.by === by ? (order.isDown ? 'descending' : 'ascending') : undefined}>
      <button type="button" class="plain" onClick={() => sortBy(by)}>
        {name}
      </button>
    </th>
  );
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label={`Hubs: ${count(mesh.hubs.length, 'row')}`}>
      <table id="hubs">
        <thead>
          <tr>
            {head('Hub', -1, true)}
            {COLUMNS.map(({ name, isText }, by) => head(name, by, isText))}
          </tr>
        </thead>
        <tbody>
          {sorted(mesh.hubs, order).map((hub) => (
            <Row key={hub.id} hub={hub} isChosen={hub.id === chosen} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ hub, isChosen }: { hub: HubNow; isChosen: boolean }) {
  const origin = webOrigin(hub.url);
  return (
    <tr data-hub={hub.id} class={[isChosen ? 'chosen' : '', isLost(hub) ? 'lost' : ''].join(' ')}>
      <th scope="row">
        <span class={`dot ${mood(hub)}`} aria-hidden="true" />{' '}
        {origin ? (
          <a href={`${origin}/`} rel="noreferrer">
            {short(hub.id)}
          </a>
        ) : (
          <code>{short(hub.id)}</code>
        )}
        {hub.self && <span class="tag calm">answers here</span>}
        {troubles(hub).map(({ mood: how, text }) => (
          <span key={text} class={`tag ${how}`}>
            {text}
          </span>
        ))}
      </th>
      {COLUMNS.map(({ name, shown, isText }) => (
        <td key={name} class={isText ? '' : 'number'}>
          {isLost(hub) && name !== 'Region' ? '–' : shown(hub)}
        </td>
      ))}
    </tr>
  );
}
