// The events of the mesh, as they arrive.
import { useState } from 'preact/hooks';

import { clock, count, plain, short } from '../words';
import { EVENT_TYPES, type Feed, type MeshEvent } from './feed';

const SHOWN = 200;

const KINDS: Record<string, readonly string[]> = {
  'everything': EVENT_TYPES,
  'peers': ['join', 'leave', 'takeover'],
  'refusals': ['refusal'],
  'hubs and links': ['link-up', 'link-down', 'hub-up', 'hub-lost', 'alarm'],
  'operators': ['operator'],
};

export function EventsView({ feed }: { feed: Feed }) {
  const [kind, setKind] = useState('everything');
  const [held, setHeld] = useState<Feed | null>(null);
  const shown = held ?? feed;
  const wanted = KINDS[kind] ?? EVENT_TYPES;
  return (
    <section class="card" aria-labelledby="events-title">
      <div class="headline">
        <h2 id="events-title">Events</h2>
        <div class="search">
          <label>
            <span class="offscreen">Which events</span>
            <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
              {Object.keys(KINDS).map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
          <button type="button" aria-pressed={held !== null} onClick={() => setHeld(held ? null : feed)}>
            {held ? 'Go on' : 'Hold'}
          </button>
        </div>
      </div>
      <p class="soft">
        {feed.isLive ? 'Live' : 'Not connected; the page tries again'}: {count(feed.count, 'event')} since this page was opened
        {feed.missed > 0 && `, and ${feed.missed.toLocaleString('en')} more that were left out because too many came at once`}.
      </p>
      <EventList events={shown.events.filter(({ type }) => wanted.includes(type)).slice(0, SHOWN)} label="Events, the newest first" />
    </section>
  );
}

/** Screen readers do not read new events aloud: in a busy mesh they would read nothing else. A status of the page announces grave events. */
export function EventList({ events, label }: { events: MeshEvent[]; label: string }) {
  if (!events.length) return <p class="soft">Nothing yet.</p>;
  return (
    <div class="scroll events" tabIndex={0} role="region" aria-label={label}>
      <ol>
        {events.map((event) => (
          <li key={event.number} class={weight(event)}>
            <time dateTime={new Date(event.at).toISOString()}>{clock(event.at)}</time>
            <code>{event.hub ? short(event.hub) : '–'}</code>
            <span class="words">{eventWords(event)}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}

export function weight({ type }: MeshEvent): string {
  if (['alarm', 'hub-lost'].includes(type)) return 'bad';
  if (['link-down', 'refusal', 'missed'].includes(type)) return 'warn';
  return '';
}

export function eventWords({ type, data }: MeshEvent): string {
  const text = (name: string) => (typeof data[name] === 'string' && data[name] ? plain(data[name]) : '');
  const hub = (name: string) => short(text(name));
  const peer = text('peer') || 'a peer';
  const where = text('network') ? ` in ${text('network')} (${text('dialect')})` : text('dialect') && ` (${text('dialect')})`;
  const why = text('reason') && `: ${text('reason')}`;
  switch (type) {
    case 'join':
      return `${peer} joined${where}`;
    case 'leave':
      return `${peer} left${where}${why}`;
    case 'takeover':
      return `a newer connection took the id ${peer}${where}`;
    case 'refusal':
      return `${text('peer') || text('address') || 'a client'} was refused${where}${why}`;
    case 'link-up':
      return `linked to hub ${hub('other')}`;
    case 'link-down':
      return `lost the link to hub ${hub('other')}${why}`;
    case 'hub-up':
      return `hub ${hub('other')} came into reach`;
    case 'hub-lost':
      return `hub ${hub('other')} is out of reach`;
    case 'alarm':
      return `alarm ${text('label')}${text('text') && `: ${text('text')}`}`;
    case 'operator':
      return operatorWords(text);
    case 'missed':
      return typeof data.count === 'number' ? `${count(data.count, 'event')} left out because too many came at once` : 'events left out';
    default:
      return type;
  }
}

function operatorWords(text: (name: string) => string): string {
  const whom = text('peer') || [text('kind'), text('value')].filter(Boolean).join(' ') || text('ban');
  const by = text('by') && ` by ${text('by')}`;
  const why = text('reason') && `: ${text('reason')}`;
  const did = { remove: 'removed', ban: 'banned', lift: 'lifted the ban on', login: 'logged in', logout: 'logged out' };
  const action = text('action');
  return `an operator ${did[action as keyof typeof did] ?? action} ${whom}`.trimEnd() + by + why;
}
