// Receives the events of the mesh. However many arrive, the views are rendered at most four times a second.
import { useEffect, useState } from 'preact/hooks';

import { record } from '../demo/signaling';
import { EVENTS_URL } from './api';
import { bus, type Topic } from './bus';

/** The topics that each type of event touches. */
const TYPES: Record<string, Topic[]> = {
  join: ['members'],
  leave: ['members'],
  takeover: ['members'],
  refusal: [],
  'link-up': ['hubs'],
  'link-down': ['hubs'],
  'hub-up': ['hubs', 'members'],
  'hub-lost': ['hubs', 'members'],
  alarm: ['hubs'],
  operator: ['bans', 'members'],
  missed: ['members', 'hubs', 'bans'],
};

export const EVENT_TYPES = Object.keys(TYPES);

export interface MeshEvent {
  /** Counts the events of this visit. */
  number: number;
  type: string;
  at: number;
  hub: string;
  data: Record<string, unknown>;
}

export interface Feed {
  /** The latest events, the newest first. */
  events: MeshEvent[];
  /** How many events the hub left out because too many came at once. */
  missed: number;
  /** How many events this visit has received. */
  count: number;
  isLive: boolean;
}

const KEPT = 500;
const TELLS_EVERY_MS = 250;
/** After a refusal the browser does not connect again, so the page does it. */
const AGAIN_AFTER_MS = 5_000;

/** Listens while `wanted`. */
export function useFeed(wanted: boolean): Feed {
  const [feed, setFeed] = useState<Feed>({ events: [], missed: 0, count: 0, isLive: false });
  useEffect(() => (wanted ? listen(setFeed) : undefined), [wanted]);
  return feed;
}

function listen(tell: (feed: Feed) => void): () => void {
  let events: MeshEvent[] = [];
  let [missed, count, isLive] = [0, 0, false];
  let source: EventSource | undefined;
  let again: number | undefined;
  let telling: number | undefined;
  let last = '';

  const changed = () => {
    telling ??= setTimeout(() => {
      telling = undefined;
      events = events.slice(0, KEPT);
      tell({ events, missed, count, isLive });
    }, TELLS_EVERY_MS);
  };
  const take = (type: string, message: MessageEvent) => {
    last = message.lastEventId || last;
    const data = read(message.data);
    count += 1;
    if (type === 'missed') missed += Number(data.count) || 0;
    events.unshift({ number: count, type, at: moment(data.at), hub: String(data.hub ?? ''), data });
    // The list is shortened now and then, and not with each event.
    if (events.length > 2 * KEPT) events.length = KEPT;
    TYPES[type]?.forEach((topic) => bus.tell(topic));
    changed();
  };
  const open = () => {
    // Without an id, the stream begins with all events that the hub has kept. They show how the present state came about.
    source = new EventSource(`${EVENTS_URL}?after=${encodeURIComponent(last || '0')}`);
    for (const type of EVENT_TYPES) source.addEventListener(type, (message) => take(type, message));
    source.onopen = () => {
      isLive = true;
      changed();
    };
    source.onerror = () => {
      isLive = false;
      changed();
      if (source?.readyState !== EventSource.CLOSED) return;
      bus.tell('session');
      again = setTimeout(open, AGAIN_AFTER_MS);
    };
  };
  open();
  return () => {
    source?.close();
    clearTimeout(again);
    clearTimeout(telling);
  };
}

/** The latest time that a date can hold. */
const LAST_MS = 8.64e15;

/** The time of an event by its hub's clock, or the present time if the event has none. */
function moment(at: unknown): number {
  const ms = Number(at);
  return ms > 0 && ms <= LAST_MS ? ms : Date.now();
}

function read(text: unknown): Record<string, unknown> {
  try {
    return record(JSON.parse(String(text)));
  } catch {
    return {};
  }
}
