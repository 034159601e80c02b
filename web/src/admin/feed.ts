// The events of the mesh, as they come. Those who show them are told a few times a second at most, however many there are.
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
  /** The last of them, the newest first. */
  events: MeshEvent[];
  /** How many the hub left out, because they came too fast. */
  missed: number;
  /** How many came in all. */
  count: number;
  isLive: boolean;
}

const KEPT = 500;
const TELLS_EVERY_MS = 250;
/** A browser gives up where it is refused: then the page asks again by itself. */
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
    // A copy now and then, and not for each of a thousand in a second.
    if (events.length > 2 * KEPT) events.length = KEPT;
    TYPES[type]?.forEach((topic) => bus.tell(topic));
    changed();
  };
  const open = () => {
    // Without a number, it begins with all that the hub has kept: what led here is the most wanted.
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

/** The last moment that there is a date for. */
const LAST_MS = 8.64e15;

/** When something happened, as its hub says; now, where that is no time. */
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
