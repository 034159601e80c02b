// Asks the hub the same question again and again: at a pace while the page is visible, and soon after an event that may have
// changed the answer.
//
// The load on the hub is bounded, whatever happens in the mesh: each question has one request at a time, and LEAST_MS lie
// between two.
import { useEffect, useState } from 'preact/hooks';

import { Refused } from '../api';
import { get, whyNot } from './api';
import { bus, type Topic } from './bus';

const LEAST_MS = 700;

export interface Polled<T> {
  /** The last answer. Until the first answer for a new path arrives, it is the last answer for the old path. */
  data: T | null;
  /** Why the last request failed. */
  trouble: string | null;
}

export interface Pace {
  everyMs: number;
  /** The topics after which the hub is asked at once. */
  on?: readonly Topic[];
}

/** Asks for `path` at this pace. While `path` is null, it asks for nothing. */
export function usePolled<T>(path: string | null, { everyMs, on = [] }: Pace): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>({ data: null, trouble: null });
  useEffect(() => {
    if (path === null) return;
    return poll<T>(path, everyMs, on, (news) => setPolled((known) => ({ ...known, ...news })));
  }, [path, everyMs, on.join()]);
  return polled;
}

/** Calls `tell` with each answer, until the caller calls the returned function. */
export function poll<T>(path: string, everyMs: number, on: readonly Topic[], tell: (news: Partial<Polled<T>>) => void): () => void {
  let timer: number | undefined;
  let asked = -Infinity;
  let [asking, wanted, over] = [false, false, false];

  const ask = async () => {
    clearTimeout(timer);
    if (over || asking || document.hidden) return;
    [asking, wanted] = [true, false];
    asked = performance.now();
    try {
      const data = await get<T>(path);
      if (!over) tell({ data, trouble: null });
    } catch (error) {
      if (over) return;
      if (error instanceof Refused && error.status === 401) bus.tell('session');
      tell({ trouble: whyNot(error) });
    }
    asking = false;
    if (!over) next(wanted ? LEAST_MS : everyMs);
  };
  const next = (afterMs: number) => {
    clearTimeout(timer);
    timer = setTimeout(ask, Math.max(0, asked + afterMs - performance.now()));
  };
  const soon = () => {
    if (asking) wanted = true;
    else next(LEAST_MS);
  };
  const offs = on.map((topic) => bus.on(topic, soon));
  document.addEventListener('visibilitychange', ask);
  void ask();
  return () => {
    over = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', ask);
    offs.forEach((off) => off());
  };
}
