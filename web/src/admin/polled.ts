// What the hub is asked again and again: every so often while somebody looks, and soon after an event that may have changed it.
//
// Bounded whatever happens in the mesh: one request at a time for each thing that is shown, and most of a second between two.
import { useEffect, useState } from 'preact/hooks';

import { Refused } from '../api';
import { get, whyNot } from './api';
import { bus, type Topic } from './bus';

const LEAST_MS = 700;

export interface Polled<T> {
  /** The last answer; of this path, or of the one before while this one is asked for the first time. */
  data: T | null;
  /** Why the last request was not answered. */
  trouble: string | null;
}

export interface Pace {
  everyMs: number;
  /** After what it is asked at once. */
  on?: readonly Topic[];
}

/** Asks for `path` at this pace; nothing while it is null. */
export function usePolled<T>(path: string | null, { everyMs, on = [] }: Pace): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>({ data: null, trouble: null });
  useEffect(() => {
    if (path === null) return;
    return poll<T>(path, everyMs, on, (news) => setPolled((known) => ({ ...known, ...news })));
  }, [path, everyMs, on.join()]);
  return polled;
}

/** Calls `tell` with each answer, until the function that it gives back is called. */
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
